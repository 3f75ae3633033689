//! What a request asks for is what it is computed with.

use imgd_e2e::Home;

/// The precision that the settings of a picture name, and its bytes.
fn draw(home: &Home, precision: &str) -> (String, Vec<u8>) {
    let file = format!("{precision}.png");
    let run = home
        .run([
            "generate",
            "a red apple",
            "--seed",
            "1",
            "--size",
            "64x64",
            "--steps",
            "3",
            "--json",
            "--precision",
            precision,
            "-o",
            &file,
        ])
        .ok();
    let used = ["f32", "bf16"]
        .into_iter()
        .find(|name| run.stdout.contains(&format!("\"precision\":\"{name}\"")))
        .unwrap_or("none");
    let bytes = std::fs::read(home.work().join(file)).expect("the picture");
    (used.to_owned(), bytes)
}

#[test]
fn each_precision_is_honoured_side_by_side() {
    let home = Home::new();
    let (f32, exact) = draw(&home, "f32");
    let (bf16, fast) = draw(&home, "bf16");
    let (auto, either) = draw(&home, "auto");
    assert_eq!((f32.as_str(), bf16.as_str()), ("f32", "bf16"));
    assert!(exact != fast, "two ways to compute");
    let same = if auto == "f32" { &exact } else { &fast };
    assert!(either == *same, "auto is one of the two: {auto}");
}
