//! Upscalers, of which the header is the input: what opens has to enlarge a picture or say why not.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::{OpenOptions, Precision, Result, UpscaleRequest, Upscaler, inspect_upscaler};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| imgd_fuzz::folder().join("net.safetensors"));

fn enlarge() -> Result<()> {
    inspect_upscaler(&FILE, Precision::F32)?;
    let options = OpenOptions {
        name: "net".to_owned(),
        precision: Precision::F32,
        progress: None,
    };
    let upscaler = Upscaler::open(&FILE, &options)?;
    let mut upscaling = upscaler.start(&UpscaleRequest {
        image: include_bytes!("../seeds/picture/palette.png")
            .as_slice()
            .into(),
        scale: None,
    })?;
    while !upscaling.is_done() {
        upscaler.step(&mut upscaling)?;
    }
    upscaler.finish(upscaling).map(drop)
}

fuzz_target!(|header: &[u8]| {
    imgd_fuzz::write(&FILE, &imgd_fuzz::with_header(header));
    let _ = enlarge();
});
