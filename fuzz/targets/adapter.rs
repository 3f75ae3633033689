//! Files of LoRAs and embeddings.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::fuzzing;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| imgd_fuzz::folder().join("file.safetensors"));

fuzz_target!(|bytes: &[u8]| {
    imgd_fuzz::write(&FILE, bytes);
    let _ = fuzzing::adapter(&FILE, (16, 32));
    let _ = fuzzing::embedding(&FILE);
});
