//! The contract between `imgd` and its clients: generated types, where the socket is, why things fail.
//!
//! Knows nothing of tokio, engines or command lines.

#![expect(missing_docs, reason = "filled in with the modules below")]

/// The messages and services of package `imgd.v1`, generated from `proto/imgd/v1`.
pub mod v1 {
    #![expect(clippy::all, reason = "generated")]
    tonic::include_proto!("imgd.v1");
}

/// The encoded `FileDescriptorSet` of the contract, for reflection and compatibility checks.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/imgd.bin"));
