//! The wire contract of srnas: generated messages, client and server of `srnas.v1`, and nothing else.
#![allow(missing_docs, reason = "generated code carries the comments of the .proto file")]
#![allow(
    clippy::large_enum_variant,
    reason = "generated; a batch is the rule on its stream, not the exception"
)]

/// Version 1 of the protocol.
pub mod v1 {
    tonic::include_proto!("srnas.v1");
}

/// The encoded `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
