//! Indexes of weights in several files, the model as it should be else.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::Request;
use imgd_fuzz::models;
use libfuzzer_sys::fuzz_target;

/// A model whose UNet lies in two files, whole in each.
static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut all = models::one_of_each();
    let model = all.remove("StableDiffusionPipeline").expect("it is there");
    let unet = model.root.join("unet");
    let whole = unet.join("diffusion_pytorch_model.safetensors");
    for name in ["a.safetensors", "b.safetensors"] {
        fs::copy(&whole, unet.join(name)).expect("a file can be copied");
    }
    fs::remove_file(whole).expect("it was there");
    model.root
});

fuzz_target!(|bytes: &[u8]| {
    let index = MODEL.join("unet/diffusion_pytorch_model.safetensors.index.json");
    imgd_fuzz::write(&index, bytes);
    let _ = models::draw(&MODEL, Request::new("a cat", 1));
});
