//! Tiny autoencoders, of which the header is the input: what opens has to decode and encode or say why not.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::fuzzing;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| imgd_fuzz::folder().join("tiny.safetensors"));

fuzz_target!(|header: &[u8]| {
    imgd_fuzz::write(&FILE, &imgd_fuzz::with_header(header));
    let _ = fuzzing::tiny_autoencoder(&FILE);
});
