//! Who may ask: every request passes here first.
//!
//! * **Host** is a name of this machine, so that no foreign name that was made to lead here (DNS rebinding) is served.
//! * **Origin** and **Sec-Fetch-Site** are those of our own page, or of one that was allowed, so that no other page can ask for
//!   something in its visitor's name (CSRF). Programs send neither.
//! * The **key**, where one is set, stands in `Authorization: Bearer KEY`. The page itself, `/health` and the addresses of pictures, which
//!   nobody can guess, go without.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State as Extract},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{Settings, State, openai::PICTURES, problem::Problem};

/// The address that a request's connection came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival(pub(crate) SocketAddr);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What every answer says, unless a handler said otherwise.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Lets a request through, or answers in its place; adds what every answer says.
pub(crate) async fn guard(
    Extract(state): Extract<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed_origin = foreign_origin(&state.settings, request.headers());
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = match check(&state.settings, &request) {
        Err(problem) => problem.into_response(),
        Ok(()) if is_preflight && allowed_origin.is_some() => preflight(),
        Ok(()) => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Some(origin) = allowed_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(
            "cross-origin-resource-policy",
            HeaderValue::from_static("cross-origin"),
        );
    }
    response
}

fn check(settings: &Settings, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let path = request.uri().path();
    let host = host(request)?;
    let arrival = request
        .extensions()
        .get::<Arrival>()
        .map(|arrival| arrival.0.ip());
    if !is_ours(settings, &host.name, arrival) {
        let message = format!(
            "this gateway is not known as `{}`; if it shall be, start it with `--allow-host {}`",
            host.name, host.name
        );
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "invalid_request_error",
            "unknown_host",
            message,
        ));
    }
    if !path.starts_with(PICTURES) {
        check_origin(settings, headers, &host.whole, request.method(), path)?;
    }
    // a browser asks without the key whether it may send it
    let is_open =
        !(path.starts_with("/v1/") || path.starts_with("/api/")) || path.starts_with(PICTURES);
    if let Some(key) = settings
        .key
        .as_ref()
        .filter(|_| !is_open && request.method() != Method::OPTIONS)
    {
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let sent = sent.and_then(|text| {
            let (scheme, sent) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| sent.trim())
        });
        if !sent.is_some_and(|sent| key.is(sent)) {
            return Err(Problem::unauthorized());
        }
    }
    Ok(())
}

/// The `Host` of a request: as it is, and its name without port and brackets, in lower case.
struct Host {
    whole: String,
    name: String,
}

fn host(request: &Request) -> Result<Host, Problem> {
    let refuse = || Problem::request("the request has no `Host`, or more than one");
    let mut values = request.headers().get_all(header::HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refuse());
    };
    let whole = value
        .to_str()
        .map_err(|_error| refuse())?
        .to_ascii_lowercase();
    let name = match whole.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .map(|(name, _)| name)
            .ok_or_else(refuse)?,
        None => whole
            .split_once(':')
            .map_or(whole.as_str(), |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_owned();
    Ok(Host { whole, name })
}

/// Whether a name is one of this machine that nobody else can give to it.
fn is_ours(settings: &Settings, name: &str, arrival: Option<IpAddr>) -> bool {
    let is_address = |address: IpAddr| {
        let address = address.to_canonical();
        address.is_loopback() || arrival.is_some_and(|arrival| arrival.to_canonical() == address)
    };
    name == "localhost"
        || name.parse().is_ok_and(is_address)
        || settings
            .allowed_hosts
            .iter()
            .any(|host| host.eq_ignore_ascii_case(name))
}

