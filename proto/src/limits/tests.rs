use proptest::prelude::*;

use std::time::Duration;

use super::{work::check_budget, *};
use crate::v1::{
    Control, ControlPreprocess, GenerateRequest, HiresFix, ImageFormat, ImageInput, ImageVariation,
    ModelPart, ReferenceImage, SubmitJobRequest, Upscale,
};

const IMAGE_PROTO: &str = include_str!("../../imgd/v1/image.proto");
const JOB_PROTO: &str = include_str!("../../imgd/v1/job.proto");

/// The comment above a field of the first request that has it, its lines joined.
fn comment_of(field: &str) -> String {
    [
        (IMAGE_PROTO, "GenerateRequest"),
        (IMAGE_PROTO, "ImageInput"),
        (IMAGE_PROTO, "Lora"),
        (IMAGE_PROTO, "ModelPart"),
        (IMAGE_PROTO, "Control"),
        (IMAGE_PROTO, "ReferenceImage"),
        (IMAGE_PROTO, "HiresFix"),
        (IMAGE_PROTO, "Upscale"),
        (JOB_PROTO, "SubmitJobRequest"),
        (JOB_PROTO, "ListJobsRequest"),
    ]
    .into_iter()
    .find_map(|(contract, message)| comment_in(contract, message, field))
    .unwrap_or_else(|| panic!("no request has a field {field}"))
}

fn comment_in(contract: &str, message: &str, field: &str) -> Option<String> {
    let message = contract
        .split(&format!("message {message} {{"))
        .nth(1)
        .unwrap();
    let message = message.split("\n}").next().unwrap();
    let mut comment = String::new();
    for line in message.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            comment.push_str(text);
        } else if line.contains(&format!(" {field} = ")) {
            return Some(comment);
        } else {
            comment.clear();
        }
    }
    None
}

fn request() -> GenerateRequest {
    GenerateRequest {
        prompt: "a red apple".into(),
        ..Default::default()
    }
}

fn refused(change: impl FnOnce(&mut GenerateRequest)) -> FieldError {
    let mut request = request();
    change(&mut request);
    validate_generate(&request).unwrap_err()
}

#[test]
fn parts_are_named_once_with_absolute_paths() {
    let part = |part: &str, file: &str| ModelPart {
        part: part.into(),
        file: file.into(),
    };
    let with = |parts: &[ModelPart]| {
        let parts = parts.to_vec();
        validate_generate(&GenerateRequest {
            model_parts: parts,
            ..request()
        })
    };
    let vae = part("vae", "/vae.safetensors");
    assert!(with(&[vae.clone(), part("text_encoder_2", "/t5.gguf")]).is_ok());
    assert!(with(&[part("vae", "sdxl/ae.safetensors")]).is_ok());
    for wrong in [
        vec![vae.clone(), vae.clone()],
        vec![part("", "/x")],
        vec![part("../vae", "/x")],
        vec![part("vae", "../x.safetensors")],
        vec![part("vae", "")],
        vec![vae; 9],
    ] {
        assert_eq!(with(&wrong).unwrap_err().field, "model_parts");
    }
}

#[test]
fn the_contract_says_what_the_table_says() {
    for limit in LIMITS {
        let comment = comment_of(limit.field);
        let phrase = limit.phrase();
        assert!(
            comment.contains(&phrase),
            "{}: the table says {phrase:?}, the contract {comment:?}",
            limit.field
        );
    }
}

#[test]
fn every_number_and_text_of_a_request_has_a_limit() {
    let message = IMAGE_PROTO
        .split("message GenerateRequest {")
        .nth(1)
        .unwrap();
    let message = message.split("\n}").next().unwrap();
    let fields = message
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(';') && !line.starts_with("//"));
    for field in fields {
        let words: Vec<_> = field.trim_start_matches("optional ").split(' ').collect();
        // Every 64-bit seed is a seed; every duration keeps a model.
        if ["string", "uint32", "uint64", "double"].contains(&words[0])
            && !words[1].ends_with("seed")
        {
            assert!(
                LIMITS.iter().any(|limit| limit.field == words[1]),
                "{field}"
            );
        }
    }
}

