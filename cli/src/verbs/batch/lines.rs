//! A batch file's lines, in any of its three forms.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    csv_form,
    fields::{Own, Wrong},
    jsonl_form, text_form,
};
use crate::failure::Failure;

/// A larger file is a mistake: 10,000 prompts of the longest kind do not fill it.
const MAX_BYTES: u64 = 512 << 20;
/// So many wrong lines are named; a file of the wrong form has thousands.
const MAX_NAMED: usize = 10;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// One JSON object a line
    #[value(alias = "ndjson")]
    Jsonl,
    /// A heading of fields, then one line each
    Csv,
    /// One prompt a line, with flags behind it
    #[value(alias = "text")]
    Txt,
}

impl Form {
    /// The form of a file by its extension; whatever is not known is text.
    pub(super) fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            "csv" => Self::Csv,
            _ => Self::Txt,
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) number: u64,
    pub(super) own: Own,
}

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) number: u64,
    pub(super) wrong: Wrong,
}

/// A batch file.
#[derive(Debug)]
pub(super) struct Source {
    /// What errors call it.
    pub(super) name: String,
    text: String,
    form: Form,
}

impl Source {
    /// Reads a file, or standard input for `-`.
    pub(super) fn read(path: &Path, form: Option<Form>) -> Result<Self, Failure> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let bytes = if is_stdin {
            bytes(io::stdin().lock())
        } else {
            File::open(path).and_then(bytes)
        };
        let bytes = bytes.map_err(|error| {
            Failure::usage(format!("cannot read the batch from `{name}`: {error}"))
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_invalid| Failure::usage(format!("`{name}` is not UTF-8 text")))?;
        Ok(Self {
            form: form.unwrap_or_else(|| Form::of(path)),
            text,
            name,
        })
    }

    /// Its lines, or every line that is wrong.
    pub(super) fn lines(&self) -> Result<Vec<Line>, Failure> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let parsed = match self.form {
            Form::Jsonl => jsonl_form::parse(text),
            Form::Csv => csv_form::parse(text),
            Form::Txt => text_form::parse(text),
        };
        let lines = gather(parsed).map_err(|problems| self.failure(&problems))?;
        if lines.is_empty() {
            return Err(Failure::usage(format!(
                "there are no prompts in `{}`",
                self.name
            )));
        }
        Ok(lines)
    }

    /// The failure that names wrong lines, file and field.
    pub(super) fn failure(&self, problems: &[Problem]) -> Failure {
        let named: Vec<_> = problems
            .iter()
            .take(MAX_NAMED)
            .map(|problem| {
                format!(
                    "{}:{}: {}",
                    self.name, problem.number, problem.wrong.message
                )
            })
            .collect();
        let mut message = named.join("\n");
        if problems.len() > MAX_NAMED {
            message = format!("{message}\n… and {} more", problems.len() - MAX_NAMED);
        }
        let mut failure = Failure::usage(message).hint("nothing was submitted");
        failure.field = problems
            .first()
            .and_then(|problem| problem.wrong.field)
            .map(str::to_owned);
        failure
    }
}

fn bytes(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 512 MiB"));
    }
    Ok(bytes)
}

/// All lines where all are right, else all that are wrong.
fn gather(parsed: Vec<Result<Line, Problem>>) -> Result<Vec<Line>, Vec<Problem>> {
    let mut lines = Vec::with_capacity(parsed.len());
    let mut problems = Vec::new();
    for line in parsed {
        match line {
            Ok(line) if line.own.prompt.is_none() => problems.push(Problem {
                number: line.number,
                wrong: Wrong {
                    field: Some("prompt"),
                    message: "`prompt` is missing".into(),
                },
            }),
            Ok(line) => lines.push(line),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(lines)
    } else {
        Err(problems)
    }
}
