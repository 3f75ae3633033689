//! Why the engine could not do what was asked, in the user's words.
//!
//! Rooms of the engine have their own error enums; all of them end here, since a caller wants to know three things:
//! whose fault it is ([`Error::kind`]), which field of the request ([`Error::field`]) and what to do ([`Error::hint`]).

/// What kind of failure it is. Decides the status code on the wire and the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A field of the request is wrong; [`Error::field`] names it.
    InvalidArgument,
    /// The model or a file of it does not exist.
    NotFound,
    /// The model's files are damaged, hostile, of an unsupported kind, or do not fit together.
    ModelInvalid,
    /// It needs more memory than there is.
    OutOfMemory,
    /// The network gave numbers that make no picture: NaN, infinite, or one constant colour.
    Numerics,
    /// The caller broke a rule of the façade, or the engine has a defect.
    Internal,
}

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    field: Option<&'static str>,
    hint: Option<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result of the engine's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind`; `message` is a lower-case sentence fragment without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            hint: None,
            source: None,
        }
    }

    /// A wrong field of the request. `field` is the contract's name of it.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message).with_field(field)
    }

    /// A model whose files are wrong.
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ModelInvalid, message)
    }

    /// A defect of the engine or of its caller.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same failure again, for the other members of a batch; the cause stays with the first.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            field: self.field,
            hint: self.hint.clone(),
            source: None,
        }
    }

    /// Names the field of the request that is at fault.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Says what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The request's field at fault, by the contract's name.
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Self {
        Self::new(ErrorKind::Internal, format!("compute: {source}")).with_source(source)
    }
}
