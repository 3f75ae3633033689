use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, ImageDecoder};

use super::*;

const JPEG: Format = Format::Jpeg { quality: 92 };
const FORMATS: [Format; 3] = [Format::Png, JPEG, Format::WebpLossless];

/// A smooth picture with noise on it.
fn picture(width_px: u32, height_px: u32) -> Rgb8 {
    let mut pixels = Vec::new();
    for y in 0..height_px {
        for x in 0..width_px {
            let noise = x
                .wrapping_mul(2_654_435_761)
                .wrapping_add(y.wrapping_mul(40_503))
                >> 13;
            let byte = |value: u32| u8::try_from(value & 0xff).unwrap();
            pixels.extend([byte(x), byte(y + noise % 7), byte((x + y) / 2)]);
        }
    }
    Rgb8 {
        width_px,
        height_px,
        pixels,
    }
}

fn metadata() -> Metadata {
    Metadata {
        version: METADATA_VERSION,
        imgd: "0.1.0".into(),
        numerics: "1".into(),
        model: "starter".into(),
        model_hash: "0123456789abcdef".repeat(4),
        prompt: "a red apple, oil".into(),
        negative_prompt: Some("blurry".into()),
        seed: u64::MAX,
        variation_seed: None,
        variation_strength: None,
        noise_generator: "torch".into(),
        sampler: "dpmpp_2m".into(),
        schedule: Some("karras".into()),
        prediction: "v_prediction".into(),
        num_inference_steps: 14,
        guidance_scale: 3.5,
        width_px: 24,
        height_px: 16,
        clip_skip: Some(2),
        strength: None,
        hires_scale: None,
        hires_strength: None,
        hires_steps: None,
        init_image_sha256: None,
        max_sequence_length: None,
        prompt_syntax: "a1111".into(),
        loras: Vec::new(),
        controls: Vec::new(),
        embeddings: Vec::new(),
        ref_image_sha256: Vec::new(),
        mask_sha256: None,
        mask_blur_px: None,
        only_masked_padding_px: None,
        borders: None,
        precision: "f32".into(),
    }
}

#[test]
fn parameters_are_written_as_a1111_writes_them() {
    assert_eq!(
        metadata().parameters(),
        "a red apple, oil\nNegative prompt: blurry\nSteps: 14, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 3.5, \
         Seed: 18446744073709551615, Size: 24x16, Model hash: 0123456789, Model: starter, Clip skip: 2, RNG: CPU, \
         Version: imgd 0.1.0"
    );
    let with_loras = Metadata {
        loras: vec![crate::UsedLora {
            name: "ink".into(),
            weight: 0.8,
            sha256: "fedcba9876543210".repeat(4),
        }],
        embeddings: vec![crate::UsedEmbedding {
            name: "easy".into(),
            sha256: "00112233445566".repeat(4),
        }],
        ..metadata()
    };
    let text = with_loras.parameters();
    assert!(text.starts_with("a red apple, oil <lora:ink:0.8>\nNegative prompt: blurry\n"));
    assert!(
        text.contains("Lora hashes: \"ink: fedcba9876\", TI hashes: \"easy: 0011223344\", "),
        "{text}"
    );
    let used = crate::UsedControl {
        name: "edges".into(),
        weight: 0.8,
        start: 0.0,
        end: 0.75,
        canny: Some(crate::CannyThresholds::default()),
        image_sha256: String::new(),
        sha256: "fedcba9876543210".repeat(4),
    };
    let with_controls = Metadata {
        controls: vec![
            used.clone(),
            crate::UsedControl {
                canny: None,
                ..used
            },
        ],
        ..metadata()
    };
    let text = with_controls.parameters();
    assert!(
        text.contains(
            "RNG: CPU, ControlNet 0: \"Module: canny, Model: edges [fedcba98], Weight: 0.8, Resize Mode: Just Resize, \
             Threshold A: 100, Threshold B: 200, Guidance Start: 0, Guidance End: 0.75, Control Mode: Balanced\", \
             ControlNet 1: \"Module: none, Model: edges [fedcba98], "
        ),
        "{text}"
    );
    let varied = Metadata {
        variation_seed: Some(9),
        variation_strength: Some(0.25),
        ..metadata()
    };
    assert!(varied.parameters().contains(
        "Model: starter, Variation seed: 9, Variation seed strength: 0.25, Clip skip: 2"
    ));
    let refined = Metadata {
        hires_scale: Some(1.5),
        hires_strength: Some(0.7),
        hires_steps: Some(10),
        ..metadata()
    };
    assert!(refined.parameters().contains(
        "Denoising strength: 0.7, Clip skip: 2, RNG: CPU, Hires upscale: 1.5, Hires steps: 10, Hires upscaler: Latent, Version"
    ));
    let refined_again = Metadata {
        strength: Some(0.4),
        ..refined
    };
    assert!(refined_again.parameters().contains(
        "Denoising strength: 0.4, Clip skip: 2, RNG: CPU, Hires denoising strength: 0.7, Hires upscale: 1.5"
    ));
    let repainted = Metadata {
        strength: Some(0.5),
        mask_blur_px: Some(4),
        only_masked_padding_px: Some(32),
        ..metadata()
    };
    assert!(repainted.parameters().contains(
        "Denoising strength: 0.5, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Clip skip: 2"
    ));
    let plain = Metadata {
        prompt: String::new(),
        negative_prompt: Some(String::new()),
        schedule: None,
        clip_skip: Some(1),
        model: "a: b, \"c\"\n".into(),
        ..metadata()
    };
    assert_eq!(
        plain.parameters(),
        "Steps: 14, Sampler: DPM++ 2M, CFG scale: 3.5, Seed: 18446744073709551615, Size: 24x16, Model hash: 0123456789, \
         Model: \"a: b, \\\"c\\\"\\n\", RNG: CPU, Version: imgd 0.1.0"
    );
}

