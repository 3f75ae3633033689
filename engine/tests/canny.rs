//! Edges are OpenCV's, pixel by pixel. What that found is in `tests/oracle`, beside the program that asked it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

use std::fs;
use std::path::Path;

use imgd_engine::image::{Rgb8, canny, read_rgb, size_of};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    picture: String,
    low: u32,
    high: u32,
    edges: String,
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

fn picture(name: &str) -> Rgb8 {
    let path = oracle().join("expected").join(name);
    let bytes = fs::read(path).unwrap();
    read_rgb(&bytes, size_of(&bytes, "image").unwrap(), "image").unwrap()
}

fn oracle() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

#[test]
fn edges_are_those_of_opencv() {
    let json = fs::read(oracle().join("canny.json")).unwrap();
    let Cases { cases } = serde_json::from_slice(&json).unwrap();
    assert!(cases.len() > 30);
    let mut edge_pixels = 0;
    for Case {
        picture: name,
        low,
        high,
        edges,
    } in cases
    {
        let expected = picture(&edges);
        let found = canny(&picture(&name), low, high);
        assert!(found == expected, "{edges}");
        edge_pixels += found.pixels.iter().filter(|byte| **byte == 255).count();
    }
    assert!(edge_pixels > 10_000, "only {edge_pixels}");
}
