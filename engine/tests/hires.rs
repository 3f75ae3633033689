//! A second pass at a larger size: in every family and task it is the same whatever it was batched with and whenever it
//! was saved, and what cannot have one is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

mod support;

use std::path::Path;

use imgd_engine::checkpoint::Source;
use imgd_engine::{
    Borders, Generation, HiresFix, InitImage, Model, OpenOptions, Precision, Request, plan,
};
use support::oracle::{Case, cases};

/// One of each family that its own pictures say nothing of, and of each task.
const CASES: &[&str] = &[
    "flux-dev",
    "klein-base",
    "z-image-guided",
    "qwen-image-guided",
    "img2img-dpmpp_2m_sde",
    "control-two",
    "lora-two",
    "prompt-long-and-short",
];

const HIRES: HiresFix = HiresFix {
    scale: 1.5,
    strength: Some(0.6),
    num_inference_steps: Some(5),
};

fn open(source: &Source) -> Model {
    let options = OpenOptions {
        name: "model".to_owned(),
        precision: Precision::F32,
        progress: None,
    };
    Model::open(source, &options).unwrap()
}

fn starter() -> Source {
    Source::directory(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter")).unwrap()
}

fn of_case(name: &str, law: impl Fn(&Case, &Model, Request)) {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let request = Request {
        hires: Some(HIRES),
        ..case.request.to_engine(root.path(), 0)
    };
    let model = open(&Source::directory(root.path()).unwrap());
    law(&case, &model, request);
}

/// 40 x 32 pixels, which become 56 x 48; nine evaluations.
fn small(seed: u64) -> Request {
    Request {
        width_px: Some(40),
        height_px: Some(32),
        num_inference_steps: Some(6),
        sampler: Some("euler_a".to_owned()),
        hires: Some(HIRES),
        ..Request::new("a red apple", seed)
    }
}

fn step(model: &Model, generations: &mut [&mut Generation]) {
    for result in model.step(generations) {
        result.unwrap();
    }
}

fn alone(model: &Model, request: &Request) -> Generation {
    let mut generation = model.start(request).unwrap();
    while !generation.is_done() {
        step(model, &mut [&mut generation]);
    }
    generation
}

#[test]
fn a_second_pass_of_every_family_is_saved_and_restored_at_every_evaluation() {
    for name in CASES {
        of_case(name, |case, model, request| {
            let mut straight = alone(model, &request);
            let mut generation = model.start(&request).unwrap();
            loop {
                let restored = model.restore(&generation.save().unwrap()).unwrap();
                assert_eq!(restored.restarted, None, "{name}");
                let done = generation.evaluations_done();
                generation = restored.generation;
                assert_eq!(generation.evaluations_done(), done, "{name}");
                if generation.is_done() {
                    break;
                }
                step(model, &mut [&mut generation]);
            }
            assert!(
                generation.save().unwrap() == straight.save().unwrap(),
                "{name}"
            );
            let (width, height) = (case.request.width * 3 / 2, case.request.height * 3 / 2);
            let picture = model.finish(&mut straight).unwrap().image;
            assert_eq!((picture.width_px, picture.height_px), (width, height));
            assert_eq!(picture.pixels.len() * 4, case.expected_pixels(0).len() * 9);
        });
    }
}

#[test]
fn passes_of_several_pictures_share_evaluations_and_change_nothing() {
    let model = open(&starter());
    // Of the size that the others have in their second pass.
    let large = Request {
        width_px: Some(56),
        height_px: Some(48),
        num_inference_steps: Some(9),
        hires: None,
        ..small(3)
    };
    let requests = [small(1), small(2), large];
    let mut generations: Vec<_> = requests
        .iter()
        .map(|request| model.start(request).unwrap())
        .collect();
    // The second picture is two evaluations behind the first.
    step(&model, &mut [&mut generations[0]]);
    step(&model, &mut [&mut generations[0]]);
    while generations.iter().any(|generation| !generation.is_done()) {
        let mut batch: Vec<_> = generations
            .iter_mut()
            .filter(|generation| !generation.is_done())
            .collect();
        step(&model, &mut batch);
    }
    for (generation, request) in generations.iter().zip(&requests) {
        assert!(generation.save().unwrap() == alone(&model, request).save().unwrap());
    }
}

#[test]
fn evaluations_steps_and_previews_go_on_into_the_second_pass() {
    let model = open(&starter());
    let mut generation = model.start(&small(1)).unwrap();
    let hires = generation.settings().hires.unwrap();
    assert_eq!(
        (
            hires.width_px,
            hires.height_px,
            hires.first_pass_evaluations
        ),
        (56, 48, 6)
    );
    // Three of five steps are 0.6 of the way.
    assert_eq!(generation.evaluation_count(), 9);
    let planned = plan(&starter(), "starter", Precision::F32, &small(1)).unwrap();
    assert_eq!(planned.evaluation_count, 9);
    assert_eq!(planned.settings.hires, Some(hires));
    let mut seen = Vec::new();
    while !generation.is_done() {
        step(&model, &mut [&mut generation]);
        let preview = model.preview(&generation, None).unwrap().image;
        seen.push((
            generation.evaluations_done(),
            generation.inference_step(),
            preview.width_px,
            preview.height_px,
        ));
    }
    let expected = [
        (1, 1, 5, 4),
        (2, 2, 5, 4),
        (3, 3, 5, 4),
        (4, 4, 5, 4),
        (5, 5, 5, 4),
        (6, 6, 5, 4),
        (7, 9, 7, 6),
        (8, 10, 7, 6),
        (9, 11, 7, 6),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn what_is_left_open_is_filled_in() {
    let model = open(&starter());
    let request = Request {
        hires: Some(HiresFix {
            scale: 2.0,
            strength: None,
            num_inference_steps: None,
        }),
        ..small(1)
    };
    let generation = model.start(&request).unwrap();
    let hires = generation.settings().hires.unwrap();
    assert_eq!((hires.strength, hires.num_inference_steps), (0.7, 6));
    assert_eq!((hires.width_px, hires.height_px), (80, 64));
}

#[test]
fn wrong_second_passes_name_their_field() {
    let model = open(&starter());
    let with = |hires| Request {
        hires: Some(hires),
        ..small(1)
    };
    let of = |scale, strength, num_inference_steps| {
        with(HiresFix {
            scale,
            strength,
            num_inference_steps,
        })
    };
    let begins = |change: fn(&mut InitImage)| {
        let mut generation = alone(&model, &small(1));
        let picture = model.finish(&mut generation).unwrap();
        let file = picture
            .encode(imgd_engine::image::Format::Png, false)
            .unwrap();
        let mut init = InitImage::new(file.into());
        change(&mut init);
        Request {
            init: Some(init),
            width_px: None,
            height_px: None,
            ..small(1)
        }
    };
    for (request, field) in [
        (of(1.0, None, None), "hires_scale"),
        (of(4.1, None, None), "hires_scale"),
        (of(f64::NAN, None, None), "hires_scale"),
        (of(1.5, Some(1.2), None), "hires_strength"),
        (of(1.5, Some(0.0), None), "hires_strength"),
        (of(1.5, Some(0.1), Some(5)), "hires_strength"),
        (of(1.5, None, Some(0)), "hires_steps"),
        (of(1.5, None, Some(1001)), "hires_steps"),
        (
            Request {
                width_px: Some(2048),
                ..of(2.1, None, None)
            },
            "hires_scale",
        ),
        (
            begins(|init| init.mask = Some(init.image.clone())),
            "hires_scale",
        ),
        (
            begins(|init| {
                init.borders = Borders {
                    left_px: 8,
                    ..Borders::default()
                };
            }),
            "hires_scale",
        ),
    ] {
        let error = model.start(&request).err().unwrap();
        assert_eq!(error.field(), Some(field), "{error}");
    }
    of_case("repainting-part", |_, model, request| {
        let error = model.start(&request).err().unwrap();
        assert_eq!(error.field(), Some("hires_scale"), "{error}");
    });
}
