//! Models by the names that callers use.

use imgd_client::Client;

use crate::problem::Problem;

/// Beginnings of names of OpenAI's models. Programs that ask for one get the default model, so that they work unchanged.
const OPENAI_MODELS: [&str; 3] = ["gpt-image-", "dall-e-", "chatgpt-image-"];
/// Names of OpenAI's that programs look for in the list.
pub(crate) const OPENAI_LISTED: [&str; 3] = ["gpt-image-1", "dall-e-3", "dall-e-2"];

/// Whether a name is one of OpenAI's.
pub(crate) fn is_openai(name: &str) -> bool {
    OPENAI_MODELS
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// The daemon's name of a model; `None` for the default.
///
/// A model of the daemon's that has one of OpenAI's names goes before. Paths are refused: who may call need not be who may say which
/// files are read.
pub(crate) async fn resolve(
    client: &Client,
    asked: Option<&str>,
) -> Result<Option<String>, Problem> {
    let Some(name) = asked else {
        return Ok(None);
    };
    if name.starts_with('/') {
        return Err(not_found(name));
    }
    if is_openai(name) {
        let known = client.models().await?.models;
        let is_known = known
            .iter()
            .any(|model| model.name == name || model.aliases.iter().any(|alias| alias == name));
        return Ok(is_known.then(|| name.to_owned()));
    }
    Ok(Some(name.to_owned()))
}

pub(crate) fn not_found(name: &str) -> Problem {
    let name: String = name.chars().take(80).collect();
    let message =
        format!("no model has the name `{name}`; GET /v1/models lists those that there are");
    Problem::not_found("model_not_found", message).with_param("model")
}
