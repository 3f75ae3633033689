//! The web page, and what it asks for under `/api`.
//!
//! Its pictures are jobs that go on when the page is closed. What it asks for may change with the page: other programs use `/v1`.

mod again;
mod assets;
mod choices;
mod events;
mod jobs;
mod pictures;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use crate::State;

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .merge(assets::routes())
        .route("/api/choices", get(choices::choices))
        .route("/api/models/{*name}", get(choices::model))
        .route("/api/events", get(events::events))
        .route("/api/pictures", get(pictures::list))
        .route("/api/jobs", post(jobs::submit))
        .route("/api/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/jobs/{id}/forget", post(jobs::forget))
        .route("/api/jobs/{id}/again", post(again::again))
        .route("/api/jobs/{id}/pictures/{index}", get(pictures::picture))
        .route(
            "/api/jobs/{id}/thumbnails/{index}",
            get(pictures::thumbnail),
        )
}