#[test]
fn a_prompt_alone_is_enough_and_may_be_empty() {
    validate_generate(&request()).unwrap();
    validate_generate(&GenerateRequest::default()).unwrap();
}

#[test]
fn what_is_done_with_a_mask_needs_one() {
    let with = |change: fn(&mut ImageInput)| {
        let mut input = ImageInput {
            init_image: "picture".into(),
            mask: "mask".into(),
            ..ImageInput::default()
        };
        change(&mut input);
        validate_generate(&GenerateRequest {
            input: Some(input),
            ..request()
        })
        .map_err(|error| error.field)
    };
    assert_eq!(with(|input| input.mask_blur_px = Some(256)), Ok(()));
    assert_eq!(
        with(|input| input.mask_blur_px = Some(257)),
        Err("mask_blur_px")
    );
    assert_eq!(with(|input| input.only_masked_padding_px = Some(0)), Ok(()));
    assert_eq!(
        with(|input| input.extend_top_px = 4097),
        Err("extend_top_px")
    );
    let maskless = |blur, padding, left| {
        validate_generate(&GenerateRequest {
            input: Some(ImageInput {
                init_image: "picture".into(),
                mask_blur_px: blur,
                only_masked_padding_px: padding,
                extend_left_px: left,
                ..ImageInput::default()
            }),
            ..request()
        })
        .map_err(|error| error.field)
    };
    assert_eq!(maskless(Some(0), None, 0), Ok(()));
    assert_eq!(maskless(Some(1), None, 8), Err("mask_blur_px"));
    assert_eq!(maskless(None, Some(0), 0), Err("only_masked_padding_px"));
    assert_eq!(maskless(None, Some(0), 8), Ok(()));
}

#[test]
fn a_variation_has_a_strength_from_0_to_1() {
    let with = |seed, strength| {
        validate_generate(&GenerateRequest {
            variation_seed: seed,
            variation_strength: strength,
            ..request()
        })
        .map_err(|error| error.field)
    };
    for strength in [0.0, 0.3, 1.0] {
        assert_eq!(with(None, Some(strength)), Ok(()));
        assert_eq!(with(Some(1), Some(strength)), Ok(()));
    }
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_eq!(with(Some(1), Some(wrong)), Err("variation_strength"));
    }
    assert_eq!(with(Some(1), None), Err("variation_strength"));
}

#[test]
fn numbers_outside_their_range_name_field_and_range() {
    for steps in [0, 1001, u32::MAX] {
        let error = refused(|request| request.num_inference_steps = Some(steps));
        assert_eq!(error.field, "num_inference_steps");
        assert_eq!(
            error.message,
            format!("num_inference_steps is {steps}: it must be 1 to 1,000")
        );
    }
    for guidance in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.5,
        100.5,
        f64::MAX,
    ] {
        let error = refused(|request| request.guidance_scale = Some(guidance));
        assert_eq!(error.field, "guidance_scale");
        assert!(error.message.contains("0 to 100"), "{error}");
    }
    for images in [0, 10_001] {
        assert_eq!(
            refused(|request| request.num_images = Some(images)).field,
            "num_images"
        );
    }
    for skip in [0, 13] {
        assert_eq!(
            refused(|request| request.clip_skip = Some(skip)).field,
            "clip_skip"
        );
    }
    assert_eq!(
        refused(|request| request.preview_every_n_steps = 1001).field,
        "preview_every_n_steps"
    );
    assert_eq!(
        refused(|request| request.width_px = Some(4104)).message,
        "width_px is 4104 px: it must be 8 to 4,096"
    );
}

#[test]
fn a_size_that_is_no_multiple_names_the_nearest() {
    let error = refused(|request| request.height_px = Some(513));
    assert_eq!(
        error.message,
        "height_px is 513: it must be a multiple of 8"
    );
    assert_eq!(error.hint.unwrap(), "the nearest is 512 or 520");
    assert_eq!(
        multiple("width_px", 4095, 64).unwrap_err().hint.unwrap(),
        "the nearest is 4032 or 4096"
    );
    assert_eq!(
        multiple("width_px", 9, 64).unwrap_err().hint.unwrap(),
        "the nearest is 64"
    );
}

