//! Configuration files of every family, the sampler's among them: one is the input, the rest of the model is as it should be.
//! What opens has to draw a picture or say why not.

#![no_main]

use std::sync::LazyLock;

use imgd_engine::Request;
use imgd_fuzz::models::{self, Files};
use libfuzzer_sys::fuzz_target;

static MODELS: LazyLock<Vec<Files>> =
    LazyLock::new(|| models::one_of_each().into_values().collect());

// The first byte says which model, the second which of its files.
fuzz_target!(|input: &[u8]| {
    let [family, file, bytes @ ..] = input else {
        return;
    };
    let model = &MODELS[usize::from(*family) % MODELS.len()];
    let (path, original) = &model.files[usize::from(*file) % model.files.len()];
    imgd_fuzz::write(path, bytes);
    let _ = models::draw(&model.root, Request::new("a cat", 1));
    imgd_fuzz::write(path, original);
});
