//! The table `[models]`: names of the user's own, each for a path, or with other names and settings besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgd_engine::sampling::{samplers, schedules};
use imgd_proto::limits::{self, Limit, Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigError, Environment, file::line_of};
use crate::services::own::{OwnModel, why_no_name};

/// Aliases of one model.
const MOST_ALIASES: usize = 16;

/// What a model's table may have.
const KEYS: &str =
    "path, config, alias, sampler, schedule, steps, guidance, width, height and negative_prompt";

/// Where a table stands, for messages.
pub(super) struct Place<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
    pub(super) environment: &'a Environment,
}

impl Place<'_> {
    fn wrong(&self, offset: usize, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            place: format!("{}:{}", self.path.display(), line_of(self.text, offset)),
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

/// Reads the table.
pub(super) fn read(
    value: &Spanned<DeValue<'_>>,
    place: &Place<'_>,
) -> Result<BTreeMap<String, OwnModel>, ConfigError> {
    let DeValue::Table(table) = value.get_ref() else {
        let message = "must be a table of names and paths";
        return Err(place.wrong(value.span().start, "models", message));
    };
    let mut models = BTreeMap::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let start = key.span().start;
        let shown = format!("models.{name}");
        let model = match value.get_ref() {
            DeValue::String(_) => absolute(value, &shown, start, place)?.into(),
            DeValue::Table(table) => model(table, &shown, start, place)?,
            _ => {
                let message = "must be the path of a directory or file, or a table such as { path = \"/models/xl\", steps = 30 }";
                return Err(place.wrong(start, &shown, message));
            }
        };
        // The starter is where it is, and may have settings.
        let is_starter_without_path = name == "starter" && model.path.is_none();
        if let Some(why) = why_no_name(name).filter(|_| !is_starter_without_path) {
            return Err(place.wrong(start, &shown, why));
        }
        models.insert(name.to_owned(), model);
    }
    let mut taken: BTreeSet<&str> = models.keys().map(String::as_str).collect();
    for (name, model) in &models {
        for alias in &model.aliases {
            if !taken.insert(alias) {
                let message = format!("names `{alias}`, which another model is called");
                let key = format!("models.{name}.alias");
                return Err(place.wrong(value.span().start, &key, message));
            }
        }
    }
    Ok(models)
}

fn model(
    table: &DeTable<'_>,
    shown: &str,
    start: usize,
    place: &Place<'_>,
) -> Result<OwnModel, ConfigError> {
    let mut model = OwnModel::default();
    let preset = &mut model.preset;
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let at = key.span().start;
        let shown = format!("{shown}.{name}");
        let number = |limit| number(value, limit).map_err(|why| place.wrong(at, &shown, why));
        match name {
            "path" => model.path = Some(absolute(value, &shown, at, place)?),
            "config" => model.config = Some(absolute(value, &shown, at, place)?),
            "alias" => {
                model.aliases = aliases(value).map_err(|why| place.wrong(at, &shown, why))?
            }
            "steps" => {
                preset.num_inference_steps = Some(whole(number(&limits::NUM_INFERENCE_STEPS)?))
            }
            "guidance" => preset.guidance_scale = Some(number(&limits::GUIDANCE_SCALE)?),
            "width" => preset.width_px = Some(whole(number(&limits::WIDTH_PX)?)),
            "height" => preset.height_px = Some(whole(number(&limits::HEIGHT_PX)?)),
            "sampler" | "schedule" => {
                let known: Vec<_> = match name {
                    "sampler" => samplers().iter().map(|known| known.name).collect(),
                    _ => schedules().iter().map(|known| known.name).collect(),
                };
                let own = text(value).filter(|own| known.contains(&own.as_str()));
                let Some(own) = own else {
                    let message =
                        format!("must be one of {}, found {}", known.join(", "), told(value));
                    return Err(place.wrong(at, &shown, message));
                };
                match name {
                    "sampler" => preset.sampler = Some(own),
                    _ => preset.schedule = Some(own),
                }
            }
            "negative_prompt" => {
                let most = limits::NEGATIVE_PROMPT.phrase();
                let fits = |own: &String| matches!(limits::NEGATIVE_PROMPT.range, Range::Bytes { max } if own.len() as u64 <= max);
                let own = text(value).filter(fits);
                let why = || place.wrong(at, &shown, format!("must be a text of {most}"));
                preset.negative_prompt = Some(own.ok_or_else(why)?);
            }
            _ => {
                let message = format!("is no setting of a model: there are {KEYS}");
                return Err(place.wrong(at, &shown, message));
            }
        }
    }
    if model.config.is_some() && model.path.is_none() {
        let message = "has a `config`, which is for a single file: name that with `path`";
        return Err(place.wrong(start, shown, message));
    }
    Ok(model)
}

fn absolute(
    value: &Spanned<DeValue<'_>>,
    shown: &str,
    start: usize,
    place: &Place<'_>,
) -> Result<PathBuf, ConfigError> {
    let path = text(value).map(|path| place.environment.expand_home(&path));
    path.filter(|path| path.is_absolute()).ok_or_else(|| {
        let message = format!("must be an absolute path, found {}", told(value));
        place.wrong(start, shown, message)
    })
}

/// One name or a list of them.
fn aliases(value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let names: Option<Vec<String>> = match value.get_ref() {
        DeValue::Array(names) => names.iter().map(text).collect(),
        _ => text(value).map(|name| vec![name]),
    };
    let wrong = || format!("must be a list of names, at most {MOST_ALIASES}, such as [\"xl\"]");
    let names = names
        .filter(|names| names.len() <= MOST_ALIASES)
        .ok_or_else(wrong)?;
    match names
        .iter()
        .find_map(|name| Some((name, why_no_name(name)?)))
    {
        Some((name, why)) => Err(format!("names `{name}`, which {why}")),
        None => Ok(names),
    }
}

/// A number within a limit of the contract.
fn number(value: &Spanned<DeValue<'_>>, limit: &Limit) -> Result<f64, String> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => number.to_string().parse::<f64>().ok(),
        DeValue::Float(number) => number.to_string().parse::<f64>().ok(),
        _ => None,
    };
    #[expect(clippy::cast_precision_loss, reason = "limits are small")]
    let fits = |number: &f64| match limit.range {
        Range::Integer { min, max } => {
            number.fract() == 0.0 && (min as f64..=max as f64).contains(number)
        }
        Range::Number { min, max } => (min..=max).contains(number),
        _ => false,
    };
    let is_size = limit.unit == "px";
    let fitting = number
        .filter(fits)
        .filter(|number| !is_size || number % 8.0 == 0.0);
    fitting.ok_or_else(|| {
        let multiple = if is_size { ", a multiple of 8" } else { "" };
        format!(
            "must be {}{multiple}, found {}",
            limit.phrase(),
            told(value)
        )
    })
}

/// A whole number within a limit of the contract.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against a limit that fits"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

fn text(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A value as a message names it.
fn told(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) => format!("`{text}`"),
        DeValue::Integer(number) => format!("`{number}`"),
        DeValue::Float(number) => format!("`{number}`"),
        DeValue::Boolean(value) => format!("`{value}`"),
        _ => "something else".to_owned(),
    }
}
