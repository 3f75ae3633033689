//! Tiny autoencoders in files of their own: what they draw, and the previews that they make of other models' pictures. That
//! what they draw is diffusers' is in `tests/oracle.rs`.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use imgd_engine::checkpoint::Source;
use imgd_engine::image::Rgb8;
use imgd_engine::{ErrorKind, Generation, Model, OpenOptions, Precision, Request};
use safetensors::{Tensors, read, write};
use support::oracle::{cases, write_part};

const FILE: &str = "diffusion_pytorch_model.safetensors";

/// Writes the decoder of `part` alone, as ComfyUI's `taesd_decoder.safetensors` has it.
fn write_decoder(part: &str, file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    write_part(part, folder.path());
    let tensors = read(&fs::read(folder.path().join(FILE)).unwrap());
    let decoder: Tensors = tensors
        .into_iter()
        .filter_map(|(name, tensor)| {
            let (number, rest) = name.strip_prefix("decoder.layers.")?.split_once('.')?;
            let number: usize = number.parse().unwrap();
            Some((format!("{}.{rest}", number + 1), tensor))
        })
        .collect();
    assert!(decoder.contains_key("1.weight") && decoder.contains_key("3.conv.0.weight"));
    fs::write(file, write(&decoder)).unwrap();
}

fn open(source: &Source) -> Model {
    let options = OpenOptions {
        name: "model".into(),
        precision: Precision::F32,
        progress: None,
    };
    Model::open(source, &options).unwrap()
}

/// The model with its autoencoder's weights in `file`.
fn with_vae(source: &Source, file: &Path) -> Model {
    let parts = BTreeMap::from([("vae".to_owned(), file.to_owned())]);
    open(&source.clone().with_parts(parts).unwrap())
}

fn run(model: &Model, request: &Request) -> Generation {
    let mut generation = model.start(request).unwrap();
    while !generation.is_done() {
        for result in model.step(&mut [&mut generation]) {
            result.unwrap();
        }
    }
    generation
}

fn draw(model: &Model, request: &Request) -> Rgb8 {
    model.finish(&mut run(model, request)).unwrap().image
}

