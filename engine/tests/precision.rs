//! `bf16` gives the picture of `f32`.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::path::Path;

use imgd_engine::{Model, OpenOptions, Precision, Request, checkpoint::Source};

fn draw(precision: Precision, prompt: &str, seed: u64) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    let options = OpenOptions {
        name: "starter".into(),
        precision,
        progress: None,
    };
    let model = Model::open(&Source::directory(directory).unwrap(), &options).unwrap();
    let mut generation = model.start(&Request::new(prompt, seed)).unwrap();
    while !generation.is_done() {
        model.step(&mut [&mut generation]).remove(0).unwrap();
    }
    model.finish(&mut generation).unwrap().image.pixels
}

/// Peak signal to noise, in decibels.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let mean = squares / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn the_picture_is_the_same_to_the_eye() {
    for (prompt, seed) in [("a red apple", 1), ("a cat on grass", 2)] {
        let exact = draw(Precision::F32, prompt, seed);
        let fast = draw(Precision::Bf16, prompt, seed);
        let similarity = psnr(&exact, &fast);
        println!("{prompt}: {similarity:.1} dB");
        assert!(similarity >= 40.0, "{prompt}: {similarity:.1} dB");
    }
}
