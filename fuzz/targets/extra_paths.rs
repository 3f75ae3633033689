//! ComfyUI's `extra_model_paths.yaml` and InvokeAI's `invokeai.yaml`.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_models::apps::{self, AppPlace};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| imgd_fuzz::folder().join("extra_model_paths.yaml"));
static INVOKE_AI: LazyLock<PathBuf> = LazyLock::new(|| imgd_fuzz::folder().join("invokeai"));

fuzz_target!(|bytes: &[u8]| {
    imgd_fuzz::write(&FILE, bytes);
    imgd_fuzz::write(&INVOKE_AI.join("invokeai.yaml"), bytes);
    std::fs::create_dir_all(INVOKE_AI.join("models")).expect("a folder can be made");
    let place = |path: &PathBuf| AppPlace {
        path: path.clone(),
        is_named: true,
    };
    let _ = apps::folders(&[place(&FILE), place(&INVOKE_AI)], None);
});
