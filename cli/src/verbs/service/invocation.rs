//! Programs of the system that are run: found on the search path, with arguments and without a shell.

use std::{ffi::OsString, fmt, io, process::Command};

use super::manager::Manager;
use crate::failure::{Failure, exit};

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    program: &'static str,
    arguments: Vec<OsString>,
}

impl Invocation {
    pub(super) fn new<A: Into<OsString>>(
        program: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program, arguments }
    }

    /// Runs it to its end and returns what it printed. Fails with what it said where it does not succeed.
    pub(super) fn run(&self) -> Result<String, Failure> {
        let output = self
            .command()
            .output()
            .map_err(|error| self.missing(&error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let how = match (said.is_empty(), output.status.code()) {
            (false, _) => said,
            (true, Some(code)) => format!("it ended with status {code}"),
            (true, None) => "a signal ended it".to_owned(),
        };
        let manager = Manager::here().name();
        Err(
            Failure::new(exit::FAILED, format!("`{self}` failed: {how}"))
                .hint(format!("run it yourself to see what {manager} says")),
        )
    }

    /// Whether it succeeds.
    pub(super) fn succeeds(&self) -> bool {
        self.command()
            .output()
            .is_ok_and(|output| output.status.success())
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments);
        command
    }

    /// What to say where it could not be started.
    pub(super) fn missing(&self, error: &io::Error) -> Failure {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "it is not on the search path".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(
            exit::FAILED,
            format!("cannot run `{}`: {why}", self.program),
        )
    }

    /// Program and arguments, as objects have them.
    pub(super) fn words(&self) -> Vec<String> {
        let arguments = self.arguments.iter();
        std::iter::once(self.program.to_owned())
            .chain(arguments.map(|argument| argument.to_string_lossy().into_owned()))
            .collect()
    }
}

impl fmt::Display for Invocation {
    /// As one would type it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words().iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
            if !word.is_empty() && word.chars().all(is_plain) {
                write!(f, "{space}{word}")?;
            } else {
                write!(f, "{space}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Invocation;

    #[test]
    fn it_is_shown_as_a_shell_takes_it() {
        let invocation = Invocation::new("launchctl", ["print", "/Users/a b/it's"]);
        assert_eq!(
            invocation.to_string(),
            r"launchctl print '/Users/a b/it'\''s'"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = Invocation::new("imgd-no-such-program", ["x"])
            .run()
            .unwrap_err();
        assert!(
            failure.message.contains("imgd-no-such-program"),
            "{}",
            failure.message
        );
    }
}