#[test]
fn the_whole_work_is_bounded() {
    let error = refused(|request| {
        (request.width_px, request.height_px) = (Some(4096), Some(4096));
        (request.num_inference_steps, request.num_images) = (Some(1000), Some(10_000));
    });
    assert_eq!(error.field, "num_images");
    check_budget(4096, 4096, 1000, 64).unwrap();
    check_budget(u32::MAX, u32::MAX, u32::MAX, u32::MAX).unwrap_err();
}

#[test]
fn texts_are_bounded() {
    let long = "é".repeat(16_385);
    assert_eq!(
        refused(|request| request.prompt = long.clone()).field,
        "prompt"
    );
    assert!(
        !refused(|request| request.prompt = long.clone())
            .message
            .contains('é')
    );
    assert_eq!(
        refused(|request| request.negative_prompt = Some(long.clone())).field,
        "negative_prompt"
    );
    assert_eq!(
        refused(|request| request.sampler = "s".repeat(65)).field,
        "sampler"
    );
    assert_eq!(
        refused(|request| request.request_id = "r".repeat(65)).field,
        "request_id"
    );
    assert_eq!(
        refused(|request| request.request_id = "a b".into()).field,
        "request_id"
    );
}

#[test]
fn names_of_models_cannot_leave_their_place() {
    for good in [
        "",
        "starter",
        "org/model",
        "a/b/c/d",
        "v1.5",
        "_x",
        "/home/a/models/sd",
        "/with space",
        "flux:schnell",
        "hf:org/model@v1.0:unet/model.safetensors",
        "xl/Sharp, really (v2) [pruned]",
        "\u{6c34}\u{5f69}",
    ] {
        validate_model(good).unwrap();
    }
    let too_long = "m".repeat(121);
    for bad in [
        "..",
        "../x",
        "a/../b",
        ".hidden",
        "a//b",
        "a/",
        "a/b/c/d/e",
        "a\nb",
        "a /b",
        "-x",
        "a\\b",
        "a\0",
        "/a\0",
        &too_long,
    ] {
        assert_eq!(validate_model(bad).unwrap_err().field, "model", "{bad:?}");
    }
}

#[test]
fn jpeg_quality_belongs_to_jpeg() {
    assert_eq!(
        refused(|request| request.jpeg_quality = Some(90)).field,
        "jpeg_quality"
    );
    let jpeg = |quality| GenerateRequest {
        jpeg_quality: Some(quality),
        format: ImageFormat::Jpeg.into(),
        ..request()
    };
    validate_generate(&jpeg(90)).unwrap();
    validate_generate(&jpeg(101)).unwrap_err();
}

#[test]
fn unknown_values_of_enumerations_are_refused() {
    assert_eq!(refused(|request| request.format = 77).field, "format");
    assert_eq!(refused(|request| request.precision = -1).field, "precision");
    assert_eq!(refused(|request| request.priority = 9).field, "priority");
}

#[test]
fn durations() {
    let of = |seconds, nanos| prost_types::Duration { seconds, nanos };
    assert_eq!(keep_alive(&of(-1, 0)).unwrap(), KeepAlive::Forever);
    assert_eq!(keep_alive(&of(0, -1)).unwrap(), KeepAlive::Forever);
    assert_eq!(
        keep_alive(&of(0, 0)).unwrap(),
        KeepAlive::For(Duration::ZERO)
    );
    assert_eq!(
        keep_alive(&of(300, 0)).unwrap(),
        KeepAlive::For(Duration::from_secs(300))
    );
    for wrong in [
        of(i64::MAX, 0),
        of(i64::MIN, 0),
        of(0, i32::MIN),
        of(1, -1),
        of(0, 1_000_000_000),
    ] {
        assert_eq!(keep_alive(&wrong).unwrap_err().field, "keep_alive");
        assert_eq!(timeout(&wrong).unwrap_err().field, "timeout");
    }
    assert_eq!(
        timeout(&of(0, 1_000_000)).unwrap(),
        Duration::from_millis(1)
    );
    for wrong in [of(0, 0), of(-5, 0), of(86_400, 1)] {
        assert_eq!(timeout(&wrong).unwrap_err().field, "timeout");
    }
    timeout(&of(86_400, 0)).unwrap();
}

