//! What a tool was given, checked against its table: known fields of the right kind, within their ranges.

use std::collections::BTreeMap;

use rmcp::model::JsonObject;
use serde_json::Value;

use crate::{
    refusal::{Refusal, Result},
    tools::{Field, Kind, Spec},
};

/// The fields that are there.
#[derive(Debug)]
pub(crate) struct Arguments {
    texts: BTreeMap<&'static str, String>,
    integers: BTreeMap<&'static str, u64>,
    numbers: BTreeMap<&'static str, f64>,
    booleans: BTreeMap<&'static str, bool>,
}

impl Arguments {
    /// Fails at the first field that is unknown, missing or wrong. A field that is null counts as absent.
    pub(crate) fn read(tool: &Spec, given: JsonObject) -> Result<Self> {
        let mut arguments = Self {
            texts: BTreeMap::new(),
            integers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            booleans: BTreeMap::new(),
        };
        for (name, value) in given {
            let Some(field) = tool.fields.iter().find(|field| field.name == name) else {
                return Err(unknown(tool, &name));
            };
            if !value.is_null() {
                arguments.take(field, &value)?;
            }
        }
        let is_there = |name: &str| arguments.texts.contains_key(name);
        // Required ones are texts.
        match tool
            .fields
            .iter()
            .find(|field| field.is_required && !is_there(field.name))
        {
            Some(field) => {
                let message = format!("{} is missing", field.name);
                Err(Refusal::field(field.name, message).hint(field.description))
            }
            None => Ok(arguments),
        }
    }

    fn take(&mut self, field: &Field, value: &Value) -> Result<()> {
        let name = field.name;
        let wrong = |what: String| {
            Refusal::field(name, format!("{name} must be {what}")).hint(field.description)
        };
        match field.kind {
            Kind::Text => {
                let text = value.as_str().ok_or_else(|| wrong("a text".to_owned()))?;
                self.texts.insert(name, text.to_owned());
            }
            Kind::Boolean => {
                let is_so = value
                    .as_bool()
                    .ok_or_else(|| wrong("true or false".to_owned()))?;
                self.booleans.insert(name, is_so);
            }
            Kind::Integer(min, max) => {
                let number = integer(value).filter(|number| (min..=max).contains(number));
                let number =
                    number.ok_or_else(|| wrong(format!("a whole number from {min} to {max}")))?;
                self.integers.insert(name, number);
            }
            Kind::Number(min, max) => {
                let number = number(value).filter(|number| (min..=max).contains(number));
                let number =
                    number.ok_or_else(|| wrong(format!("a number from {min} to {max}")))?;
                self.numbers.insert(name, number);
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.texts.get(name).cloned()
    }

    pub(crate) fn integer(&self, name: &str) -> Option<u64> {
        self.integers.get(name).copied()
    }

    /// A number whose table keeps it within 32 bits.
    pub(crate) fn small(&self, name: &str) -> Option<u32> {
        self.integer(name)
            .and_then(|number| u32::try_from(number).ok())
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.booleans.get(name).copied()
    }
}

/// Models write numbers as texts at times, and whole ones with a point.
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole, not negative, and within 2^53"
)]
fn integer(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64().or_else(|| {
            let number = value.as_f64()?;
            (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
        }),
    }
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite())
}

fn unknown(tool: &Spec, name: &str) -> Refusal {
    let names: Vec<_> = tool.fields.iter().map(|field| field.name).collect();
    let known = match names.is_empty() {
        true => "it takes none".to_owned(),
        false => format!("it takes {}", names.join(", ")),
    };
    // Whatever the name is, it is said in bounds.
    let shown: String = name.chars().take(64).collect();
    Refusal::field(&shown, format!("{} has no field `{shown}`", tool.name)).hint(known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tools::{GENERATE, JOB_STATUS, LIST_MODELS, MAX_SEED};

    fn read(tool: &str, given: Value) -> Result<Arguments> {
        let Value::Object(given) = given else {
            unreachable!("an object")
        };
        Arguments::read(Spec::named(tool).unwrap(), given)
    }

    #[test]
    fn what_is_given_is_read() {
        let given = json!({ "prompt": "x", "width_px": 512, "guidance_scale": 3, "seed": "9007199254740991", "model": null });
        let arguments = read(GENERATE, given).unwrap();
        assert_eq!(arguments.text("prompt").unwrap(), "x");
        assert_eq!(arguments.small("width_px"), Some(512));
        assert_eq!(arguments.number("guidance_scale"), Some(3.0));
        assert_eq!(arguments.integer("seed"), Some(MAX_SEED));
        assert_eq!(arguments.text("model"), None);
        let given = json!({ "job_id": "a", "wait_secs": 5.0, "with_pictures": false });
        let arguments = read(JOB_STATUS, given).unwrap();
        assert_eq!(arguments.integer("wait_secs"), Some(5));
        assert_eq!(arguments.boolean("with_pictures"), Some(false));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (given, field, says) in [
            (json!({}), "prompt", "is missing"),
            (json!({ "prompt": 1 }), "prompt", "must be a text"),
            (
                json!({ "prompt": "", "width_px": 7 }),
                "width_px",
                "from 8 to 4096",
            ),
            (
                json!({ "prompt": "", "width_px": 8.5 }),
                "width_px",
                "whole number",
            ),
            (
                json!({ "prompt": "", "guidance_scale": "high" }),
                "guidance_scale",
                "from 0 to 100",
            ),
            (
                json!({ "prompt": "", "num_images": 9 }),
                "num_images",
                "from 1 to 8",
            ),
            (
                json!({ "prompt": "", "size": "1x1" }),
                "size",
                "has no field",
            ),
        ] {
            let refusal = read(GENERATE, given).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field));
            assert!(
                refusal.message.contains(says),
                "{says}: {}",
                refusal.message
            );
            assert!(refusal.hint.is_some(), "{field}");
        }
        let refusal = read(LIST_MODELS, json!({ "x": 1 })).unwrap_err();
        assert_eq!(refusal.hint.as_deref(), Some("it takes none"));
    }
}
