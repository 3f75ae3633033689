//! JSON lines: one object a line, its members named as the contract's fields.

use serde_json::Value;

use super::{
    fields::{Kind, Own, Wrong, find},
    lines::{Line, Problem},
};

/// Reads every line; blank ones are passed over.
pub(super) fn parse(text: &str) -> Vec<Result<Line, Problem>> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| match object(line) {
            Ok(own) => Ok(Line { number, own }),
            Err(wrong) => Err(Problem { number, wrong }),
        })
        .collect()
}

fn object(line: &str) -> Result<Own, Wrong> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| Wrong::new(format!("no JSON: {error}")))?;
    let Value::Object(members) = value else {
        return Err(Wrong::new("no JSON object: a line is {\"prompt\": …}"));
    };
    let mut own = Own::default();
    for (name, value) in &members {
        let field = find(name)?;
        let text = match (field.kind, value) {
            // As if it were not there.
            (_, Value::Null) => continue,
            (Kind::Text | Kind::Time, Value::String(text)) => text.clone(),
            (Kind::Number | Kind::Time, Value::Number(number)) => number.to_string(),
            (Kind::Switch, Value::Bool(value)) => value.to_string(),
            (kind, _) => {
                let wanted = match kind {
                    Kind::Text => "a text in quotation marks",
                    Kind::Number => "a number without quotation marks",
                    Kind::Switch => "true or false",
                    Kind::Time => "a time such as \"5m\", or a number of seconds",
                };
                return Err(Wrong {
                    field: Some(field.names[0]),
                    message: format!("`{name}` must be {wanted}"),
                });
            }
        };
        own.set(field, name, &text)?;
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<Own, String> {
        object(line).map_err(|wrong| wrong.message)
    }

    #[test]
    fn members_are_fields() {
        let own = one(
            r#"{"prompt": "é\n", "seed": 18446744073709551615, "guidance_scale": 3.5, "omit_metadata": true,
                "keep_alive": -1, "size": "64x128", "model": null}"#,
        )
        .unwrap();
        assert_eq!(own.prompt.as_deref(), Some("é\n"));
        assert_eq!((own.seed, own.guidance_scale), (Some(u64::MAX), Some(3.5)));
        assert_eq!((own.width_px, own.height_px), (Some(64), Some(128)));
        assert_eq!((own.omit_metadata, own.model), (Some(true), None));
    }

    #[test]
    fn wrong_types_are_named() {
        for (line, message) in [
            (r#"{"seed": "7"}"#, "`seed` must be a number"),
            (r#"{"prompt": 7}"#, "`prompt` must be a text"),
            (r#"{"omit_metadata": 1}"#, "`omit_metadata` must be true"),
            (r#"{"steps": 3.5}"#, "`steps` cannot be `3.5`"),
            (r#"{"sampler": ["a"]}"#, "`sampler` must be a text"),
            ("[1]", "no JSON object"),
            ("{", "no JSON: EOF"),
            (
                r#"{"promt": "x"}"#,
                "there is no field `promt`; did you mean `prompt`?",
            ),
        ] {
            let found = one(line).unwrap_err();
            assert!(found.starts_with(message), "{line}: {found}");
        }
    }

    #[test]
    fn lines_are_counted_as_editors_count_them() {
        let parsed = parse("{\"prompt\": \"a\"}\r\n\n  \n{\"prompt\": \"b\"}\n[]\n");
        let numbers: Vec<_> = parsed
            .iter()
            .map(|line| line.as_ref().map_or_else(|p| p.number, |l| l.number))
            .collect();
        assert_eq!(numbers, [1, 4, 5]);
        assert!(parsed[2].is_err());
    }
}