#[test]
fn the_table_prints_every_limit() {
    let table = table();
    assert!(
        table.contains("| `width_px` | 8 to 4,096 | px | the model's | Width of the picture |"),
        "{table}"
    );
    assert_eq!(table.lines().count(), LIMITS.len() + 2);
}

proptest! {
    /// What passes is within every limit: nothing that is allocated later can be larger.
    #[test]
    fn what_passes_is_bounded(
        width in any::<Option<u32>>(), height in any::<Option<u32>>(), steps in any::<Option<u32>>(),
        images in any::<Option<u32>>(), clip_skip in any::<Option<u32>>(), previews in any::<u32>(),
        guidance in proptest::option::of(prop::num::f64::ANY), seed in any::<Option<u64>>(),
        seconds in any::<i64>(), nanos in any::<i32>(), enumeration in any::<i32>(),
    ) {
        let duration = prost_types::Duration { seconds, nanos };
        let request = GenerateRequest {
            width_px: width, height_px: height, num_inference_steps: steps, num_images: images, clip_skip,
            preview_every_n_steps: previews, guidance_scale: guidance, seed, keep_alive: Some(duration), timeout: Some(duration),
            precision: enumeration, ..request()
        };
        if validate_generate(&request).is_ok() {
            prop_assert!(width.is_none_or(|width| (8..=4096).contains(&width) && width % 8 == 0));
            prop_assert!(height.is_none_or(|height| (8..=4096).contains(&height) && height % 8 == 0));
            prop_assert!(guidance.is_none_or(|guidance| guidance.is_finite() && guidance >= 0.0));
            prop_assert!(steps.is_none_or(|steps| (1..=1000).contains(&steps)));
            prop_assert!(timeout(&duration).is_ok());
        }
    }

    /// Sizes within the limits pass exactly when they are multiples.
    #[test]
    fn sizes(width in 8u32..=4096) {
        let request = GenerateRequest { width_px: Some(width), height_px: Some(64), ..request() };
        prop_assert_eq!(validate_generate(&request).is_ok(), width % 8 == 0);
    }
}

fn job() -> SubmitJobRequest {
    SubmitJobRequest {
        generate: Some(request()),
        ..Default::default()
    }
}

#[test]
fn a_job_is_checked_as_its_request_is_and_outlives_its_client() {
    validate_submit(&job()).unwrap();
    let refused = |change: fn(&mut SubmitJobRequest)| {
        let mut job = job();
        change(&mut job);
        validate_submit(&job).unwrap_err().field
    };
    let generate = |change: fn(&mut GenerateRequest)| {
        let mut job = job();
        change(job.generate.as_mut().unwrap());
        validate_submit(&job).unwrap_err().field
    };
    assert_eq!(refused(|job| job.generate = None), "generate");
    assert_eq!(
        refused(|job| job.hold_after_steps = 1001),
        "hold_after_steps"
    );
    assert_eq!(
        refused(|job| job.images = vec![ImageVariation::default(); 10_001]),
        "images"
    );
    assert_eq!(
        refused(|job| {
            job.images = vec![ImageVariation {
                prompt: Some("p".repeat(32_769)),
                ..Default::default()
            }];
        }),
        "prompt"
    );
    assert_eq!(
        refused(|job| {
            job.images = vec![ImageVariation::default(); 3];
            job.generate.as_mut().unwrap().num_images = Some(2);
        }),
        "num_images"
    );
    assert_eq!(generate(|request| request.private = Some(true)), "private");
    assert_eq!(
        generate(|request| request.timeout = Some(prost_types::Duration {
            seconds: 1,
            nanos: 0
        })),
        "timeout"
    );
    assert_eq!(generate(|request| request.width_px = Some(9)), "width_px");
}

