//! The config file: TOML with two tables.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    ConfigError, Environment, KEYS, Settings,
    keys::{LIST, LISTS},
    models,
};
use crate::services::{own::OwnModel, styles::Style};

/// Larger files are no config files.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the file's text.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Sets what `text` says. `path` is for messages.
pub(super) fn apply(
    settings: &mut Settings,
    path: &Path,
    text: &str,
    environment: &Environment,
) -> Result<(), ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        message: error.message().to_owned(),
    })?;
    for (key, value) in table.get_ref() {
        let line = line_of(text, key.span().start);
        let place = format!("{}:{line}", path.display());
        let name = key.get_ref().as_ref();
        if name == "models" {
            let place = models::Place {
                text,
                path,
                environment,
            };
            settings.models = models::read(value, &place)?;
        } else if name == "styles" {
            styles(settings, value, text, path)?;
        } else if let Some(known) = KEYS.iter().find(|known| known.name == name) {
            let value = match value.get_ref() {
                DeValue::Array(parts) if LISTS.contains(&name) => list(parts),
                value => scalar(value),
            };
            let value = value.ok_or_else(|| ConfigError::Value {
                place: place.clone(),
                key: name.to_owned(),
                message: format!("must be {}", known.expected),
            })?;
            known.set(settings, &value, &place)?;
        } else {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                line,
                key: name.to_owned(),
                suggestion: nearest(name),
            });
        }
    }
    Ok(())
}

/// The models of a file that has nothing but them.
pub(super) fn added(
    path: &Path,
    text: &str,
    environment: &Environment,
) -> Result<BTreeMap<String, OwnModel>, ConfigError> {
    let mut settings = Settings::default();
    apply(&mut settings, path, text, environment)?;
    Ok(settings.models)
}

/// What a style must be.
const FORM: &str = "must be a table such as { prompt = \"{prompt}, oil\", negative = \"photo\" }";

/// Reads `name = { prompt = "…", negative = "…" }` for each style.
fn styles(
    settings: &mut Settings,
    value: &Spanned<DeValue<'_>>,
    text: &str,
    path: &Path,
) -> Result<(), ConfigError> {
    let wrong = |offset: usize, key: &str, message: &str| ConfigError::Value {
        place: format!("{}:{}", path.display(), line_of(text, offset)),
        key: key.to_owned(),
        message: message.to_owned(),
    };
    let DeValue::Table(table) = value.get_ref() else {
        return Err(wrong(
            value.span().start,
            "styles",
            "must be a table of names and styles",
        ));
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let start = key.span().start;
        let shown = format!("styles.{name}");
        if name.is_empty() || name.len() > 80 {
            return Err(wrong(start, &shown, "must be 1 to 80 bytes long"));
        }
        let DeValue::Table(parts) = value.get_ref() else {
            return Err(wrong(start, &shown, FORM));
        };
        let mut style = Style::default();
        for (part, template) in parts {
            let own = match part.get_ref().as_ref() {
                "prompt" => &mut style.prompt,
                "negative" => &mut style.negative,
                _ => return Err(wrong(part.span().start, &shown, FORM)),
            };
            let DeValue::String(template) = template.get_ref() else {
                return Err(wrong(part.span().start, &shown, FORM));
            };
            *own = template.to_string();
        }
        settings.styles.insert(name.to_owned(), style);
    }
    Ok(())
}

/// A list of texts as it stands in the environment.
fn list(parts: &DeArray<'_>) -> Option<String> {
    let text = |part: &Spanned<DeValue<'_>>| match part.get_ref() {
        DeValue::String(text) if !text.contains(LIST) => Some(text.to_string()),
        _ => None,
    };
    let parts: Option<Vec<String>> = parts.iter().map(text).collect();
    parts.map(|parts| parts.join(&LIST.to_string()))
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(name, key.name), key.name))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, key)| key)
}
