//! The page's files, which are inside the program.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, header},
    response::Response,
    routing::get,
};

use crate::State;

/// Nothing comes from elsewhere, nothing is sent elsewhere, nobody frames it, and no text of the page can become code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where a file is, what it is, and its text.
const FILES: [(&str, &str, &str); 14] = [
    ("/", HTML, include_str!("../../web/index.html")),
    ("/page/style.css", CSS, include_str!("../../web/style.css")),
    ("/page/icon.svg", SVG, include_str!("../../web/icon.svg")),
    ("/page/main.js", SCRIPT, include_str!("../../web/main.js")),
    ("/page/api.js", SCRIPT, include_str!("../../web/api.js")),
    ("/page/dom.js", SCRIPT, include_str!("../../web/dom.js")),
    (
        "/page/events.js",
        SCRIPT,
        include_str!("../../web/events.js"),
    ),
    ("/page/form.js", SCRIPT, include_str!("../../web/form.js")),
    (
        "/page/gallery.js",
        SCRIPT,
        include_str!("../../web/gallery.js"),
    ),
    ("/page/keys.js", SCRIPT, include_str!("../../web/keys.js")),
    ("/page/mask.js", SCRIPT, include_str!("../../web/mask.js")),
    (
        "/page/picture.js",
        SCRIPT,
        include_str!("../../web/picture.js"),
    ),
    ("/page/start.js", SCRIPT, include_str!("../../web/start.js")),
    ("/page/work.js", SCRIPT, include_str!("../../web/work.js")),
];

pub(super) fn routes() -> Router<Arc<State>> {
    FILES
        .iter()
        .fold(Router::new(), |router, (path, media_type, text)| {
            router.route(path, get(async move || file(media_type, text)))
        })
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