fn largest_difference(a: &Rgb8, b: &Rgb8) -> u8 {
    assert_eq!((a.width_px, a.height_px), (b.width_px, b.height_px));
    let pairs = a.pixels.iter().zip(&b.pixels);
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// The last preview of a sampler whose last step ends without noise is the picture that the same file draws.
#[test]
fn previews_of_every_family_are_what_the_tiny_autoencoder_draws() {
    for (case, name, part) in [
        ("sd15-ddim", "taesd", "vae-tiny-4"),
        ("sdxl-euler", "taesdxl", "vae-tiny-4"),
        ("sd3", "taesd3", "vae-tiny-16"),
        ("flux-dev", "taef1", "vae-tiny-16"),
        ("z-image", "taef1", "vae-tiny-16"),
        ("klein", "taef2", "vae-tiny-8"),
    ] {
        let all = cases();
        let case = all.iter().find(|other| other.name == case).unwrap();
        let (root, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = case.write_model(root.path());
        let request = Request {
            sampler: Some("euler".into()),
            schedule: None,
            ..case.request.to_engine(root.path(), 0)
        };
        let model = open(&source);
        let generation = run(&model, &request);
        let linear = model.preview(&generation, None).unwrap();
        // Decoders of other latents lie there as well, under their own names.
        for other in ["taesd", "taesdxl", "taesd3", "taef1", "taef2"] {
            let part = if other == name {
                part
            } else {
                "vae-tiny-scaled"
            };
            let file = folder.path().join(format!("{other}_decoder.safetensors"));
            write_decoder(part, &file);
        }
        let preview = model.preview(&generation, Some(folder.path())).unwrap();
        assert!(preview.notice.is_none(), "{}", case.name);
        assert!(preview.image.width_px > linear.image.width_px);
        let file = folder.path().join(format!("{name}_decoder.safetensors"));
        let drawn = draw(&with_vae(&source, &file), &request);
        let difference = largest_difference(&preview.image, &drawn);
        assert!(difference <= 1, "{}: {difference}", case.name);
    }
}

#[test]
fn a_preview_without_a_file_that_fits_is_linear_and_a_broken_file_is_told_once() {
    let (root, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let all = cases();
    let case = all.iter().find(|case| case.name == "sd15-ddim").unwrap();
    let model = open(&case.write_model(root.path()));
    let generation = run(&model, &case.request.to_engine(root.path(), 0));
    let linear = model.preview(&generation, None).unwrap().image;
    let preview = || {
        let preview = model.preview(&generation, Some(folder.path())).unwrap();
        (preview.image, preview.notice.map(|error| error.to_string()))
    };
    assert!(preview() == (linear.clone(), None));

    let file = folder.path().join("taesd_decoder.safetensors");
    fs::write(&file, b"not a file of tensors").unwrap();
    let (image, notice) = preview();
    assert!(image == linear && notice.unwrap().contains("taesd_decoder"));
    assert!(preview() == (linear.clone(), None));

    write_decoder("vae-tiny-16", &file);
    let (image, notice) = preview();
    assert!(image == linear && notice.unwrap().contains("16 channels"));

    // Mended while the model is loaded.
    write_decoder("vae-tiny-4", &file);
    let (image, notice) = preview();
    assert!(image != linear && notice.is_none());
    // The same file keeps its network.
    assert!(preview() == (image.clone(), None));

    // A file of both halves does as well, and pickle files are refused.
    fs::remove_file(&file).unwrap();
    write_part("vae-tiny-4", root.path());
    let both = folder.path().join("taesd.safetensors");
    fs::rename(root.path().join(FILE), &both).unwrap();
    assert!(preview() == (image, None));
    fs::rename(both, folder.path().join("taesd_decoder.pth")).unwrap();
    let (image, notice) = preview();
    assert!(image == linear && notice.unwrap().contains("pickle"));
}

#[test]
fn a_decoder_alone_draws_but_cannot_begin_from_a_picture() {
    let root = tempfile::tempdir().unwrap();
    let all = cases();
    let name = "tiny-vae-sd15-img2img";
    let case = all.iter().find(|case| case.name == name).unwrap();
    let both = open(&case.write_model(root.path()));
    let file = root.path().join("taesd_decoder.safetensors");
    write_decoder("vae-tiny-4", &file);
    let model = with_vae(&Source::directory(root.path()).unwrap(), &file);
    let from_picture = case.request.to_engine(root.path(), 0);
    let from_noise = Request {
        init: None,
        ..from_picture.clone()
    };
    assert!(draw(&model, &from_noise) == draw(&both, &from_noise));
    let error = model.start(&from_picture).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.field(), Some("model_parts"));
    assert!(error.to_string().contains("no encoder"), "{error}");
    assert!(error.hint().unwrap().contains("both halves"));

    // The weights of another kind than the directory's configuration says.
    let tiny = all
        .iter()
        .find(|case| case.name == "tiny-vae-sd15")
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    let source = tiny.write_model(root.path());
    write_part("vae-sd", &root.path().join("large"));
    let parts = BTreeMap::from([("vae".to_owned(), root.path().join("large").join(FILE))]);
    let options = OpenOptions {
        name: "model".into(),
        precision: Precision::F32,
        progress: None,
    };
    let error = Model::open(&source.with_parts(parts).unwrap(), &options);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("AutoencoderTiny"), "{error}");

    // With both halves.
    let pixels = draw(&both, &from_picture).pixels;
    let pairs = pixels.iter().zip(case.expected_pixels(0));
    assert!(pairs.map(|(a, b)| a.abs_diff(b)).max().unwrap() <= 2);
}
