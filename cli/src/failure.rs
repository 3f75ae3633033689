//! Why a command failed: what is printed and the exit status, in one place.

use std::{error::Error as _, fmt::Write as _, io};

use imgd_client::Reason;
use imgd_proto::limits::FieldError;

/// Exit statuses, after `sysexits.h`.
pub(crate) mod exit {
    /// The work failed.
    pub(crate) const FAILED: u8 = 1;
    /// The command line or the request is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// The picture cannot be written (`EX_CANTCREAT`).
    pub(crate) const CANNOT_CREATE: u8 = 73;
    /// What is needed is not there (`EX_UNAVAILABLE`).
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// Ended by Ctrl-C (128 + SIGINT).
    pub(crate) const INTERRUPTED: u8 = 130;

    /// What each says, those of the daemon's reasons among them; for the manual.
    pub(crate) const MEANINGS: &[(u8, &str)] = &[
        (0, "Done."),
        (FAILED, "It failed."),
        (USAGE, "The command line or the request is wrong."),
        (69, "There is no daemon and none could be started."),
        (CANNOT_CREATE, "The picture cannot be written."),
        (75, "Busy or out of time: try again."),
        (78, "The configuration or the socket's place is wrong."),
        (INTERRUPTED, "Interrupted."),
    ];
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit status.
    pub(crate) code: u8,
    /// Machine-readable, `UPPER_SNAKE_CASE`.
    pub(crate) reason: String,
    /// What happened.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The request's field that is at fault, as the contract names it.
    pub(crate) field: Option<String>,
    /// It is what the user asked for: a note rather than an error.
    pub(crate) is_note: bool,
    /// The reader of the output has gone: nobody wants to know more.
    pub(crate) is_broken_pipe: bool,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        let reason = match code {
            exit::USAGE => Reason::InvalidField,
            exit::CANNOT_CREATE => Reason::OutputNotCreated,
            exit::UNAVAILABLE => Reason::DaemonUnavailable,
            exit::INTERRUPTED => Reason::Cancelled,
            _ => Reason::Internal,
        };
        Self {
            code,
            reason: reason.as_str().to_owned(),
            message: message.into(),
            hint: None,
            field: None,
            is_note: false,
            is_broken_pipe: false,
        }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message)
    }

    /// The picture cannot be written.
    pub(crate) fn cannot_create(message: impl Into<String>) -> Self {
        Self::new(exit::CANNOT_CREATE, message)
    }

    /// Ctrl-C, whose effect on the work is `what`.
    pub(crate) fn interrupted(what: &str) -> Self {
        Self::new(exit::INTERRUPTED, format!("interrupted; {what}"))
    }

    /// Ctrl-C by someone who only looked on.
    pub(crate) fn looked_away(message: impl Into<String>) -> Self {
        Self {
            is_note: true,
            ..Self::new(exit::INTERRUPTED, message)
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Writing results to standard output failed.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        let mut failure = Self::cannot_create(format!("cannot write to standard output: {error}"));
        failure.is_broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        failure
    }
}

impl From<FieldError> for Failure {
    /// A request that the daemon would refuse, found before it is asked.
    fn from(error: FieldError) -> Self {
        let message = with_flag(&error.message, error.field);
        let mut failure = Self::usage(message).field(error.field);
        failure.hint = error.hint;
        failure
    }
}

impl From<imgd_client::Error> for Failure {
    fn from(error: imgd_client::Error) -> Self {
        let mut message = error.to_string();
        // What gRPC says about a lost connection helps nobody.
        let mut source = error
            .source()
            .filter(|_| !matches!(error, imgd_client::Error::Lost(_)));
        while let Some(cause) = source {
            // Writing to a string cannot fail.
            write!(message, ": {cause}").ok();
            source = cause.source();
        }
        if let Some(field) = error.field() {
            message = with_flag(&message, field);
        }
        Self {
            code: error.exit_code(),
            reason: error.reason().as_str().to_owned(),
            message,
            hint: error.hint(),
            field: error.field().map(str::to_owned),
            is_note: false,
            is_broken_pipe: false,
        }
    }
}

/// The message with the flag that was typed in the place of the contract's field, where it begins with that.
fn with_flag(message: &str, field: &str) -> String {
    match message.strip_prefix(field) {
        // One flag has several fields.
        Some(rest)
            if rest.starts_with(' ')
                && (field.starts_with("control_") || field.starts_with("canny_")) =>
        {
            let part = field.trim_start_matches("control_").replace('_', " ");
            format!("--control: {part}{rest}")
        }
        Some(rest) if rest.starts_with(' ') && field != "prompt" => {
            // A flag that may be repeated is one of the field's list.
            let flag = match field {
                "ref_images" => "ref_image",
                field => field.trim_end_matches("_px"),
            };
            let flag = flag.replace('_', "-");
            format!("--{flag}{rest}")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::with_flag;

    #[test]
    fn people_read_the_flag_they_typed() {
        assert_eq!(with_flag("width_px is 12", "width_px"), "--width is 12");
        assert_eq!(with_flag("clip_skip is 0", "clip_skip"), "--clip-skip is 0");
        assert_eq!(with_flag("prompt is long", "prompt"), "prompt is long");
        assert_eq!(
            with_flag("sampler `x` is not known", "sampler"),
            "--sampler `x` is not known"
        );
        assert_eq!(with_flag("the size is odd", "width_px"), "the size is odd");
        assert_eq!(
            with_flag("ref_images is 5", "ref_images"),
            "--ref-image is 5"
        );
    }

    #[test]
    fn fields_of_a_control_are_parts_of_its_flag() {
        for (message, field, read) in [
            (
                "control_start is 1",
                "control_start",
                "--control: start is 1",
            ),
            (
                "canny_low is 300",
                "canny_low",
                "--control: canny low is 300",
            ),
            ("no ControlNet `a`", "controls", "no ControlNet `a`"),
        ] {
            assert_eq!(with_flag(message, field), read);
        }
    }
}
