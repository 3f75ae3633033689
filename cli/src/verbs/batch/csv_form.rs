//! CSV (RFC 4180): a heading that names the fields, then one line each. An empty cell says nothing.

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::{
    fields::{Field, Own, Wrong, find},
    lines::{Line, Problem},
};

/// Reads every line. A cell with a line break in quotation marks counts at its first line.
pub(super) fn parse(text: &str) -> Vec<Result<Line, Problem>> {
    let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
    let columns = match reader.headers() {
        Ok(heading) => columns(heading),
        Err(error) => Err(Wrong::new(words(&error))),
    };
    let columns = match columns {
        Ok(columns) => columns,
        Err(wrong) => return vec![Err(Problem { number: 1, wrong })],
    };
    let mut lines = Vec::new();
    let mut last = 1;
    for record in reader.records() {
        let position = match &record {
            Ok(record) => record.position().cloned(),
            Err(error) => error.position().cloned(),
        };
        let number = position.map_or(last + 1, |position| position.line());
        last = number;
        let own = match record {
            Ok(record) => own(&columns, &record),
            Err(error) => Err(Wrong::new(words(&error))),
        };
        lines.push(match own {
            Ok(own) => Ok(Line { number, own }),
            Err(wrong) => Err(Problem { number, wrong }),
        });
    }
    lines
}

type Column = (&'static Field, String);

fn columns(heading: &StringRecord) -> Result<Vec<Column>, Wrong> {
    let columns: Vec<Column> = heading
        .iter()
        .map(|name| Ok((find(name)?, name.trim().to_owned())))
        .collect::<Result<_, Wrong>>()
        .map_err(|wrong| Wrong {
            message: format!("{} (the first line names the fields)", wrong.message),
            ..wrong
        })?;
    for (i, (field, name)) in columns.iter().enumerate() {
        if columns[..i]
            .iter()
            .any(|(other, _)| other.names == field.names)
        {
            return Err(Wrong {
                field: Some(field.names[0]),
                message: format!("there are two columns `{name}`"),
            });
        }
    }
    if columns.iter().all(|(field, _)| field.names[0] != "prompt") {
        return Err(Wrong {
            field: Some("prompt"),
            message: "there is no column `prompt` (the first line names the fields)".into(),
        });
    }
    Ok(columns)
}

fn own(columns: &[Column], record: &StringRecord) -> Result<Own, Wrong> {
    let mut own = Own::default();
    for ((field, name), cell) in columns.iter().zip(record) {
        let is_text = field.names[0] == "prompt" || field.names[0] == "negative_prompt";
        let cell = if is_text { cell } else { cell.trim() };
        if !cell.is_empty() {
            own.set(field, name, cell)?;
        }
    }
    Ok(own)
}

fn words(error: &csv::Error) -> String {
    match error.kind() {
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!(
            "the line has {len} cells and the heading {expected_len}; a cell with a comma in it stands in quotation marks"
        ),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_fields_and_empty_cells_say_nothing() {
        let text =
            "prompt,seed,Steps,negative prompt\n\"a, \"\"red\"\" apple\",7,,\nb,,3,\" x \"\n";
        let text = text.replace("negative prompt", "negative_prompt");
        let lines: Vec<_> = parse(&text).into_iter().map(Result::unwrap).collect();
        assert_eq!(lines[0].own.prompt.as_deref(), Some("a, \"red\" apple"));
        assert_eq!(
            (lines[0].own.seed, lines[0].own.num_inference_steps),
            (Some(7), None)
        );
        assert_eq!(
            (lines[1].own.seed, lines[1].own.num_inference_steps),
            (None, Some(3))
        );
        assert_eq!(lines[1].own.negative_prompt.as_deref(), Some(" x "));
    }

    #[test]
    fn wrong_cells_are_named_with_their_line() {
        let text = "prompt,seed\n\"two\nlines\",1\nb,x\nc\n";
        let parsed = parse(text);
        assert_eq!(parsed[0].as_ref().unwrap().number, 2);
        let problem = parsed[1].as_ref().unwrap_err();
        assert_eq!((problem.number, problem.wrong.field), (4, Some("seed")));
        let problem = parsed[2].as_ref().unwrap_err();
        assert_eq!(problem.number, 5);
        assert!(problem.wrong.message.contains("1 cells and the heading 2"));
    }

    #[test]
    fn a_heading_that_is_none_is_said_once() {
        for (text, message) in [
            (
                "a red apple\na blue bird\n",
                "there is no field `a red apple`",
            ),
            ("seed\n1\n", "there is no column `prompt`"),
            ("prompt,width,width_px\n", "there are two columns"),
        ] {
            let parsed = parse(text);
            assert_eq!(parsed.len(), 1, "{text}");
            let problem = parsed[0].as_ref().unwrap_err();
            assert!(problem.wrong.message.starts_with(message), "{problem:?}");
        }
    }
}
