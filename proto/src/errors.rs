//! Why things fail: a [`Reason`] decides the gRPC code and the exit code, a [`Failure`] carries it to the user.
//!
//! On the wire a failure is a `tonic::Status` with google.rpc details: `ErrorInfo` (reason, domain `imgd`, and the hint
//! and file in its metadata), `BadRequest` where a field is at fault, `RetryInfo` where trying again later helps.

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// `ErrorInfo.domain` of every error of this contract.
pub const DOMAIN: &str = "imgd";

/// Longest message or hint sent, in bytes: a status travels in HTTP/2 headers, which peers limit to 8 or 16 KiB.
pub const MAX_MESSAGE_BYTES: usize = 1024;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:ident, $exit:literal;)*) => {
        /// Why something failed. The name on the wire never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire, in `ErrorInfo.reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The gRPC code it travels with.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code),* }
            }

            /// The exit code of a program that ends for it: 1 failure, 2 wrong argument, 69 daemon unavailable,
            /// 73 output cannot be made, 75 busy (try again), 78 configuration, 130 interrupted.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit),* }
            }
        }
    };
}

reasons! {
    /// A field of the request is wrong; [`Failure::field`] names it.
    InvalidField = "INVALID_FIELD", InvalidArgument, 2;
    /// No model has this name, or the path holds none.
    ModelNotFound = "MODEL_NOT_FOUND", NotFound, 2;
    /// The model's files are damaged, hostile, unsupported, or do not fit together.
    ModelInvalid = "MODEL_INVALID", InvalidArgument, 1;
    /// No job has this id.
    JobNotFound = "JOB_NOT_FOUND", NotFound, 2;
    /// The job has no such picture, or not yet, or not any more.
    ImageNotFound = "IMAGE_NOT_FOUND", NotFound, 2;
    /// The job is in a state in which this cannot be done to it.
    JobState = "JOB_STATE", FailedPrecondition, 1;
    /// As many requests wait as may wait. Trying again later helps.
    QueueFull = "QUEUE_FULL", ResourceExhausted, 75;
    /// As many requests of this client wait as may wait. Trying again later helps.
    ClientQueueFull = "CLIENT_QUEUE_FULL", ResourceExhausted, 75;
    /// The disk has no room for the daemon's journal and pictures. Nothing was accepted.
    DiskFull = "DISK_FULL", ResourceExhausted, 75;
    /// The journal cannot be written or read, for another reason than room.
    JournalFailed = "JOURNAL_FAILED", Internal, 1;
    /// The journal is damaged, or of a newer imgd; it was not touched. Never sent by a running daemon.
    JournalInvalid = "JOURNAL_INVALID", FailedPrecondition, 78;
    /// It needs more memory than there is.
    OutOfMemory = "OUT_OF_MEMORY", ResourceExhausted, 1;
    /// The network gave numbers that make no picture.
    Numerics = "NUMERICS", Internal, 1;
    /// The worker process ended while it was at this work. The daemon starts another.
    WorkerDied = "WORKER_DIED", Aborted, 1;
    /// The request's deadline or timeout passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, 75;
    /// The client, or the user, ended the work.
    Cancelled = "CANCELLED", Cancelled, 130;
    /// The daemon is ending and takes no new work.
    Draining = "DRAINING", Unavailable, 75;
    /// Asked to do something only when idle, and it is not.
    NotIdle = "NOT_IDLE", FailedPrecondition, 75;
    /// Client and daemon speak different versions of the contract.
    ProtocolMismatch = "PROTOCOL_MISMATCH", FailedPrecondition, 69;
    /// A message is larger than the daemon accepts.
    MessageTooLarge = "MESSAGE_TOO_LARGE", OutOfRange, 2;
    /// No daemon answers and none could be started. Never sent by a daemon.
    DaemonUnavailable = "DAEMON_UNAVAILABLE", Unavailable, 69;
    /// The output file cannot be written. Never sent by a daemon.
    OutputNotCreated = "OUTPUT_NOT_CREATED", FailedPrecondition, 73;
    /// The configuration is wrong. Never sent by a running daemon.
    ConfigInvalid = "CONFIG_INVALID", FailedPrecondition, 78;
    /// The socket's place is unsafe: not ours, open to others, or a symbolic link.
    SocketUnsafe = "SOCKET_UNSAFE", PermissionDenied, 78;
    /// A defect of imgd.
    Internal = "INTERNAL", Internal, 1;
}

