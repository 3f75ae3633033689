//! The contract between `imgd` and its clients.
//!
//! * [`v1`]: the messages and services, generated from `proto/imgd/v1`.
//! * [`errors`]: why things fail, on the wire and as exit codes.
//! * [`limits`]: the one table of what a request may ask for.
//! * [`socket`]: where the daemon's socket is and who may stand around it.
//!
//! Knows nothing of tokio, engines or command lines.
#![warn(missing_docs)]

mod build_id;
pub mod errors;
pub mod limits;
pub mod socket;

pub use build_id::build_id;
pub use errors::{Failure, Reason};

/// The messages and services of package `imgd.v1`, generated from `proto/imgd/v1`.
pub mod v1 {
    #![expect(
        clippy::all,
        clippy::allow_attributes,
        missing_docs,
        unused_qualifications,
        reason = "generated code"
    )]
    tonic::include_proto!("imgd.v1");
}

/// Version of the contract. The daemon says its own in `GetStatusResponse.protocol`; a client of another number must
/// not go on. It grows when an old client would misunderstand a new daemon, not when fields are added.
pub const PROTOCOL: u32 = 1;

/// Argument by which a client tells an `imgd` that it starts that nobody else looks after it: it makes itself the
/// leader of a session of its own and reports `STARTED_BY_CLIENT`.
pub const STARTED_BY_CLIENT_ARGUMENT: &str = "--started-by-client";

/// Metadata of a call by which a client may name itself: up to 64 characters of `[A-Za-z0-9_.-]`. The daemon shows the
/// name with the client's jobs and shares its time between names; a client without one is its process.
pub const CLIENT_NAME_METADATA: &str = "imgd-client";

/// The encoded `FileDescriptorSet` of the contract, for reflection and compatibility checks.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/imgd.bin"));
