//! Headers and tensors of safetensors files.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| imgd_fuzz::folder().join("model.safetensors"));

fuzz_target!(|bytes: &[u8]| {
    imgd_fuzz::write(&FILE, bytes);
    let _ = imgd_fuzz::read_weights(&FILE);
});