impl Reason {
    /// The reason with this name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == name)
    }

    /// The best guess for a status that carries no `ErrorInfo`: one made by the transport or by tonic itself.
    fn from_code(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::InvalidField,
            Code::NotFound => Self::ModelNotFound,
            Code::ResourceExhausted => Self::QueueFull,
            Code::Aborted => Self::WorkerDied,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Cancelled,
            Code::Unavailable => Self::DaemonUnavailable,
            Code::Unimplemented => Self::ProtocolMismatch,
            Code::OutOfRange => Self::MessageTooLarge,
            Code::PermissionDenied | Code::Unauthenticated => Self::SocketUnsafe,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A failure in the user's words: what happened, which field or file, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// What happened and why: a lower-case sentence fragment without a full stop. Never holds a prompt.
    pub message: String,
    /// The request's field at fault, by the contract's name.
    pub field: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
    /// The file at fault.
    pub file: Option<String>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure with a reason and a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            field: None,
            hint: None,
            file: None,
            retry_after: None,
        }
    }

    /// A wrong field of the request.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidField, message).with_field(field)
    }

    /// Names the request's field at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the file at fault.
    #[must_use]
    pub fn with_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Says when trying again may help.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Reads a status back. One without our details, made by the transport, gets the reason its code suggests.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info.and_then(|info| Reason::parse(&info.reason));
        let metadata = |key: &str| info.and_then(|info| info.metadata.get(key).cloned());
        let violation = details
            .bad_request()
            .and_then(|bad| bad.field_violations.first());
        Self {
            reason: reason.unwrap_or_else(|| Reason::from_code(status.code())),
            message: status.message().to_owned(),
            field: violation.map(|violation| violation.field.clone()),
            hint: metadata("hint"),
            file: metadata("file"),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }

    /// The status to send.
    pub fn to_status(&self) -> Status {
        let message = shortened(&self.message);
        let mut metadata = HashMap::new();
        for (key, value) in [("hint", &self.hint), ("file", &self.file)] {
            if let Some(value) = value {
                metadata.insert(key.to_owned(), shortened(value));
            }
        }
        let mut details = ErrorDetails::with_error_info(self.reason.as_str(), DOMAIN, metadata);
        if let Some(field) = &self.field {
            details.add_bad_request_violation(field, message.as_str());
        }
        if self.retry_after.is_some() {
            details.set_retry_info(self.retry_after);
        }
        Status::with_error_details(self.reason.code(), message, details)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.to_status()
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        Self::from_status(status)
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= MAX_MESSAGE_BYTES {
        return text.to_owned();
    }
    let room = MAX_MESSAGE_BYTES - '…'.len_utf8();
    let end = (0..=room)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let sent = Failure::invalid("width_px", "width_px is 7: it must be a multiple of 8")
            .with_hint("use 8")
            .with_file("unet/config.json")
            .with_retry_after(Duration::from_millis(1500));
        assert_eq!(Failure::from_status(&sent.to_status()), sent);
    }

    #[test]
    fn every_reason_survives_the_wire_with_its_code() {
        for &reason in Reason::ALL {
            let status = Failure::new(reason, "why").to_status();
            assert_eq!(status.code(), reason.code());
            assert_eq!(Failure::from_status(&status).reason, reason);
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_ne!(reason.exit_code(), 0);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn a_status_of_the_transport_gets_the_reason_its_code_suggests() {
        let failure = Failure::from_status(&Status::unavailable("connection refused"));
        assert_eq!(failure.reason, Reason::DaemonUnavailable);
        assert_eq!(failure.message, "connection refused");
    }

    #[test]
    fn details_of_another_domain_are_not_ours() {
        let details = ErrorDetails::with_error_info("QUEUE_FULL", "elsewhere", HashMap::new());
        let status = Status::with_error_details(Code::Unavailable, "x", details);
        assert_eq!(
            Failure::from_status(&status).reason,
            Reason::DaemonUnavailable
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let status = Failure::new(Reason::Internal, "é".repeat(5000)).to_status();
        assert!(status.message().len() <= MAX_MESSAGE_BYTES);
        assert!(status.message().ends_with('…'));
    }
}