#[test]
fn a_job_is_named_by_its_first_digits() {
    for good in ["0123", "0123456789abcdef0123456789abcdef"] {
        validate_job_id(good).unwrap();
    }
    for wrong in [
        "",
        "123",
        "0123456789abcdef0123456789abcdef0",
        "ABCD",
        "../..",
        "12g4",
    ] {
        assert_eq!(validate_job_id(wrong).unwrap_err().field, "job_id");
    }
}

#[test]
fn control_nets_are_checked_one_by_one() {
    let control = || Control {
        control_model: "canny".into(),
        control_image: b"png".as_slice().into(),
        ..Default::default()
    };
    let validate = |change: fn(&mut Control)| {
        let mut second = control();
        change(&mut second);
        let controls = vec![control(), second];
        validate_generate(&GenerateRequest {
            controls,
            ..request()
        })
    };
    validate(|_| {}).unwrap();
    validate(|control| {
        control.control_model = "/models/canny".into();
        control.preprocess = ControlPreprocess::Canny.into();
        (control.canny_low, control.canny_high) = (Some(150), None);
        (control.control_weight, control.control_end) = (Some(-10.0), Some(0.5));
    })
    .unwrap();
    for (field, change) in [
        (
            "control_model",
            (|control| control.control_model.clear()) as fn(&mut Control),
        ),
        ("control_model", |control| {
            control.control_model = "../canny".into()
        }),
        ("control_image", |control| control.control_image.clear()),
        ("control_image", |control| {
            control.control_image = vec![0; (16 << 20) + 1].into()
        }),
        ("preprocess", |control| control.preprocess = 7),
        ("control_weight", |control| {
            control.control_weight = Some(10.1)
        }),
        ("control_weight", |control| {
            control.control_weight = Some(f64::NAN)
        }),
        ("control_start", |control| control.control_start = Some(1.0)),
        ("control_end", |control| control.control_end = Some(1.1)),
        ("canny_low", |control| control.canny_low = Some(10)),
        ("canny_high", |control| {
            control.preprocess = ControlPreprocess::Canny.into();
            control.canny_high = Some(2_041);
        }),
        ("canny_low", |control| {
            control.preprocess = ControlPreprocess::Canny.into();
            control.canny_low = Some(201);
        }),
    ] {
        assert_eq!(validate(change).unwrap_err().field, field);
    }
    let many = |controls: Vec<Control>| {
        validate_generate(&GenerateRequest {
            controls,
            ..request()
        })
        .unwrap_err()
        .field
    };
    assert_eq!(many(vec![control(); 5]), "controls");
    let large = Control {
        control_image: vec![0; 12 << 20].into(),
        ..control()
    };
    assert_eq!(many(vec![large; 3]), "control_image");
}

#[test]
fn pictures_to_look_at_are_few_and_share_the_room_for_pictures() {
    let of = |sizes: &[usize]| -> Vec<ReferenceImage> {
        let picture = |size: &usize| ReferenceImage {
            ref_image: vec![0; *size].into(),
        };
        sizes.iter().map(picture).collect()
    };
    let validate = |sizes: &[usize]| {
        validate_generate(&GenerateRequest {
            ref_images: of(sizes),
            ..request()
        })
    };
    validate(&[16 << 20, 16 << 20]).unwrap();
    validate(&[1; 4]).unwrap();
    for (field, sizes) in [
        ("ref_images", &[1; 5][..]),
        ("ref_image", &[1, 0]),
        ("ref_image", &[(16 << 20) + 1]),
        ("ref_image", &[12 << 20; 3]),
    ] {
        assert_eq!(validate(sizes).unwrap_err().field, field);
    }
    let with_input = refused(|request| {
        request.ref_images = of(&[10 << 20, 10 << 20]);
        request.input = Some(ImageInput {
            init_image: vec![0; 13 << 20].into(),
            ..Default::default()
        });
    });
    assert_eq!(with_input.field, "ref_image");
}