fn check_origin(
    settings: &Settings,
    headers: &HeaderMap,
    host: &str,
    method: &Method,
    path: &str,
) -> Result<(), Problem> {
    if foreign_origin(settings, headers).is_some() {
        return Ok(());
    }
    let refuse = |who: &str| {
        let message = format!(
            "pages of {who} may not call this gateway from a browser; if they shall, start it with `--allow-origin`"
        );
        Err(Problem::forbidden("foreign_origin", message))
    };
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let is_own = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme) == Some(host));
        if !is_own {
            return refuse(&format!("`{origin}`"));
        }
    }
    let says = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match says(SEC_FETCH_SITE) {
        None | Some("same-origin" | "none") => Ok(()),
        // somebody followed a link to the page
        Some(_)
            if path == "/" && method == Method::GET && says(SEC_FETCH_MODE) == Some("navigate") =>
        {
            Ok(())
        }
        Some(_) => refuse("other sites"),
    }
}

/// The origin of a request's page, where it is one that was allowed.
fn foreign_origin(settings: &Settings, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    let is_allowed = settings
        .allowed_origins
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(text));
    is_allowed.then(|| origin.clone())
}

/// The answer to a browser that asks whether an allowed page may call.
fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::ApiKey;

    fn settings() -> Settings {
        Settings {
            allowed_hosts: vec!["images.example.org".into()],
            allowed_origins: vec!["https://app.example.org".into()],
            ..Settings::default()
        }
    }

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder()
            .method(if path.starts_with("/v1") {
                "POST"
            } else {
                "GET"
            })
            .uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:8080");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let arrival = "192.168.7.7:8080".parse().unwrap();
        request.extensions_mut().insert(Arrival(arrival));
        request
    }

    fn passes(path: &str, headers: &[(&str, &str)]) -> bool {
        check(&settings(), &request(path, headers)).is_ok()
    }

    #[test]
    fn hosts_are_names_of_this_machine() {
        for (host, is_ours) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("localhost.:8080", true),
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("192.168.7.7:8080", true),
            ("images.example.org", true),
            ("192.168.7.8:8080", false),
            ("evil.example.org:8080", false),
            ("localhost.evil.org", false),
            ("127.0.0.1.evil.org", false),
            ("[::2]:8080", false),
            ("0.0.0.0:8080", false),
            ("", false),
        ] {
            assert_eq!(passes("/v1/models", &[("host", host)]), is_ours, "{host}");
            // addresses of pictures are no exception
            assert_eq!(passes(PICTURES, &[("host", host)]), is_ours, "{host}");
        }
        assert!(!passes(
            "/",
            &[("host", "localhost"), ("host", "evil.example.org")]
        ));
    }

    #[test]
    fn pages_of_others_are_refused() {
        for (headers, may) in [
            (
                &[
                    ("origin", "http://127.0.0.1:8080"),
                    ("sec-fetch-site", "same-origin"),
                ][..],
                true,
            ),
            (
                &[
                    ("origin", "https://app.example.org"),
                    ("sec-fetch-site", "cross-site"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "http://127.0.0.1:9090")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://evil.example.org")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                ],
                false,
            ),
        ] {
            assert_eq!(
                passes("/v1/images/generations", headers),
                may,
                "{headers:?}"
            );
        }
        // a link leads to the page, a page shows a picture whose address it knows
        assert!(passes(
            "/",
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate")
            ]
        ));
        assert!(!passes(
            "/",
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors")
            ]
        ));
        assert!(passes(PICTURES, &[("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_key_is_wanted_where_it_counts() {
        let settings = Settings {
            key: Some(ApiKey::new("the-key").unwrap()),
            ..settings()
        };
        let passes = |path: &str, sent: Option<&str>| {
            let headers: Vec<_> = sent
                .map(|sent| ("authorization", sent))
                .into_iter()
                .collect();
            check(&settings, &request(path, &headers)).is_ok()
        };
        for path in ["/v1/models", "/v1/images/generations", "/api/choices"] {
            assert!(passes(path, Some("Bearer the-key")) && passes(path, Some("bearer  the-key")));
            for sent in [
                None,
                Some("Bearer the-kez"),
                Some("the-key"),
                Some("Basic the-key"),
                Some("Bearer "),
            ] {
                assert!(!passes(path, sent), "{path} {sent:?}");
            }
        }
        assert!(passes("/", None) && passes("/health", None) && passes("/v1/images/files/x", None));
    }
}
