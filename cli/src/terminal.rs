//! Standard output and error: colours, lines that survive a reader who leaves, and the last word on a failure.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use crate::{Environment, failure::Failure, json};

/// What the two outputs can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    no_color: bool,
    force_color: bool,
    is_dumb: bool,
}

impl Terminal {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self {
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            no_color: environment.no_color,
            force_color: environment.force_color,
            is_dumb: environment.is_dumb,
        }
    }

    /// Whether standard output takes colours: `NO_COLOR` forbids, `CLICOLOR_FORCE` forces, else a terminal does.
    pub(crate) fn stdout_color(&self) -> bool {
        self.color(self.stdout_is_terminal)
    }

    /// The same for standard error.
    pub(crate) fn stderr_color(&self) -> bool {
        self.color(self.stderr_is_terminal)
    }

    /// The text in a style of ECMA-48, such as `1;31`, where standard output takes colours; as it is for an empty style.
    pub(crate) fn styled(&self, style: &str, text: &str) -> String {
        if style.is_empty() || !self.stdout_color() {
            return text.to_owned();
        }
        format!("\x1b[{style}m{text}\x1b[0m")
    }

    fn color(&self, is_terminal: bool) -> bool {
        !self.no_color && (self.force_color || (is_terminal && !self.is_dumb))
    }

    /// Whether a progress bar can be drawn on standard error.
    pub(crate) fn draws_progress(&self) -> bool {
        self.stderr_is_terminal && !self.is_dumb
    }

    /// Whether a picture can be drawn on standard output.
    pub(crate) fn draws_pictures(&self) -> bool {
        self.stdout_is_terminal && !self.is_dumb
    }

    /// Whether a person, not a program, reads standard output.
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Columns of the terminal that standard output is; none where it is no terminal or does not say.
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        size.map(|size| usize::from(size.ws_col))
            .filter(|&columns| self.stdout_is_terminal && columns > 0)
    }

    /// Prints one result line.
    #[expect(clippy::unused_self, reason = "there is one way to standard output")]
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::stdout(&error))
    }

    /// Tells a person something in passing; says nothing to a program.
    pub(crate) fn note(&self, text: &str) {
        if self.stderr_is_terminal {
            self.labelled("note", "36", text);
        }
    }

    /// Tells what the user should know, who- or whatever reads it.
    pub(crate) fn notice(&self, text: &str) {
        self.labelled("note", "36", text);
    }

    /// Warns of something that is no error.
    pub(crate) fn warn(&self, text: &str) {
        self.labelled("warning", "33", text);
    }

    /// Reports how a command ended and gives its exit status.
    pub(crate) fn report(&self, outcome: Result<(), Failure>, json: bool) -> ExitCode {
        let Err(failure) = outcome else {
            return ExitCode::SUCCESS;
        };
        if failure.is_broken_pipe {
            return ExitCode::SUCCESS;
        }
        self.fail(&failure, json)
    }

    /// Says why something failed, where other things may go on, and gives the exit status.
    pub(crate) fn fail(&self, failure: &Failure, json: bool) -> ExitCode {
        if json {
            // It is said on standard error as well.
            drop(self.line(&json::failure(failure).to_string()));
        }
        if failure.is_note {
            self.labelled("note", "36", &failure.message);
        } else {
            self.labelled("error", "1;31", &failure.message);
        }
        if let Some(hint) = &failure.hint {
            self.labelled("hint", "36", hint);
        }
        ExitCode::from(failure.code)
    }

    fn labelled(&self, label: &str, style: &str, text: &str) {
        let text = printable(text);
        let line = if self.stderr_color() {
            format!("\x1b[{style}m{label}:\x1b[0m {text}\n")
        } else {
            format!("{label}: {text}\n")
        };
        // Nobody is left to tell that standard error is closed.
        drop(io::stderr().lock().write_all(line.as_bytes()));
    }
}

/// The text without control characters, which could steer the terminal; lines and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(no_color: bool, force_color: bool, is_dumb: bool) -> Terminal {
        Terminal {
            stdout_is_terminal: true,
            stderr_is_terminal: false,
            no_color,
            force_color,
            is_dumb,
        }
    }

    #[test]
    fn colours_follow_the_environment() {
        assert!(terminal(false, false, false).stdout_color());
        assert!(!terminal(false, false, false).stderr_color());
        assert!(terminal(false, true, true).stderr_color());
        assert!(!terminal(true, true, false).stdout_color());
        assert!(!terminal(false, false, true).stdout_color());
    }

    #[test]
    fn messages_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\u{9b}1m"), "a[2Jb\nc1m");
    }
}
