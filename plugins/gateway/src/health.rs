//! `/health`: whether the gateway serves, and whether the daemon answers. Needs no key and says nothing else.

use axum::{
    extract::State as Extract,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use crate::{Shared, problem::answer};

/// 200 where the daemon answers, 503 where it does not. It is not started for this.
pub(crate) async fn health(Extract(state): Shared) -> Response {
    if state.daemon.running().await.is_ok() {
        return answer(&json!({ "status": "ok" }));
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        answer(&json!({ "status": "no daemon" })),
    )
        .into_response()
}
