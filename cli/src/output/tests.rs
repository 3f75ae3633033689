//! Where pictures go, for every form of `-o`.

use std::{fs, os::unix::fs::symlink, path::Path};

use imgd_client::{Image, ImageFormat, v1::Settings};

use super::*;

fn wanted(path: Option<&Path>) -> Wanted<'_> {
    Wanted {
        path,
        format: None,
        overwrites: false,
        num_images: 1,
        prompt: "A red apple",
    }
}

fn image(index: u32, format: ImageFormat) -> Image {
    Image {
        index,
        bytes: b"picture".to_vec(),
        format,
        settings: Settings {
            seed: 7 + u64::from(index),
            ..Settings::default()
        },
        model_hash: String::new(),
        sha256: String::new(),
        parameters: String::new(),
    }
}

fn written(output: &Output, index: u32) -> String {
    let path = output.write(&image(index, output.format)).unwrap().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"picture");
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_folder_gets_the_default_name_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("")] {
        let output = Output::plan(wanted(Some(&path))).unwrap();
        assert!(written(&output, 0).starts_with("a-red-apple-7"));
        assert!(written(&output, 1).starts_with("a-red-apple-8"));
    }
    assert!(folder.path().join("a-red-apple-7-2.png").exists());
    let forced = Wanted {
        overwrites: true,
        ..wanted(Some(folder.path()))
    };
    assert_eq!(
        written(&Output::plan(forced).unwrap(), 0),
        "a-red-apple-7.png"
    );
}

#[test]
fn variations_of_one_seed_have_names_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let output = Output::plan(wanted(Some(folder.path()))).unwrap();
    let name = |variation_seed| {
        let mut image = image(0, output.format);
        image.settings.variation_seed = variation_seed;
        let path = output.write(&image).unwrap().unwrap();
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(name(Some(12)), "a-red-apple-7-12.png");
    assert_eq!(name(None), "a-red-apple-7.png");
}

#[test]
fn with_force_no_picture_of_this_time_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("{prompt}.png");
    fs::write(folder.path().join("a-red-apple.png"), "of before").unwrap();
    let forced = Wanted {
        overwrites: true,
        num_images: 2,
        ..wanted(Some(&path))
    };
    let output = Output::plan(forced).unwrap();
    assert_eq!(written(&output, 0), "a-red-apple.png");
    assert_eq!(written(&output, 1), "a-red-apple-2.png");
}

#[test]
fn the_extension_names_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |name: &str, format| {
        let path = folder.path().join(name);
        Output::plan(Wanted {
            format,
            ..wanted(Some(&path))
        })
    };
    for (name, format, expected) in [
        ("a.png", None, ImageFormat::Png),
        ("a.JPG", None, ImageFormat::Jpeg),
        ("a.jpeg", Some(Format::Jpeg), ImageFormat::Jpeg),
        ("a.webp", None, ImageFormat::Webp),
        ("a", Some(Format::Webp), ImageFormat::Webp),
        ("v1.5", None, ImageFormat::Png),
    ] {
        assert_eq!(plan(name, format).unwrap().format, expected, "{name}");
    }
    assert_eq!(written(&plan("a.JPG", None).unwrap(), 0), "a.JPG");
    assert_eq!(written(&plan("v1.5", None).unwrap(), 0), "v1.5.png");
    assert_eq!(plan("a.png", Some(Format::Jpeg)).unwrap_err().code, 2);
    assert_eq!(plan("a.gif", None).unwrap_err().code, 2);
}

#[test]
fn a_named_file_that_exists_is_refused_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    symlink("/nonexistent/elsewhere", &path).unwrap();
    let failure = Output::plan(wanted(Some(&path))).unwrap_err();
    assert_eq!(failure.code, 73);
    assert!(failure.hint.unwrap().contains("--force"));
    let forced = Wanted {
        overwrites: true,
        ..wanted(Some(&path))
    };
    assert_eq!(written(&Output::plan(forced).unwrap(), 0), "a.png");
}

#[test]
fn several_pictures_of_one_name_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let several = Wanted {
        num_images: 2,
        ..wanted(Some(&path))
    };
    let output = Output::plan(several).unwrap();
    assert_eq!(
        (written(&output, 0), written(&output, 1)),
        ("a-1.png".into(), "a-2.png".into())
    );
    assert_eq!(Output::plan(several).unwrap_err().code, 73);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/a.png");
    let failure = Output::plan(wanted(Some(&missing))).unwrap_err();
    assert_eq!(failure.code, 73);
    assert!(failure.hint.unwrap().contains("mkdir -p"));
    fs::write(folder.path().join("file"), "").unwrap();
    let below_a_file = folder.path().join("file/a.png");
    assert_eq!(
        Output::plan(wanted(Some(&below_a_file))).unwrap_err().code,
        73
    );
    assert_eq!(
        Output::plan(wanted(Some(Path::new("/proc/a.png"))))
            .unwrap_err()
            .code,
        73
    );
}

#[test]
fn a_picture_whose_place_vanished_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone/a.png");
    fs::create_dir(folder.path().join("gone")).unwrap();
    let output = Output::plan(wanted(Some(&path))).unwrap();
    fs::remove_dir(folder.path().join("gone")).unwrap();
    let failure = output.write(&image(0, ImageFormat::Png)).unwrap_err();
    assert_eq!(failure.code, 73);
    let hint = failure.hint.unwrap();
    let rescued = hint.split('`').nth(1).unwrap();
    assert_eq!(fs::read(rescued).unwrap(), b"picture");
    fs::remove_dir_all(Path::new(rescued).parent().unwrap()).unwrap();
}

#[test]
fn devices_are_written_as_they_are() {
    let output = Output::plan(wanted(Some(Path::new("/dev/null")))).unwrap();
    output.write(&image(0, ImageFormat::Png)).unwrap();
    let full = Output::plan(wanted(Some(Path::new("/dev/full")))).unwrap();
    assert_eq!(
        full.write(&image(0, ImageFormat::Png)).unwrap_err().code,
        73
    );
    let several = Wanted {
        num_images: 2,
        ..wanted(Some(Path::new("-")))
    };
    assert_eq!(Output::plan(several).unwrap_err().code, 2);
}
