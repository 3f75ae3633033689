//! `scheduler_config.json` as written, and how its keys are read for a sampler.
//!
//! A key that the file has goes to whichever sampler is used, a key that it lacks takes that sampler's own default,
//! and a key that the sampler's diffusers class does not know is ignored: what
//! `XScheduler.from_config(pipe.scheduler.config)` does. What the keys mean is told in the sibling `options`.

use serde_json::{Map, Value};

use super::class::Class;
use super::flow::Flow;
use crate::{Error, Result};

/// The keys of a model's `scheduler_config.json`.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    class_name: String,
    keys: Map<String, Value>,
    /// Values that the pipeline forces on the model's own class where the file is silent.
    forced_on_own: Map<String, Value>,
    flow: Option<Flow>,
    /// Tokens of the picture, which some flow models' noise levels depend on.
    image_tokens: usize,
}

impl SchedulerConfig {
    /// Reads the file. Accepts `Infinity`, `-Infinity` and `NaN` as Python writes them.
    ///
    /// Fails when it is no JSON object or has no `_class_name`.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let keys: Map<String, Value> =
            serde_json::from_slice(&quote_non_finite(bytes)).map_err(|error| {
                Error::model(format!(
                    "scheduler_config.json is not a JSON object: {error}"
                ))
                .with_source(error)
            })?;
        let Some(class_name) = keys.get("_class_name").and_then(Value::as_str) else {
            return Err(Error::model(
                "scheduler_config.json: `_class_name` is missing",
            ));
        };
        Ok(Self {
            class_name: class_name.to_owned(),
            keys,
            forced_on_own: Map::new(),
            flow: None,
            image_tokens: 0,
        })
    }

    /// The diffusers class that the model was saved with.
    pub fn class_name(&self) -> &str {
        &self.class_name
    }

    /// The configuration as a pipeline that corrects keys holds it.
    ///
    /// A key that the file wrote is changed for every sampler. One that it lacks is changed for the model's own sampler
    /// alone: it does not travel to a sampler that takes its place, as `from_config` drops defaults.
    #[must_use]
    pub fn corrected(mut self, corrections: &[(&str, Value)]) -> Self {
        for (key, value) in corrections {
            match self.keys.get_mut(*key) {
                Some(written) => *written = value.clone(),
                None => drop(self.forced_on_own.insert((*key).to_owned(), value.clone())),
            }
        }
        self
    }

    /// The configuration of a flow-matching model, whose pipeline lays its noise levels out by `flow`.
    #[must_use]
    pub fn with_flow(mut self, flow: Flow) -> Self {
        self.flow = Some(flow);
        self
    }

    /// The configuration for a picture of this size in pixels.
    #[must_use]
    pub fn at_size(mut self, width_px: u32, height_px: u32) -> Self {
        if let Some(flow) = &self.flow {
            let side = |pixels: u32| (pixels / flow.pixels_per_token.max(1)) as usize;
            self.image_tokens = side(width_px) * side(height_px);
        }
        self
    }

    /// The keys of the file, for no class.
    pub(super) fn own_keys(&self) -> Keys<'_> {
        self.seen_by(Class::Euler, true)
    }

    /// Whether the model is a flow-matching one.
    pub fn is_flow(&self) -> bool {
        self.flow.is_some()
    }

    /// How a flow model lays its noise levels out, and the tokens of its picture.
    pub(super) fn flow(&self) -> Option<(Flow, usize)> {
        Some((self.flow?, self.image_tokens))
    }

    /// What `class` sees of the file. `own`: the model is used as it is, not with a sampler by name.
    pub(super) fn seen_by(&self, class: Class, own: bool) -> Keys<'_> {
        Keys {
            config: self,
            class,
            own,
        }
    }
}

/// The keys that one diffusers class takes from the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    config: &'a SchedulerConfig,
    class: Class,
    own: bool,
}