#[test]
fn every_format_gives_its_metadata_back() {
    let prompts = [
        "a red apple",
        "café",
        "日本 🍎\u{7f}",
        "tab\t nul\0 line\n\"quotes\" \\",
        &"long, ".repeat(1_000),
    ];
    for prompt in prompts {
        for negative_prompt in [None, Some(String::new()), Some(prompt.to_owned())] {
            let metadata = Metadata {
                prompt: prompt.to_owned(),
                negative_prompt,
                ..metadata()
            };
            for format in FORMATS {
                let bytes = encode(&picture(24, 16), format, Some(&metadata)).unwrap();
                let found = read_metadata(&bytes).unwrap();
                assert_eq!(found.record.as_ref(), Some(&metadata), "{format:?}");
                assert_eq!(found.parameters, Some(metadata.parameters()), "{format:?}");
            }
        }
    }
}

#[test]
fn without_metadata_there_is_none() {
    for format in FORMATS {
        let bytes = encode(&picture(24, 16), format, None).unwrap();
        assert_eq!(read_metadata(&bytes).unwrap(), Found::default());
    }
}

#[test]
fn pixels_come_back_and_bytes_repeat() {
    for (width, height) in [(1, 1), (24, 16), (257, 63)] {
        let picture = picture(width, height);
        for format in FORMATS {
            let bytes = encode(&picture, format, Some(&metadata())).unwrap();
            assert_eq!(bytes, encode(&picture, format, Some(&metadata())).unwrap());
            let decoded = image::load_from_memory(&bytes).unwrap();
            assert!(matches!(decoded, DynamicImage::ImageRgb8(_)), "{format:?}");
            if format == JPEG {
                let error = decoded
                    .as_bytes()
                    .iter()
                    .zip(&picture.pixels)
                    .map(|(a, b)| a.abs_diff(*b))
                    .max();
                assert!(error < Some(60), "{error:?}");
            } else {
                assert_eq!(decoded.as_bytes(), picture.pixels, "{format:?}");
            }
        }
        assert_eq!(
            image::load_from_memory(&encode_preview_png(&picture).unwrap())
                .unwrap()
                .as_bytes(),
            picture.pixels
        );
    }
}

#[test]
fn a_jpeg_says_what_it_had_no_room_for() {
    let read = |prompt: String| {
        let metadata = Metadata {
            prompt,
            ..metadata()
        };
        let bytes = encode(&picture(16, 16), JPEG, Some(&metadata)).unwrap();
        assert!(image::load_from_memory(&bytes).is_ok());
        let found = read_metadata(&bytes).unwrap();
        (
            found.record.is_some_and(|record| record == metadata),
            found.parameters.unwrap(),
        )
    };
    let (record, parameters) = read("x".repeat(20_000));
    assert!(record && parameters.starts_with("xxx"));
    let (record, parameters) = read("x".repeat(30_000));
    assert!(
        record
            && parameters
                .starts_with("imgd: settings text (the record is in ImageDescription) left out"),
        "{parameters}"
    );
    let (record, parameters) = read("é".repeat(16_000));
    assert!(
        !record && parameters.starts_with("imgd: settings and record left out"),
        "{parameters}"
    );
}