#[test]
fn a_second_pass_has_a_scale_a_size_and_no_part_that_is_kept() {
    let with = |scale, strength, steps, change: fn(&mut GenerateRequest)| {
        let mut request = GenerateRequest {
            width_px: Some(2_048),
            hires: Some(HiresFix {
                hires_scale: scale,
                hires_strength: strength,
                hires_steps: steps,
            }),
            ..request()
        };
        change(&mut request);
        validate_generate(&request).map_err(|error| error.field)
    };
    let none = |_: &mut GenerateRequest| {};
    for scale in [1.1, 1.5, 2.0] {
        assert_eq!(with(scale, None, None, none), Ok(()));
    }
    assert_eq!(with(2.0, Some(0.0), Some(1), none), Ok(()));
    for scale in [0.0, 1.0, 2.1, 4.5, f64::NAN] {
        assert_eq!(with(scale, None, None, none), Err("hires_scale"));
    }
    assert_eq!(with(2.0, Some(1.5), None, none), Err("hires_strength"));
    assert_eq!(with(2.0, None, Some(0), none), Err("hires_steps"));
    let begins = |request: &mut GenerateRequest| {
        request.input = Some(ImageInput {
            init_image: b"picture".as_slice().into(),
            ..ImageInput::default()
        });
    };
    assert_eq!(with(2.0, None, None, begins), Ok(()));
    let masked = |request: &mut GenerateRequest| {
        request.input = Some(ImageInput {
            init_image: b"picture".as_slice().into(),
            mask: b"mask".as_slice().into(),
            ..ImageInput::default()
        });
    };
    assert_eq!(with(2.0, None, None, masked), Err("hires_scale"));
    let extended = |request: &mut GenerateRequest| {
        request.input = Some(ImageInput {
            init_image: b"picture".as_slice().into(),
            extend_top_px: 8,
            ..ImageInput::default()
        });
    };
    assert_eq!(with(2.0, None, None, extended), Err("hires_scale"));
    // The second pass of the largest size in many steps is work as well.
    let many = |request: &mut GenerateRequest| {
        request.height_px = Some(2_048);
        request.num_images = Some(200);
        request.num_inference_steps = Some(1_000);
    };
    assert_eq!(with(1.1, None, None, many), Ok(()));
    assert_eq!(with(2.0, None, None, many), Err("num_images"));
    assert_eq!(with(2.0, None, Some(100), many), Ok(()));
    assert_eq!(enlarged_px(800, 1.15), 920);
}

#[test]
fn what_is_enlarged_is_not_drawn() {
    let enlarging = || GenerateRequest {
        input: Some(ImageInput {
            init_image: vec![1].into(),
            ..ImageInput::default()
        }),
        upscale: Some(Upscale {
            upscaler: "4x-UltraSharp".to_owned(),
            upscale_scale: Some(2.0),
        }),
        ..GenerateRequest::default()
    };
    validate_generate(&enlarging()).unwrap();
    let refused = |change: fn(&mut GenerateRequest)| {
        let mut request = enlarging();
        change(&mut request);
        validate_generate(&request).unwrap_err().field
    };
    assert_eq!(refused(|request| request.prompt = "x".to_owned()), "prompt");
    assert_eq!(refused(|request| request.model = "m".to_owned()), "model");
    assert_eq!(refused(|request| request.seed = Some(1)), "seed");
    assert_eq!(
        refused(|request| request.num_images = Some(2)),
        "num_images"
    );
    assert_eq!(refused(|request| request.input = None), "init_image");
    let strength = refused(|request| request.input.as_mut().unwrap().strength = Some(0.5));
    assert_eq!(strength, "strength");
    let scale = refused(|request| request.upscale.as_mut().unwrap().upscale_scale = Some(f64::NAN));
    assert_eq!(scale, "upscale_scale");
    for name in ["../x", "a//b", ".x", "a\0"] {
        let mut request = enlarging();
        name.clone_into(&mut request.upscale.as_mut().unwrap().upscaler);
        assert_eq!(validate_generate(&request).unwrap_err().field, "upscaler");
    }
    let held = SubmitJobRequest {
        generate: Some(enlarging()),
        hold_after_steps: 1,
        ..SubmitJobRequest::default()
    };
    assert_eq!(
        validate_submit(&held).unwrap_err().field,
        "hold_after_steps"
    );
}
