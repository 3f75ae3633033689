//! Parity with diffusers: every case of `tests/oracle` is drawn again and compared with the picture diffusers drew.
//! `cargo test -p imgd-engine --test oracle -- --nocapture` prints each difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

mod support;

use imgd_engine::{Model, OpenOptions, Precision, Request};
use rayon::prelude::*;
use support::oracle::{Case, cases};

/// The greatest difference of a channel, of 255.
const MAX_DIFFERENCE: u8 = 2;
/// The greatest mean difference of the channels, of 255.
const MEAN_DIFFERENCE: f64 = 0.1;

/// How far a case's worst picture is from diffusers'.
fn difference(case: &Case) -> Result<(u8, f64), String> {
    let root = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        name: case.name.clone(),
        precision: Precision::F32,
        progress: None,
    };
    let source = case.write_model(root.path());
    let model = Model::open(&source, &options).map_err(|error| error.to_string())?;
    let mut worst = (0, 0.0);
    for number in 0..case.expected.len() {
        let request = case.request.to_engine(root.path(), number);
        let pixels = draw(&model, &request).map_err(|error| error.to_string())?;
        let expected = case.expected_pixels(number);
        assert_eq!(pixels.len(), expected.len());
        let differences = pixels
            .iter()
            .zip(&expected)
            .map(|(ours, theirs)| ours.abs_diff(*theirs));
        let sum: u64 = differences.clone().map(u64::from).sum();
        #[expect(clippy::cast_precision_loss, reason = "small pictures")]
        let mean = sum as f64 / expected.len() as f64;
        worst = (
            differences.max().unwrap_or(0).max(worst.0),
            mean.max(worst.1),
        );
    }
    Ok(worst)
}

fn draw(model: &Model, request: &Request) -> imgd_engine::Result<Vec<u8>> {
    let mut generation = model.start(request)?;
    while !generation.is_done() {
        model
            .step(&mut [&mut generation])
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
    }
    Ok(model.finish(&mut generation)?.image.pixels)
}

#[test]
fn pictures_are_those_of_diffusers() {
    let cases = cases();
    assert!(cases.len() > 150, "only {} cases", cases.len());
    // Side by side: the networks are too small to keep all cores busy with one.
    let differences: Vec<_> = cases.par_iter().map(difference).collect();
    let mut failed = Vec::new();
    for (case, difference) in cases.iter().zip(differences) {
        let (line, passed) = match difference {
            Ok((max, mean)) => (
                format!("max {max}, mean {mean:.4}"),
                max <= MAX_DIFFERENCE && mean <= MEAN_DIFFERENCE,
            ),
            Err(error) => (error, false),
        };
        println!("{}: {line}", case.name);
        if !passed {
            failed.push(format!("{}: {line}", case.name));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}