#[test]
fn the_exif_block_is_one_that_others_read() {
    let bytes = encode(&picture(16, 16), JPEG, Some(&metadata())).unwrap();
    let exif = JpegDecoder::new(std::io::Cursor::new(&bytes))
        .unwrap()
        .exif_metadata()
        .unwrap()
        .unwrap();
    assert!(exif.starts_with(b"MM\0\x2a"));
    let comment = exif
        .windows(8)
        .position(|window| window == b"UNICODE\0")
        .unwrap();
    assert_eq!(exif[comment + 8..][..4], [0, b'a', 0, b' ']);
}

#[test]
fn hostile_exif_is_passed_over() {
    let block = exif::write("text", "{}");
    for at in 0..block.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut broken = block.clone();
            broken[at] = value;
            exif::read(&broken);
            exif::read(&broken[..at]);
        }
    }
}

#[test]
fn text_bombs_are_passed_over() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder
        .add_ztxt_chunk("parameters".to_owned(), "a".repeat(TEXT_LIMIT_BYTES + 1))
        .unwrap();
    encoder
        .add_itxt_chunk("imgd".to_owned(), "{}".to_owned())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0]).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_metadata(&bytes).unwrap(), Found::default());
    assert_eq!(
        read_metadata(b"no picture").unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        read_metadata(&bytes[..40]).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn halves_are_rounded_to_even_as_numpy_does() {
    // 0 is 127.5 and 0.5 is 191.25.
    let values: Vec<f32> = vec![-1.0, 1.0, 0.0, -2.0, 2.0, 0.5];
    let picture = Rgb8::from_decoded(&values, 2, 1).unwrap();
    assert_eq!(picture.pixels, [0, 255, 128, 0, 255, 191]);
    assert_eq!(
        Rgb8::from_decoded(&[0.2, -0.2, 0.003_921_569], 1, 1)
            .unwrap()
            .pixels,
        [153, 102, 128]
    );
    for wrong in [f32::NAN, f32::INFINITY] {
        let error = Rgb8::from_decoded(&[0.0, wrong, 0.0], 1, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Numerics);
    }
    assert_eq!(
        Rgb8::from_decoded(&values, 3, 1).unwrap_err().kind(),
        ErrorKind::Internal
    );
}

#[test]
fn constant_pictures_are_noticed() {
    let constant = Rgb8 {
        width_px: 2,
        height_px: 1,
        pixels: vec![1, 2, 3, 1, 2, 3],
    };
    assert!(constant.is_constant());
    assert!(
        !Rgb8 {
            pixels: vec![1, 2, 3, 1, 2, 4],
            ..constant
        }
        .is_constant()
    );
}

#[test]
fn quality_has_a_range() {
    for quality in [0, 101] {
        let error = encode(&picture(8, 8), Format::Jpeg { quality }, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

/// Prints what an encode costs; see `cargo test -p imgd-engine --lib encode_times -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn encode_times() {
    for size in [256, 512, 1024] {
        let picture = picture(size, size);
        for format in FORMATS {
            let start = std::time::Instant::now();
            let bytes = (0..10)
                .map(|_| encode(&picture, format, Some(&metadata())).unwrap().len())
                .max();
            println!(
                "{size}: {format:?} {:?}, {bytes:?} bytes",
                start.elapsed() / 10
            );
        }
    }
}

/// As `(image.size - size) // 2` has it.
#[test]
fn the_middle_loses_what_is_over_at_the_right_and_the_bottom() {
    let picture = Rgb8 {
        width_px: 5,
        height_px: 4,
        pixels: (0..60).collect(),
    };
    let middle = picture.middle(2, 1);
    assert_eq!((middle.width_px, middle.height_px), (2, 1));
    // The second row, from the second pixel on.
    assert_eq!(middle.pixels, [18, 19, 20, 21, 22, 23]);
    assert!(picture.middle(5, 4) == picture);
    assert!(picture.middle(9, 9) == picture);
}

#[test]
fn metadata_that_a_file_promises_and_lacks_are_refused() {
    let mut bytes = encode(&picture(16, 8), Format::WebpLossless, Some(&metadata())).unwrap();
    let at = bytes.windows(4).position(|name| name == b"EXIF").unwrap();
    bytes[at + 4..at + 8].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    assert_eq!(read_metadata(&bytes).unwrap_err().field(), Some("image"));
    let error = size_of(&bytes, "init_image").unwrap_err();
    assert_eq!(error.field(), Some("init_image"));
}