impl<'a> Keys<'a> {
    /// The value of `key`; nothing when the file or the class lacks it, or it is `null`.
    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        self.class
            .knows(key)
            .then(|| self.get_unknown(key))
            .flatten()
    }

    /// The value of `key` in the file, known to the class or not.
    pub(super) fn get_unknown(self, key: &str) -> Option<&'a Value> {
        let forced = if self.own {
            self.config.forced_on_own.get(key)
        } else {
            None
        };
        forced
            .or_else(|| self.config.keys.get(key))
            .filter(|value| !value.is_null())
    }

    /// The class that the file was written for, where it is one of ours.
    pub(super) fn written_for(self) -> Option<Class> {
        Class::by_name(&self.config.class_name)
    }

    /// A boolean of the file, known to the class or not; without one, false.
    pub(super) fn own_boolean(self, key: &'static str) -> Result<bool> {
        self.get_unknown(key).map_or(Ok(false), |value| {
            value
                .as_bool()
                .ok_or_else(|| wrong(key, value, "true or false"))
        })
    }

    /// A finite number of the file, known to the class or not.
    pub(super) fn own_number(self, key: &'static str, default: f64) -> Result<f64> {
        self.get_unknown(key)
            .map_or(Ok(default), |value| finite(key, value))
    }

    /// A text of the file, known to the class or not.
    pub(super) fn own_text(self, key: &'static str) -> Result<Option<&'a str>> {
        self.get_unknown(key)
            .map(|value| value.as_str().ok_or_else(|| wrong(key, value, "a string")))
            .transpose()
    }

    pub(super) fn boolean(self, key: &'static str, default: bool) -> Result<bool> {
        self.get(key).map_or(Ok(default), |value| {
            value
                .as_bool()
                .ok_or_else(|| wrong(key, value, "true or false"))
        })
    }

    /// A finite number.
    pub(super) fn number(self, key: &'static str, default: f64) -> Result<f64> {
        self.get(key)
            .map_or(Ok(default), |value| finite(key, value))
    }

    /// A whole number from 0 to `most`.
    pub(super) fn integer(self, key: &'static str, default: usize, most: usize) -> Result<usize> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let whole = value.as_u64().and_then(|whole| usize::try_from(whole).ok());
        whole
            .filter(|whole| *whole <= most)
            .ok_or_else(|| wrong(key, value, &format!("a whole number from 0 to {most}")))
    }

    pub(super) fn text(self, key: &'static str, default: &'static str) -> Result<&'a str> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_str().ok_or_else(|| wrong(key, value, "a string"))
        })
    }

    /// One of `choices`, by name.
    pub(super) fn choice<T: Copy>(
        self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let chosen = value
            .as_str()
            .and_then(|name| choices.iter().find(|choice| choice.0 == name));
        chosen.map(|choice| choice.1).ok_or_else(|| {
            let names: Vec<_> = choices
                .iter()
                .map(|choice| format!("`{}`", choice.0))
                .collect();
            wrong(key, value, &names.join(", "))
        })
    }
}

/// `value` as a finite number, or an error that names `key`.
pub(super) fn finite(key: &str, value: &Value) -> Result<f64> {
    value
        .as_f64()
        .filter(|number| number.is_finite())
        .ok_or_else(|| wrong(key, value, "a finite number"))
}

/// The error of a key whose value cannot be used.
pub(super) fn wrong(key: &str, value: &Value, expected: &str) -> Error {
    let mut shown = value.to_string();
    if shown.chars().count() > 60 {
        shown = shown.chars().take(57).chain("...".chars()).collect();
    }
    Error::model(format!(
        "scheduler_config.json: `{key}` is {shown}, expected {expected}"
    ))
}

/// Puts quotes around the bare words by which Python writes numbers that JSON has not.
fn quote_non_finite(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len() + 16);
    let (mut rest, mut in_string) = (bytes, false);
    while let Some((&byte, tail)) = rest.split_first() {
        let word = [&b"-Infinity"[..], b"Infinity", b"NaN"]
            .into_iter()
            .find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            quoted.push(b'"');
            quoted.extend(word);
            quoted.push(b'"');
            rest = &rest[word.len()..];
            continue;
        }
        quoted.push(byte);
        rest = tail;
        match (in_string, byte, tail.first()) {
            (true, b'\\', Some(&escaped)) => {
                quoted.push(escaped);
                rest = &tail[1..];
            }
            (_, b'"', _) => in_string = !in_string,
            _ => {}
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_infinities_outside_strings_are_read() {
        let config =
            br#"{"_class_name": "A\"-Infinity", "lambda_min_clipped": -Infinity, "a": NaN}"#;
        let config = SchedulerConfig::from_json(config).unwrap();
        assert_eq!(config.class_name(), "A\"-Infinity");
        assert_eq!(config.keys["lambda_min_clipped"], "-Infinity");
    }

    #[test]
    fn damaged_files_are_refused() {
        for bytes in [
            &b"[]"[..],
            b"{",
            b"{}",
            b"",
            br#"{"_class_name": 3}"#,
            b"\"\\",
            b"\xff\xff",
        ] {
            let error = SchedulerConfig::from_json(bytes).unwrap_err();
            assert!(
                error.to_string().contains("scheduler_config.json"),
                "{error}"
            );
        }
    }

    #[test]
    fn long_values_are_cut_in_errors() {
        let error = wrong("trained_betas", &Value::from(vec![0.5; 1000]), "betas");
        assert!(error.to_string().len() < 150, "{error}");
    }
}
