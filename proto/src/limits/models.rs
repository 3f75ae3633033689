//! Names and paths of models and their parts.

use super::{
    FieldError, MODEL, MODEL_CONFIG, MODEL_PARTS, PART, PART_FILE,
    check::{enumeration, is_name_or_path, text, whole},
    durations::keep_alive,
};
use crate::v1::{AddModelRequest, GetModelRequest, LoadModelRequest, ModelPart, Precision};

/// Checks the fields of a request to load a model.
pub fn validate_load(request: &LoadModelRequest) -> Result<(), FieldError> {
    validate_model(&request.model)?;
    validate_model_config(&request.model_config)?;
    validate_model_parts(&request.model_parts)?;
    enumeration::<Precision>("precision", request.precision)?;
    request
        .keep_alive
        .as_ref()
        .map_or(Ok(()), |value| keep_alive(value).map(drop))
}

/// Checks a request for a model's description.
pub fn validate_get_model(request: &GetModelRequest) -> Result<(), FieldError> {
    validate_model(&request.model)?;
    validate_model_config(&request.model_config)?;
    validate_model_parts(&request.model_parts)
}

/// Checks a model to add: its path, its names and its configuration. Says nothing of whether they exist or are taken.
pub fn validate_add_model(request: &AddModelRequest) -> Result<(), FieldError> {
    let AddModelRequest {
        path,
        name,
        aliases,
        model_config,
    } = request;
    let wrong = |field, why: String, hint: &str| {
        Err(FieldError::new(field, why).with_hint(hint.to_owned()))
    };
    if text(&MODEL, path).is_err() || !path.starts_with('/') || path.contains('\0') {
        let why = format!("path {path:?} is no absolute path");
        return wrong(
            "path",
            why,
            "give that of a diffusers directory, or of a safetensors or GGUF file",
        );
    }
    for own in aliases.iter().chain((!name.is_empty()).then_some(name)) {
        if own.is_empty() || own.contains('/') || own.len() > 80 || validate_model(own).is_err() {
            let field = if own == name { "name" } else { "aliases" };
            let why = format!("{own:?} is no name for a model");
            return wrong(
                field,
                why,
                "a name has 1 to 80 bytes and no `/`, and begins with a letter or a digit",
            );
        }
    }
    if aliases.len() > 16 {
        let why = format!(
            "aliases has {} names; a model has at most 16",
            aliases.len()
        );
        return wrong("aliases", why, "leave some out");
    }
    validate_model_config(model_config)
}

/// Checks the name or path of a model: empty for the default; an absolute path; or one to four parts as files are called, 120
/// characters each, separated by `/`. Says nothing of whether it exists.
pub fn validate_model(model: &str) -> Result<(), FieldError> {
    text(&MODEL, model)?;
    let wrong = |why: &str| {
        let message = format!("model {model:?} is no name of a model: {why}");
        let hint =
            "give a name that `imgctl models` lists, or the absolute path of a diffusers directory";
        Err(FieldError::new(MODEL.field, message).with_hint(hint.to_owned()))
    };
    if model.contains('\0') {
        return wrong("it holds a NUL character");
    }
    if model.is_empty() || model.starts_with('/') {
        return Ok(());
    }
    let parts: Vec<&str> = model.split('/').collect();
    if parts.len() > 4 {
        return wrong("it has more than four parts");
    }
    for part in parts {
        let Some(first) = part.chars().next() else {
            return wrong("one of its parts is empty");
        };
        if !first.is_alphanumeric() && !"_[(".contains(first) {
            return wrong("a part begins with a letter, a digit, a bracket or `_`");
        }
        if part.chars().count() > 120 {
            return wrong("a part has at most 120 characters");
        }
        if part.chars().any(char::is_control) || part.contains('\\') || part.ends_with(' ') {
            return wrong("it has a backslash, a control character or a space at an end");
        }
    }
    Ok(())
}

/// Checks the path of a directory with what a single file lacks; empty is none.
pub(super) fn validate_model_config(path: &str) -> Result<(), FieldError> {
    text(&MODEL_CONFIG, path)?;
    if path.is_empty() || (path.starts_with('/') && !path.contains('\0')) {
        return Ok(());
    }
    let message = format!("model_config {path:?} is no absolute path");
    Err(FieldError::new(MODEL_CONFIG.field, message)
        .with_hint("give the absolute path of a diffusers directory".to_owned()))
}

/// Checks the parts that have files of their own. Says nothing of whether the model has them or the files exist.
pub fn validate_model_parts(parts: &[ModelPart]) -> Result<(), FieldError> {
    whole(&MODEL_PARTS, u32::try_from(parts.len()).unwrap_or(u32::MAX))?;
    for (at, ModelPart { part, file }) in parts.iter().enumerate() {
        text(&PART, part)?;
        text(&PART_FILE, file)?;
        let wrong = |why: String, hint: &str| {
            Err(FieldError::new(MODEL_PARTS.field, why).with_hint(hint.to_owned()))
        };
        let is_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        if part.is_empty() || !part.bytes().all(is_name) {
            return wrong(
                format!("{part:?} is no name of a part"),
                "parts are called `vae`, `unet`, `transformer`, `text_encoder_2` and the like",
            );
        }
        if parts[..at].iter().any(|before| before.part == *part) {
            return wrong(format!("`{part}` is given twice"), "give each part once");
        }
        if !is_name_or_path(file) {
            return wrong(
                format!("the file of `{part}`, {file:?}, is neither a name nor an absolute path"),
                "give the absolute path of a safetensors or GGUF file",
            );
        }
    }
    Ok(())
}
