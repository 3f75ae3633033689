//! How a worker ended, in words.

use std::fmt;

use crate::worker::EXIT_PANIC;

/// How a process ended. Both absent: it could not be learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

impl Exit {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Self = Self {
        code: None,
        signal: None,
    };
}

/// Follows "the worker".
impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) if code == i32::from(EXIT_PANIC) => {
                formatter.write_str("ended after a defect in the engine")
            }
            (Some(code), _) => write!(formatter, "ended with exit code {code}"),
            (_, Some(libc::SIGKILL)) => formatter
                .write_str("was killed (SIGKILL: by the system for lack of memory, or by hand)"),
            (_, Some(libc::SIGABRT)) => {
                formatter.write_str("gave up (SIGABRT: memory ran out, or a defect)")
            }
            (_, Some(libc::SIGBUS)) => formatter.write_str(
                "crashed (SIGBUS: a file of the model was cut short while it was in use)",
            ),
            (_, Some(libc::SIGSEGV)) => formatter.write_str("crashed (SIGSEGV)"),
            (_, Some(signal)) => write!(formatter, "was ended by signal {signal}"),
            (None, None) => formatter.write_str("ended"),
        }
    }
}
