//! A part of a picture drawn anew, and more of it: what is kept has its own pixels.

use std::path::Path;

use image::{Rgb, RgbImage};
use imgd_e2e::{Daemon, tiny};

const COMMON: [&str; 6] = ["generate", "a red apple", "--steps", "4", "--seed", "3"];

/// A picture no two of whose pixels beside each other are the same.
fn photo(width: u32, height: u32) -> RgbImage {
    let byte = |value: u32| u8::try_from(value % 251).expect("less than 251");
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([byte(x * 2 + y), byte(y * 3), byte(x + 90)])
    })
}

/// White in a square, black around it.
fn mask(width: u32, height: u32, (from, to): (u32, u32)) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let is_white = (from..to).contains(&x) && (from..to).contains(&y);
        Rgb([u8::from(is_white) * 255; 3])
    })
}

fn read(path: &Path) -> RgbImage {
    image::open(path).expect("a picture").into_rgb8()
}

/// Pixels of `a` that differ from those of `b` that lie `left` and `top` away.
fn changed(a: &RgbImage, b: &RgbImage, (left, top): (u32, u32)) -> Vec<(u32, u32)> {
    let pixels = a.enumerate_pixels();
    pixels
        .filter(|(x, y, pixel)| b.get_pixel(x + left, y + top) != *pixel)
        .map(|(x, y, _)| (x, y))
        .collect()
}

#[test]
fn only_what_is_masked_is_drawn_and_the_rest_keeps_its_pixels() {
    let daemon = Daemon::start();
    let work = daemon.work();
    let photo = photo(150, 110);
    photo.save(work.join("photo.png")).expect("a file");
    mask(150, 110, (60, 90))
        .save(work.join("mask.png"))
        .expect("a file");
    let draw = |more: &[&str]| {
        let begin = [
            "--init-image",
            "photo.png",
            "--mask",
            "mask.png",
            "--size",
            "64x64",
            "-o",
        ];
        daemon
            .run(COMMON.into_iter().chain(begin).chain(more.iter().copied()))
            .ok();
        read(&work.join(more[0]))
    };
    let hard = draw(&["hard.png", "--only-masked=8"]);
    assert_eq!(hard.dimensions(), (150, 110));
    let differs = changed(&photo, &hard, (0, 0));
    assert!(differs.len() > 500, "{}", differs.len());
    assert!(
        differs
            .iter()
            .all(|(x, y)| (60..90).contains(x) && (60..90).contains(y))
    );
    let soft = draw(&["soft.png", "--only-masked", "--mask-blur", "3"]);
    let differs = changed(&photo, &soft, (0, 0));
    assert!(differs.iter().any(|(x, _)| *x < 60), "the blur reaches out");
    assert!(
        differs
            .iter()
            .all(|(x, y)| (45..105).contains(x) && (45..105).contains(y))
    );
    let text = std::fs::read(work.join("soft.png")).expect("a file");
    assert!(String::from_utf8_lossy(&text).contains("Mask blur: 3, Inpaint area: Only masked"));

    let refused =
        daemon.run(
            COMMON
                .into_iter()
                .chain(["--init-image", "photo.png", "--only-masked"]),
        );
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("there is no mask"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_extended_picture_keeps_its_pixels_but_for_a_rim() {
    let daemon = Daemon::start();
    let work = daemon.work();
    let photo = photo(80, 64);
    photo.save(work.join("photo.png")).expect("a file");
    let run = |more: &[&str]| {
        let begin = ["--init-image", "photo.png", "-o", "wide.png", "--force"];
        daemon.run(COMMON.into_iter().chain(begin).chain(more.iter().copied()))
    };
    let told = run(&["--extend", "left=40,bottom=13"]).ok();
    assert!(
        told.stderr
            .contains("becomes 120x80: 0 pixels more across and 3"),
        "{}",
        told.stderr
    );
    let wide = read(&work.join("wide.png"));
    assert_eq!(wide.dimensions(), (120, 80));
    let differs = changed(&photo, &wide, (40, 0));
    assert!(!differs.is_empty(), "the rim is mixed");
    assert!(differs.iter().all(|(x, y)| *x < 16 || *y >= 48));
    let border: std::collections::BTreeSet<_> = (0..40).map(|x| wide.get_pixel(x, 10).0).collect();
    assert!(border.len() > 10, "something is drawn there");

    let refused = run(&["--extend", "right=4096"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("the most that fits is 4016"),
        "{}",
        refused.stderr
    );
    let refused = run(&["--extend", "8", "--size", "64x64"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("follows from it"),
        "{}",
        refused.stderr
    );
}

/// A network that sees what is kept draws all of it, the rim with the rest.
#[test]
fn a_model_that_repaints_extends_a_picture() {
    let daemon = Daemon::start();
    let work = daemon.work();
    tiny::write_model("more_cases.json", "repainting", &work.join("repainting"));
    photo(80, 64).save(work.join("photo.png")).expect("a file");
    let draw = |extend: &str, to: &str| {
        let begin = ["-m", "repainting", "--init-image", "photo.png", "--extend"];
        let run = COMMON.into_iter().chain(begin).chain([extend, "-o", to]);
        daemon.run(run).ok();
        read(&work.join(to))
    };
    let wide = draw("left=40", "wide.png");
    assert_eq!(wide.dimensions(), (120, 64));
    let differs = changed(&photo(80, 64), &wide, (40, 0));
    assert!(
        differs.iter().all(|(x, _)| *x < 16),
        "what is kept has its own pixels"
    );
    let drawn: std::collections::BTreeSet<_> = (0..40).map(|x| wide.get_pixel(x, 10).0).collect();
    assert!(drawn.len() > 10, "something is drawn there");
    let tall = draw("top=32", "tall.png");
    assert_eq!(tall.dimensions(), (80, 96));
}
