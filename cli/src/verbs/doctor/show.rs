//! The doctor's sheet: groups of findings as they come, for people or as JSON, and the sum at the end.

use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use super::finding::{Finding, Mark};
use crate::{
    Context,
    failure::{Failure, exit},
    json,
    terminal::printable,
};

/// Columns of a finding's name; a longer one pushes its text to the right.
const NAME_COLUMNS: usize = 19;
/// Columns before the text: two, the mark, a space, the name, two.
const TEXT_COLUMN: usize = 2 + 1 + 1 + NAME_COLUMNS + 2;
/// Text is wrapped to the terminal, to no narrower and no wider column than these.
const NARROWEST: usize = 24;
const WIDEST: usize = 100;

/// What was found so far.
pub(super) struct Sheet<'a> {
    context: &'a Context,
    checks: usize,
    notes: usize,
    problems: usize,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self {
            context,
            checks: 0,
            notes: 0,
            problems: 0,
        }
    }

    /// Prints a group; nothing where nothing was found.
    pub(super) fn group(&mut self, name: &str, findings: &[Finding]) -> Result<(), Failure> {
        let terminal = self.context.terminal;
        if findings.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        if self.checks > 0 {
            lines.push(String::new());
        }
        lines.push(terminal.styled("1", &capitalised(name)));
        for finding in findings {
            self.checks += 1;
            match finding.mark {
                Mark::Ok => {}
                Mark::Note => self.notes += 1,
                Mark::Problem => self.problems += 1,
            }
            if self.context.json {
                terminal.line(&finding.object(name).to_string())?;
            } else {
                lines.extend(self.lines(finding));
            }
        }
        if self.context.json {
            return Ok(());
        }
        terminal.line(&lines.join("\n"))
    }

    /// Says what it comes to. Fails where there is a problem.
    pub(super) fn end(self) -> Result<(), Failure> {
        let terminal = self.context.terminal;
        if self.context.json {
            let fields =
                json!({ "checks": self.checks, "notes": self.notes, "problems": self.problems });
            terminal.line(&json::object("doctor", fields).to_string())?;
        } else {
            let sum = format!(
                "{}: {}, {}",
                counted(self.checks, "check"),
                counted(self.problems, "problem"),
                counted(self.notes, "note")
            );
            let style = match (self.problems, self.notes) {
                (0, _) => "32",
                _ => "1;31",
            };
            terminal.line(&format!("\n{}", terminal.styled(style, &sum)))?;
        }
        if self.problems == 0 {
            return Ok(());
        }
        let message = format!("the doctor found {}", counted(self.problems, "problem"));
        Err(Failure::new(exit::FAILED, message).hint("what to do stands beside each"))
    }

    /// A finding's lines for people: mark, name and text, and below it what to do.
    fn lines(&self, finding: &Finding) -> Vec<String> {
        let terminal = self.context.terminal;
        let (sign, style) = match (finding.mark, terminal.stdout_is_terminal()) {
            (Mark::Ok, true) => ("✓", "32"),
            (Mark::Note, true) => ("!", "33"),
            (Mark::Problem, true) => ("✗", "1;31"),
            // Programs search for words.
            (Mark::Ok, false) => ("ok     ", ""),
            (Mark::Note, false) => ("note   ", ""),
            (Mark::Problem, false) => ("PROBLEM", ""),
        };
        let columns = terminal.columns().map(|columns| {
            columns
                .min(WIDEST + TEXT_COLUMN)
                .saturating_sub(TEXT_COLUMN)
                .max(NARROWEST)
        });
        let name = printable(&finding.name);
        let padding = " ".repeat(NAME_COLUMNS.saturating_sub(name.width()));
        let margin = " ".repeat(TEXT_COLUMN + sign.width() - 1);
        let mut lines = Vec::new();
        for (index, text) in wrapped(&printable(&finding.found), columns)
            .iter()
            .enumerate()
        {
            if index == 0 {
                let sign = terminal.styled(style, sign);
                lines.push(format!("  {sign} {name}{padding}  {text}"));
            } else {
                lines.push(format!("{margin}{text}"));
            }
        }
        let advice = finding.advice.as_deref().map(printable).unwrap_or_default();
        let columns = columns.map(|columns| columns - 2);
        for (index, text) in wrapped(&advice, columns).iter().enumerate() {
            let arrow = if index == 0 { "→ " } else { "  " };
            lines.push(format!(
                "{margin}{}",
                terminal.styled("36", &format!("{arrow}{text}"))
            ));
        }
        lines
    }
}

/// `1 problem`, `0 problems`.
pub(super) fn counted(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The text in lines of so many columns at most, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, columns: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    for given in text.lines() {
        let mut line = String::new();
        for word in given.split_whitespace() {
            let is_full = columns.is_some_and(|columns| line.width() + 1 + word.width() > columns);
            if is_full && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("a red apple", Some(5)), ["a red", "apple"]);
        assert_eq!(wrapped("a redapple b", Some(4)), ["a", "redapple", "b"]);
        assert_eq!(wrapped("a\nb", None), ["a", "b"]);
        assert!(wrapped("", Some(4)).is_empty());
        assert_eq!(wrapped("赤い りんご", Some(8)), ["赤い", "りんご"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "problem"), "1 problem");
        assert_eq!(counted(0, "problem"), "0 problems");
    }
}
