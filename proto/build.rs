//! Generates the gRPC code with a compiler written in Rust, so that a fresh machine needs cargo alone.
use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=srnas");
    let descriptors = protox::compile(["srnas/v1/srnas.proto", "srnas/v1/evaluate.proto"], ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
