//! The law of the step machine, bit for bit, in every kind of model and task: a generation's bytes depend on its request
//! and its model alone. On the tiny models of `tests/oracle`.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::path::Path;

use imgd_engine::checkpoint::Source;
use imgd_engine::{ErrorKind, Generation, Model, OpenOptions, Precision, Request};
use support::oracle::{Case, cases};

/// One of each family, and of each task.
const CASES: &[&str] = &[
    "sd3",
    "flux-dev",
    "klein-base",
    "z-image-guided",
    "qwen-image-guided",
    "sd3-dpmpp_2m_sde",
    "sd3-unipc",
    "z-image-lcm",
    "img2img-heun",
    "inpaint-dpmpp_2m",
    "inpaint-pndm",
    "flux-inpaint",
    "qwen-image-inpaint",
    "repainting-part",
    "lora-two",
    "lora-kohya-conv",
    "lora-flux-kohya",
    "lora-qwen-image-lightning",
    "prompt-long-and-short",
    "control-two",
    "control-heun",
    "control-xl-two",
    "reference-two",
    "reference-guided",
    "hires-euler_a",
    "hires-heun",
    "hires-xl-sde",
    "hires-sd3",
    "tiny-vae-sd15-inpaint",
    "tiny-vae-sd3-img2img",
    "tiny-vae-klein",
];

fn each(precision: Precision, law: impl Fn(&Case, &Path, &Model)) {
    let all = cases();
    for name in CASES {
        let case = all.iter().find(|case| case.name == *name).unwrap();
        let root = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            name: case.name.clone(),
            precision,
            progress: None,
        };
        let source = case.write_model(root.path());
        law(case, root.path(), &Model::open(&source, &options).unwrap());
    }
}

/// The case's request and two others, of other lengths of prompts.
fn requests(case: &Case, root: &Path) -> Vec<Request> {
    let request = case.request.to_engine(root, 0);
    let with = |prompt: &str, seed| Request {
        prompt: prompt.to_owned(),
        seed,
        ..request.clone()
    };
    vec![
        request.clone(),
        with(
            "a cat sitting next to a dog under the blue sky, a red apple on a wooden table, studio light, a cat and a dog",
            7,
        ),
        // Without adapters, ControlNets and pictures to look at, where the case has some. Its size is the others'.
        Request {
            loras: Vec::new(),
            controls: Vec::new(),
            ref_images: Vec::new(),
            ..with("", 8)
        },
    ]
}

fn step(model: &Model, generations: &mut [Generation]) {
    let mut batch: Vec<&mut Generation> = generations.iter_mut().collect();
    for result in model.step(&mut batch) {
        result.unwrap();
    }
}

/// Everything that a generation is: its saved bytes at its end.
fn alone(model: &Model, request: &Request) -> Vec<u8> {
    let mut generation = [model.start(request).unwrap()];
    while !generation[0].is_done() {
        step(model, &mut generation);
    }
    generation[0].save().unwrap()
}

#[test]
fn batched_equals_single() {
    for precision in [Precision::F32, Precision::Bf16] {
        each(precision, |case, root, model| {
            let requests = requests(case, root);
            let mut together: Vec<Generation> = requests
                .iter()
                .map(|request| model.start(request).unwrap())
                .collect();
            while !together[0].is_done() {
                step(model, &mut together);
            }
            for (generation, request) in together.iter().zip(&requests) {
                assert!(
                    generation.save().unwrap() == alone(model, request),
                    "{}: {:?}",
                    case.name,
                    request.seed
                );
            }
        });
    }
}

#[test]
fn saved_and_restored_equals_straight_through() {
    each(Precision::F32, |case, root, model| {
        let request = case.request.to_engine(root, 0);
        let expected = alone(model, &request);
        let mut generation = [model.start(&request).unwrap()];
        while !generation[0].is_done() {
            step(model, &mut generation);
            let restored = model.restore(&generation[0].save().unwrap()).unwrap();
            assert_eq!(restored.restarted, None, "{}", case.name);
            generation = [restored.generation];
        }
        assert!(generation[0].save().unwrap() == expected, "{}", case.name);
    });
}

#[test]
fn one_thread_equals_many() {
    each(Precision::F32, |case, root, model| {
        let request = case.request.to_engine(root, 0);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut picture = Vec::new();
            pool.build().unwrap().install(|| {
                let mut generation = [model.start(&request).unwrap()];
                while !generation[0].is_done() {
                    step(model, &mut generation);
                }
                picture = model.finish(&mut generation[0]).unwrap().image.pixels;
            });
            picture
        };
        let picture = on(1);
        assert_eq!(picture.len(), case.expected_pixels(0).len());
        assert!(picture == on(3), "{}", case.name);
    });
}

/// Sizes of every family follow from them by multiplication.
#[test]
fn channels_of_latents_are_bounded_before_they_are_multiplied() {
    let all = cases();
    for name in [
        "sd3",
        "flux-dev",
        "klein-base",
        "z-image-guided",
        "img2img-heun",
        "control-xl-two",
    ] {
        let case = all.iter().find(|case| case.name == name).unwrap();
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let path = root.path().join("vae/config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for channels in [0, 257, 1_u64 << 62] {
            config["latent_channels"] = channels.into();
            std::fs::write(&path, config.to_string()).unwrap();
            let source = Source::Directory(root.path().to_owned());
            let error = imgd_engine::inspect(&source, "model", Precision::F32).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("latent_channels"), "{name}: {message}");
        }
    }
}

/// Files of two families in one directory are told when it is opened, not when it draws.
#[test]
fn a_network_of_another_family_is_refused_by_its_configuration() {
    let all = cases();
    let case = all
        .iter()
        .find(|case| case.name == "control-xl-two")
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let path = root.path().join("model_index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["_class_name"] = "StableDiffusionPipeline".into();
    std::fs::write(&path, index.to_string()).unwrap();
    let source = Source::Directory(root.path().to_owned());
    let error = imgd_engine::inspect(&source, "model", Precision::F32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelInvalid);
    let message = error.to_string();
    assert!(message.contains("unet/config.json"), "{message}");
    assert!(message.contains("addition_embed_type"), "{message}");
}
