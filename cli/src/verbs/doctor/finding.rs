//! One thing that was looked at, and how it is.

use serde_json::{Value, json};

use crate::{failure::Failure, json};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it should be.
    Ok,
    /// Worth knowing; everything works.
    Note,
    /// Something does not work, or is not as private as it should be.
    Problem,
}

impl Mark {
    /// The word in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One line of the doctor's sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, in a word or two; unique in its group as far as it can be.
    pub(super) name: String,
    pub(super) mark: Mark,
    /// What was found.
    pub(super) found: String,
    /// What to do; none where there is nothing to do.
    pub(super) advice: Option<String>,
}

impl Finding {
    fn new(mark: Mark, name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mark,
            found: found.into(),
            advice: None,
        }
    }

    pub(super) fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Mark::Ok, name, found)
    }

    pub(super) fn note(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Mark::Note, name, found)
    }

    pub(super) fn problem(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Mark::Problem, name, found)
    }

    /// Says what to do.
    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// A problem in the words of a failure.
    pub(super) fn failed(name: impl Into<String>, failure: Failure) -> Self {
        Self {
            advice: failure.hint,
            ..Self::problem(name, failure.message)
        }
    }

    /// The object of `--json`.
    pub(super) fn object(&self, group: &str) -> Value {
        json::object(
            "finding",
            json!({
                "group": group,
                "name": self.name,
                "mark": self.mark.name(),
                "found": self.found,
                "advice": self.advice,
            }),
        )
    }
}
