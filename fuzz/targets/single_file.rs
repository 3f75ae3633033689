//! Single safetensors files: the header, which family it is, what its tensors are called and what follows from their shapes.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::{Precision, checkpoint::Source, inspect};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| imgd_fuzz::folder().join("model.safetensors"));

fuzz_target!(|bytes: &[u8]| {
    imgd_fuzz::write(&FILE, bytes);
    let config = imgd_fuzz::repository().join("models/starter");
    for config in [None, Some(config)] {
        let source = Source::single_file(&*FILE, config, &[]).expect("the file is there");
        let _ = inspect(&source, "model", Precision::F32);
    }
});
