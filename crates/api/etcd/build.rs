//! Generates the messages and the clients of the face from `proto/`, without a protoc to install.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["etcdserverpb.proto", "v3lock.proto", "v3election.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // The JSON gateway reads there what each message is like.
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // The face dispatches on the method's path itself: see `src/grpc.rs`.
        .build_server(false)
        // Keys and values stay slices of the buffer that they arrived in.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
