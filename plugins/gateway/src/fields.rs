//! The fields of a request, taken one by one, so that what is left is what nobody knows.

use serde_json::{Map, Value};

use crate::problem::Problem;

/// The fields of a request. Those of a form are texts, whatever they mean.
#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    is_form: bool,
}

impl Fields {
    pub(crate) fn of_json(values: Map<String, Value>) -> Self {
        Self {
            values,
            is_form: false,
        }
    }

    pub(crate) fn of_form(values: Map<String, Value>) -> Self {
        Self {
            values,
            is_form: true,
        }
    }

    /// A value; `null`, and in a form nothing but a name, is no value.
    fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.values.remove(name)?;
        let is_nothing = value.is_null() || self.is_form && name != "prompt" && value == "";
        (!is_nothing).then_some(value)
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(of_type(name, "a text")),
        }
    }

    /// A text, `""` included.
    pub(crate) fn text_or_empty(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.values.get(name) {
            Some(Value::String(text)) if text.is_empty() => {
                self.values.remove(name);
                Ok(Some(String::new()))
            }
            _ => self.text(name),
        }
    }

    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let wrong = || of_type(name, "a whole number, 0 or more");
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(wrong),
            Some(Value::String(text)) if self.is_form => {
                text.trim().parse().map(Some).map_err(|_error| wrong())
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A whole number that fits into 32 bits.
    pub(crate) fn small(&mut self, name: &str) -> Result<Option<u32>, Problem> {
        let Some(number) = self.whole(name)? else {
            return Ok(None);
        };
        let number = u32::try_from(number);
        number
            .map(Some)
            .map_err(|_error| Problem::value(name, format!("{name} is too large")))
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, Problem> {
        let wrong = || of_type(name, "a number");
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_f64().map(Some).ok_or_else(wrong),
            Some(Value::String(text)) if self.is_form => {
                text.trim().parse().map(Some).map_err(|_error| wrong())
            }
            Some(_) => Err(wrong()),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) if self.is_form && text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if self.is_form && text == "false" => Ok(Some(false)),
            Some(_) => Err(of_type(name, "true or false")),
        }
    }

    /// One of several words.
    pub(crate) fn choice(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let found = words.iter().copied().find(|word| *word == text);
        found.map(Some).ok_or_else(|| {
            let words = words.join("`, `");
            Problem::value(name, format!("{name} is one of `{words}`"))
        })
    }

    /// A list of texts; a single text is a list of one.
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<String>, Problem> {
        let wrong = || of_type(name, "a list of texts");
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong()),
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// Fails where a field is left that nobody took.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let left = self.values.into_iter().find(|(_, value)| !value.is_null());
        left.map_or(Ok(()), |(name, _)| {
            let name: String = name.chars().take(64).collect();
            let message = format!("unknown parameter: `{name}`");
            Err(Problem::field(name, "unknown_parameter", message))
        })
    }
}

fn of_type(name: &str, kind: &str) -> Problem {
    Problem::field(name, "invalid_type", format!("{name} is {kind}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value, is_form: bool) -> Fields {
        let Value::Object(values) = value else {
            unreachable!("the tests give objects")
        };
        Fields { values, is_form }
    }

    #[test]
    fn numbers_are_texts_in_forms_alone() {
        let mut form = fields(
            json!({ "n": "2", "cfg_scale": "1.5", "stream": "true" }),
            true,
        );
        assert_eq!(form.whole("n").unwrap(), Some(2));
        assert_eq!(form.number("cfg_scale").unwrap(), Some(1.5));
        assert_eq!(form.flag("stream").unwrap(), Some(true));
        form.finish().unwrap();
        let mut json = fields(
            json!({ "n": "2", "cfg_scale": "1", "stream": "true" }),
            false,
        );
        assert!(
            json.whole("n").is_err()
                && json.number("cfg_scale").is_err()
                && json.flag("stream").is_err()
        );
        for bad in [json!(-1), json!(1.5), json!([1]), json!(1e30)] {
            assert!(fields(json!({ "n": bad }), false).whole("n").is_err());
        }
        assert!(
            fields(json!({ "n": 4_294_967_296_u64 }), false)
                .small("n")
                .is_err()
        );
    }

    #[test]
    fn what_nobody_knows_is_named_and_nothing_is_nothing() {
        let mut known = fields(
            json!({ "prompt": "a", "user": null, "sizze": "1x1" }),
            false,
        );
        assert_eq!(known.text("prompt").unwrap().as_deref(), Some("a"));
        let problem = known.finish().unwrap_err().json();
        assert_eq!(problem["error"]["param"], "sizze");
        assert_eq!(problem["error"]["code"], "unknown_parameter");
        fields(json!({ "user": null }), false).finish().unwrap();
    }

    #[test]
    fn a_negative_prompt_may_be_empty() {
        for is_form in [true, false] {
            let mut some = fields(json!({ "negative_prompt": "" }), is_form);
            assert_eq!(
                some.text_or_empty("negative_prompt").unwrap().as_deref(),
                Some("")
            );
            some.finish().unwrap();
        }
    }
}
