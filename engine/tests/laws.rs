//! The law of the step machine, bit for bit on the starter model: a generation's bytes depend on its request and its
//! model alone. Not on what it was batched with, when it was saved and restored, nor on the number of threads.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::{path::Path, sync::LazyLock};

use imgd_engine::{
    ErrorKind, Generation, Model, OpenOptions, Precision, Request, checkpoint::Source,
    image::Format, sampling,
};

static STARTER: LazyLock<Model> = LazyLock::new(|| open(Precision::F32));
static STARTER_BF16: LazyLock<Model> = LazyLock::new(|| open(Precision::Bf16));

fn open(precision: Precision) -> Model {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    let options = OpenOptions {
        name: "starter".into(),
        precision,
        progress: None,
    };
    Model::open(&Source::directory(directory).unwrap(), &options).unwrap()
}

/// A law holds in every precision.
fn in_every_precision(law: impl Fn(&Model)) {
    law(&STARTER);
    law(&STARTER_BF16);
}

/// A small request; odd seeds are guided, and every fourth size is odd in latents.
fn request(seed: u64) -> Request {
    Request {
        width_px: Some(72),
        height_px: Some(56),
        num_inference_steps: Some(3),
        guidance_scale: Some(if seed.is_multiple_of(2) { 0.0 } else { 3.5 }),
        ..Request::new(
            [
                "a red apple",
                "a blue car",
                "two cats",
                "",
                "a rocket in space",
            ][(seed % 5) as usize],
            seed,
        )
    }
}

fn run(model: &Model, generations: &mut [Generation]) {
    while !generations[0].is_done() {
        let mut batch: Vec<&mut Generation> = generations.iter_mut().collect();
        for result in model.step(&mut batch) {
            result.unwrap();
        }
    }
}

/// Everything a generation is, without the float noise of comparing pictures: its saved bytes.
fn alone(model: &Model, request: &Request) -> Vec<u8> {
    let mut generation = [model.start(request).unwrap()];
    run(model, &mut generation);
    generation[0].save().unwrap()
}

#[test]
fn batched_equals_single() {
    in_every_precision(|model| {
        for count in [2, 3, 5] {
            let requests: Vec<Request> = (0..count).map(request).collect();
            let mut together: Vec<Generation> = requests
                .iter()
                .map(|request| model.start(request).unwrap())
                .collect();
            run(model, &mut together);
            for (generation, request) in together.iter().zip(&requests) {
                assert!(
                    generation.save().unwrap() == alone(model, request),
                    "seed {} in a batch of {count}",
                    request.seed
                );
            }
        }
    });
}

#[test]
fn shapes_may_differ_within_a_batch() {
    in_every_precision(|model| {
        let wide = Request {
            width_px: Some(104),
            ..request(1)
        };
        let tall = Request {
            height_px: Some(88),
            ..request(3)
        };
        let mut together = [model.start(&wide).unwrap(), model.start(&tall).unwrap()];
        run(model, &mut together);
        assert!(together[0].save().unwrap() == alone(model, &wide));
        assert!(together[1].save().unwrap() == alone(model, &tall));
    });
}

#[test]
fn saved_and_restored_after_every_evaluation_equals_straight_through_for_every_sampler() {
    in_every_precision(|model| {
        for sampler in sampling::samplers() {
            let request = Request {
                sampler: Some(sampler.name.to_string()),
                num_inference_steps: Some(6),
                width_px: Some(32),
                height_px: Some(40),
                ..request(7)
            };
            let straight = alone(model, &request);
            let mut generation = model.start(&request).unwrap();
            while !generation.is_done() {
                let restored = model.restore(&generation.save().unwrap()).unwrap();
                assert_eq!(restored.restarted, None, "{}", sampler.name);
                generation = restored.generation;
                model.step(&mut [&mut generation]).remove(0).unwrap();
            }
            assert!(generation.save().unwrap() == straight, "{}", sampler.name);
        }
    });
}

#[test]
fn one_thread_equals_two() {
    in_every_precision(|model| {
        let pictures: Vec<Vec<u8>> = [1, 2]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| {
                    let mut generation = [model.start(&request(5)).unwrap()];
                    run(model, &mut generation);
                    let picture = model.finish(&mut generation[0]).unwrap();
                    picture.encode(Format::Png, true).unwrap()
                })
            })
            .collect();
        assert!(pictures[0] == pictures[1]);
    });
}

