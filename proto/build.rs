//! Generates the code of the contract. protox parses the files, so that no `protoc` has to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 4] = [
    "imgd/v1/image.proto",
    "imgd/v1/model.proto",
    "imgd/v1/job.proto",
    "imgd/v1/daemon.proto",
];

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells a build script its folder in the environment"
)]
fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("imgd.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".imgd.v1.ImageChunk.data")
        .bytes(".imgd.v1.ImageInput")
        .bytes(".imgd.v1.Control.control_image")
        .bytes(".imgd.v1.ReferenceImage")
        .bytes(".imgd.v1.Preview.png")
        .compile_fds(descriptors)?;
    Ok(())
}
