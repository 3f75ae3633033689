//! What a caller is told when something is wrong: OpenAI's error object.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use imgd_client::{Error, Reason};
use serde_json::{Value, json};

/// What is wrong. A response as `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    code: String,
    message: String,
    /// The field of the request at fault, as the caller names it.
    param: Option<String>,
    retry_after: Option<Duration>,
}

/// Fields of the contract, and what callers of HTTP call them.
const NAMES: [(&str, &str); 16] = [
    ("width_px", "size"),
    ("height_px", "size"),
    ("num_images", "n"),
    ("images", "n"),
    ("num_inference_steps", "steps"),
    ("guidance_scale", "cfg_scale"),
    ("init_image", "image"),
    ("input", "image"),
    ("ref_images", "image"),
    ("ref_image", "image"),
    ("jpeg_quality", "output_compression"),
    ("format", "output_format"),
    ("mask_blur_px", "mask_blur"),
    ("controls", "prompt"),
    ("loras", "prompt"),
    ("lora", "prompt"),
];

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code: code.into(),
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    /// The request is wrong; `param` is its field.
    pub(crate) fn field(param: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                code,
                message,
            )
        }
    }

    /// A field has a value that it cannot have.
    pub(crate) fn value(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::field(param, "invalid_value", message)
    }

    /// The request is wrong as a whole.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "invalid_request",
            message,
        )
    }

    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            code,
            message,
        )
    }

    pub(crate) fn forbidden(code: &str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            code,
            message,
        )
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_request_error",
            "invalid_api_key",
            "this gateway has a key, and it is not the one that was sent as `Authorization: Bearer KEY`",
        )
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            "request_too_large",
            message,
        )
    }

    pub(crate) fn slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request_error",
            "request_timeout",
            "the request did not come whole in time",
        )
    }

    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The error object.
    pub(crate) fn json(&self) -> Value {
        json!({
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        })
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let reason = error.reason();
        let (status, kind) = sort(reason);
        let field = error.field().map(str::to_owned);
        let param = field.as_deref().map(|field| caller_name(field).to_owned());
        let mut message = error.to_string();
        if let (Some(field), Some(param)) = (&field, &param)
            && let Some(rest) = message.strip_prefix(field.as_str())
            && rest.starts_with(' ')
        {
            let side = match field.as_str() {
                "width_px" => ": the width",
                "height_px" => ": the height",
                _ => "",
            };
            message = format!("{param}{side}{rest}");
        }
        if let Some(hint) = error.hint() {
            message = format!("{message}; {hint}");
        }
        let retry_after = match &error {
            Error::Refused(failure) => failure.retry_after,
            _ => None,
        };
        let code = match reason {
            Reason::InvalidField => "invalid_value".to_owned(),
            reason => reason.as_str().to_ascii_lowercase(),
        };
        let later = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        Self {
            status,
            kind,
            code,
            message,
            param: param.or_else(|| (reason == Reason::ModelNotFound).then(|| "model".to_owned())),
            retry_after: retry_after.or_else(|| later.then_some(Duration::from_secs(2))),
        }
    }
}

/// A field of the contract as callers of HTTP call it.
pub(crate) fn caller_name(field: &str) -> &str {
    NAMES
        .iter()
        .find(|(name, _)| *name == field)
        .map_or(field, |(_, caller)| caller)
}

/// Status and type for a reason. What is not the caller's fault is 5xx, and 429 and 503 are worth another try.
fn sort(reason: Reason) -> (StatusCode, &'static str) {
    use Reason as R;
    match reason {
        R::InvalidField | R::ModelInvalid => (StatusCode::BAD_REQUEST, "invalid_request_error"),
        R::ModelNotFound | R::JobNotFound | R::ImageNotFound => {
            (StatusCode::NOT_FOUND, "invalid_request_error")
        }
        R::JobState | R::NotIdle | R::Cancelled => (StatusCode::CONFLICT, "invalid_request_error"),
        R::MessageTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error"),
        // clients try 5xx again, and the next try needs as much memory
        R::OutOfMemory => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_error"),
        R::QueueFull | R::ClientQueueFull => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
        R::DiskFull | R::Draining | R::DaemonUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "server_error")
        }
        R::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "server_error"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(after) = self.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn answer(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use imgd_client::Failure;

    use super::*;

    fn refused(failure: Failure) -> Problem {
        Error::Refused(Box::new(failure)).into()
    }

    #[test]
    fn callers_read_the_field_they_wrote() {
        let problem = refused(
            Failure::invalid("width_px", "width_px is 7, and it is 8 to 4,096")
                .with_hint("say less"),
        );
        assert_eq!(
            problem.json()["error"],
            json!({
                "message": "size: the width is 7, and it is 8 to 4,096; say less",
                "type": "invalid_request_error",
                "param": "size",
                "code": "invalid_value",
            })
        );
        let problem = refused(Failure::invalid(
            "num_inference_steps",
            "num_inference_steps is 0",
        ));
        assert_eq!(problem.json()["error"]["message"], "steps is 0");
    }

    #[test]
    fn who_may_try_again_is_told_when() {
        let full = Failure::new(Reason::QueueFull, "full").with_retry_after(Duration::from_secs(5));
        let response = refused(full).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        let response = Problem::from(Error::NotRunning {
            socket: "/x".into(),
        })
        .into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
