//! Why a tool did not do what it was asked: for a model to read and to do better.

use imgd_client::{Error, Reason};
use imgd_proto::limits::FieldError;
use serde_json::{Value, json};

/// What went wrong, which field is at fault, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// As in errors of the contract, `UPPER_SNAKE_CASE`.
    pub(crate) reason: &'static str,
    /// The tool's field.
    pub(crate) field: Option<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: reason.as_str(),
            field: None,
            message: message.into(),
            hint: None,
        }
    }

    /// A field is wrong.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::new(Reason::InvalidField, message)
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For people and models.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        if let Some(field) = &self.field {
            text.push_str(&format!("\nfield: {field}"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\nwhat to do: {hint}"));
        }
        text
    }

    /// For programs.
    pub(crate) fn object(&self) -> Value {
        json!({
            "error": {
                "reason": self.reason,
                "field": self.field,
                "message": self.message,
                "hint": self.hint,
            }
        })
    }
}

/// The tools' name of a field of the contract.
fn tool_field(field: &str) -> &str {
    match field {
        "init_image" => "image_path",
        "mask" => "mask_path",
        "upscale_scale" => "scale",
        other => other,
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self {
            hint: error.hint,
            ..Self::field(tool_field(error.field), error.message)
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let mut message = error.to_string();
        // What the transport says about a lost connection helps nobody.
        let mut source = match error {
            Error::Lost(_) => None,
            _ => std::error::Error::source(&error),
        };
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self {
            field: error.field().map(|field| tool_field(field).to_owned()),
            hint: error.hint(),
            ..Self::new(error.reason(), message)
        }
    }
}

#[cfg(test)]
mod tests {
    use imgd_proto::{limits::validate_generate, v1::GenerateRequest};

    use super::*;

    #[test]
    fn a_refusal_names_the_tools_field_and_says_what_to_do() {
        let request = GenerateRequest {
            width_px: Some(12),
            ..GenerateRequest::default()
        };
        let refusal = Refusal::from(validate_generate(&request).unwrap_err()).hint("use 8 or 16");
        assert_eq!(refusal.object()["error"]["field"], "width_px");
        assert_eq!(refusal.object()["error"]["reason"], "INVALID_FIELD");
        let text = refusal.text();
        assert!(
            text.starts_with("error: ") && text.ends_with("what to do: use 8 or 16"),
            "{text}"
        );
        assert_eq!(tool_field("init_image"), "image_path");
    }
}
