//! The wire as both sides speak it: the real service and the real client over loopback.

mod harness;
mod membership;
mod policy;
mod recovery;
mod rejects;
mod streaming;