/// Piece by piece, with other generations' steps between and a save in the middle.
#[test]
fn a_picture_is_the_same_decoded_at_once_or_in_pieces_among_other_work() {
    in_every_precision(|model| {
        let mut generation = [model.start(&request(5)).unwrap()];
        run(model, &mut generation);
        let saved = generation[0].save().unwrap();
        let at_once = model.finish(&mut generation[0]).unwrap().image;
        assert!(
            model.finish(&mut generation[0]).unwrap().image == at_once,
            "twice"
        );

        let [mut pieces] = [model.restore(&saved).unwrap().generation];
        let mut other = model.start(&request(2)).unwrap();
        let mut count = 1;
        while !model.decode_stage(&mut pieces).unwrap() {
            assert!(pieces.save().unwrap() == saved, "saved as denoised");
            if other.is_done() {
                model.decode_stage(&mut other).unwrap();
            } else {
                model.step(&mut [&mut other]).remove(0).unwrap();
            }
            count += 1;
        }
        assert!(count > 5, "{count} pieces");
        assert!(model.decode_stage(&mut pieces).unwrap(), "nothing is left");
        assert!(model.finish(&mut pieces).unwrap().image == at_once);

        let mut in_part = model.restore(&saved).unwrap().generation;
        for _ in 0..3 {
            assert!(!model.decode_stage(&mut in_part).unwrap());
        }
        assert!(
            model.finish(&mut in_part).unwrap().image == at_once,
            "in part"
        );
        assert!(
            other.save().unwrap() == alone(model, &request(2)),
            "the other one"
        );
    });
}

#[test]
fn decoding_waits_for_the_last_evaluation() {
    let mut generation = STARTER.start(&request(1)).unwrap();
    let error = STARTER.decode_stage(&mut generation).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(STARTER.finish(&mut generation).is_err());
}

/// A plan is made from files alone, and says what starting does.
#[test]
fn a_plan_says_what_starting_gives() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    let source = Source::directory(directory).unwrap();
    let plan = |request: &Request| imgd_engine::plan(&source, "starter", Precision::F32, request);
    for request in [
        request(3),
        Request::new("a red apple", 9),
        Request {
            sampler: Some("heun".into()),
            ..request(4)
        },
    ] {
        let started = STARTER.start(&request).unwrap();
        let planned = plan(&request).unwrap();
        assert_eq!(&planned.settings, started.settings());
        assert_eq!(planned.evaluation_count, started.evaluation_count());
    }
    for wrong in [
        Request {
            width_px: Some(250),
            ..request(1)
        },
        Request {
            clip_skip: Some(5),
            ..request(1)
        },
        Request {
            sampler: Some("none such".into()),
            ..request(1)
        },
    ] {
        let started = STARTER.start(&wrong).err().unwrap();
        let planned = plan(&wrong).err().unwrap();
        assert_eq!(planned.field(), started.field());
        assert_eq!(planned.to_string(), started.to_string());
    }
}

#[test]
fn a_damaged_save_is_refused() {
    let mut bytes = STARTER.start(&request(1)).unwrap().save().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(
        STARTER
            .restore(&bytes)
            .err()
            .unwrap()
            .to_string()
            .contains("checksum")
    );
    assert!(STARTER.restore(&[]).is_err());
    assert!(STARTER.restore(&bytes[..100]).is_err());
}

#[test]
fn a_preview_is_one_pixel_for_each_latent() {
    let mut generation = [STARTER.start(&request(1)).unwrap()];
    run(&STARTER, &mut generation);
    let preview = STARTER.preview(&generation[0], None).unwrap().image;
    assert_eq!((preview.width_px, preview.height_px), (9, 7));
}

#[test]
fn wrong_requests_name_their_field() {
    let good = request(1);
    let cases = [
        (
            Request {
                width_px: Some(250),
                ..good.clone()
            },
            "width_px",
        ),
        (
            Request {
                height_px: Some(0),
                ..good.clone()
            },
            "height_px",
        ),
        (
            Request {
                num_inference_steps: Some(0),
                ..good.clone()
            },
            "num_inference_steps",
        ),
        (
            Request {
                guidance_scale: Some(f64::NAN),
                ..good.clone()
            },
            "guidance_scale",
        ),
        (
            Request {
                clip_skip: Some(0),
                ..good.clone()
            },
            "clip_skip",
        ),
        (
            Request {
                clip_skip: Some(5),
                ..good.clone()
            },
            "clip_skip",
        ),
        (
            Request {
                sampler: Some("dpm++2m".into()),
                ..good.clone()
            },
            "sampler",
        ),
        (
            Request {
                schedule: Some("carras".into()),
                ..good.clone()
            },
            "schedule",
        ),
    ];
    for (request, field) in cases {
        let error = STARTER.start(&request).err().unwrap();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(
            error.hint().is_some() || field == "num_inference_steps" || field == "guidance_scale",
            "{error}"
        );
    }
}

#[test]
fn a_long_prompt_says_what_was_cut() {
    let long = Request {
        prompt: "a red apple and a blue car and ".repeat(20),
        prompt_syntax: Some(imgd_engine::PromptSyntax::Plain),
        ..request(1)
    };
    let generation = STARTER.start(&long).unwrap();
    assert_eq!(generation.notices().len(), 1);
    assert_eq!(generation.notices()[0].reason, "prompt_truncated");
    let in_parts = Request {
        prompt_syntax: None,
        ..long
    };
    let generation = STARTER.start(&in_parts).unwrap();
    assert_eq!(generation.notices().len(), 1);
    assert_eq!(generation.notices()[0].reason, "prompt_parts");
    let empty = Request {
        prompt: String::new(),
        ..request(1)
    };
    assert_eq!(
        STARTER.start(&empty).unwrap().notices()[0].reason,
        "prompt_empty"
    );
}
