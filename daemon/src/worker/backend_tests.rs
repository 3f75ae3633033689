//! The starter model through the worker's verbs, without a process.

use std::sync::{Arc, Mutex};

use super::{super::wire::Generations, *};

fn starter() -> ModelKey {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/starter");
    ModelKey {
        config: None,
        parts: Vec::new(),
        directory: Some(directory.into()),
        name: "starter".into(),
        ..ModelKey::default()
    }
}

fn loaded() -> Models {
    let mut models = Models::new(&[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress: Progress = Arc::new({
        let seen = Arc::clone(&seen);
        move |fraction| seen.lock().unwrap().push(fraction)
    });
    let Outcome::Loaded(loaded) = models.answer(Verb::Load(starter()), progress).unwrap() else {
        panic!()
    };
    assert_eq!(loaded.model_hash.len(), 64);
    let seen = seen.lock().unwrap();
    assert!(
        !seen.is_empty() && seen.iter().all(|fraction| (0.0..=1.0).contains(fraction)),
        "{seen:?}"
    );
    models
}

fn ask(models: &mut Models, verb: Verb) -> Result<Outcome, Failure> {
    models.answer(verb, Arc::new(|_| {}))
}

fn start(generation: u64, seed: u64) -> Verb {
    Verb::Start(Start {
        generation,
        model: starter(),
        prompt: "a red apple".into(),
        width_px: Some(64),
        height_px: Some(64),
        num_inference_steps: Some(2),
        seed,
        ..Start::default()
    })
}

fn step(models: &mut Models, ids: &[u64]) -> Vec<StepResult> {
    match ask(models, Verb::Step(Generations { ids: ids.to_vec() })).unwrap() {
        Outcome::Stepped(stepped) => stepped.results,
        other => panic!("{other:?}"),
    }
}

fn decode(models: &mut Models, generation: u64) -> bool {
    match ask(models, Verb::Decode(generation)).unwrap() {
        Outcome::Decoded(is_done) => is_done,
        other => panic!("{other:?}"),
    }
}

fn finish(models: &mut Models, generation: u64, format: v1::ImageFormat) -> Finished {
    let finish = Finish {
        generation,
        format: format.into(),
        jpeg_quality: 90,
        omit_metadata: false,
    };
    match ask(models, Verb::Finish(finish)).unwrap() {
        Outcome::Finished(finished) => finished,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_picture_is_the_same_alone_in_a_batch_and_restored() {
    let mut models = loaded();
    for (generation, seed) in [(1, 7), (2, 8), (3, 7)] {
        let Outcome::Started(started) = ask(&mut models, start(generation, seed)).unwrap() else {
            panic!()
        };
        assert_eq!(
            (started.settings.width_px, started.settings.seed),
            (64, seed)
        );
        assert!(started.evaluation_count >= 2);
    }
    // 3 goes alone; 2 and 1 together, in this order; 4 continues what 1 was after its first evaluation.
    let results = step(&mut models, &[2, 1]);
    assert!(
        results
            .iter()
            .all(|result| result.failed.is_none() && result.evaluations_done == 1)
    );
    let Outcome::Saved(saved) = ask(&mut models, Verb::Save(1)).unwrap() else {
        panic!()
    };
    let restore = Restore {
        generation: 4,
        model: starter(),
        saved,
    };
    let Outcome::Started(restored) = ask(&mut models, Verb::Restore(restore)).unwrap() else {
        panic!()
    };
    assert_eq!((restored.evaluations_done, restored.restarted), (1, None));
    while !step(&mut models, &[2, 1])[0].is_done {}
    while !step(&mut models, &[3])[0].is_done {}
    while !step(&mut models, &[4])[0].is_done {}
    let Outcome::Previewed(preview) = ask(&mut models, Verb::Preview(1)).unwrap() else {
        panic!()
    };
    let preview = preview.preview;
    assert!(preview.png.starts_with(b"\x89PNG") && preview.width_px > 0);
    // 1 is decoded piece by piece, 3 in part, the others by finish alone.
    let mut pieces = 1;
    while !decode(&mut models, 1) {
        pieces += 1;
    }
    assert!(pieces > 5, "{pieces}");
    assert!(!decode(&mut models, 3));
    let png = v1::ImageFormat::Png;
    let [one, two, three, four] =
        [1, 2, 3, 4].map(|generation| finish(&mut models, generation, png));
    assert!(one.bytes.starts_with(b"\x89PNG"));
    assert_eq!(one.bytes, three.bytes, "batched = single");
    assert_eq!(one.bytes, four.bytes, "restored = straight through");
    assert_ne!(one.bytes, two.bytes, "another seed");
    assert!(one.thumbnail.starts_with(b"\xff\xd8\xff"));
    assert_eq!(one.thumbnail, four.thumbnail);
    assert_ne!(one.thumbnail, two.thumbnail);
    assert_eq!(one.metadata.sha256, hex(&Sha256::digest(&one.bytes)));
    assert!(
        one.metadata.parameters.starts_with("a red apple"),
        "{}",
        one.metadata.parameters
    );
    assert_eq!(
        ask(&mut models, Verb::Save(1)).unwrap_err().reason,
        Reason::Internal,
        "finish forgets"
    );
}

#[test]
fn a_plan_needs_no_loaded_model() {
    let mut models = Models::new(&[]);
    let Verb::Start(request) = start(0, 7) else {
        panic!()
    };
    let Outcome::Planned(planned) = ask(&mut models, Verb::Plan(request)).unwrap() else {
        panic!()
    };
    let settings = planned.settings;
    assert_eq!((settings.width_px, settings.seed), (64, 7));
    assert!(!settings.sampler.is_empty() && planned.evaluation_count >= 2);
    let Outcome::Stats(stats) = ask(&mut models, Verb::Stats(Empty {})).unwrap() else {
        panic!()
    };
    assert_eq!((stats.models, stats.generations), (0, 0));
}

#[test]
fn files_are_of_the_format_asked_for() {
    let mut models = loaded();
    for (generation, format, magic) in [
        (1, v1::ImageFormat::Jpeg, b"\xff\xd8\xff"),
        (2, v1::ImageFormat::Webp, b"RIF"),
    ] {
        ask(&mut models, start(generation, 1)).unwrap();
        while !step(&mut models, &[generation])[0].is_done {}
        let finished = finish(&mut models, generation, format);
        assert!(finished.bytes.starts_with(magic), "{format:?}");
        assert_eq!(finished.metadata.format(), format);
    }
}

#[test]
fn wrong_requests_name_the_field_and_break_nothing() {
    let mut models = loaded();
    let Verb::Start(right) = start(1, 1) else {
        panic!()
    };
    for (field, wrong) in [
        (
            "sampler",
            Start {
                sampler: Some("dpm++2m".into()),
                ..right.clone()
            },
        ),
        (
            "width_px",
            Start {
                width_px: Some(63),
                ..right.clone()
            },
        ),
        (
            "clip_skip",
            Start {
                clip_skip: Some(99),
                ..right.clone()
            },
        ),
    ] {
        for verb in [Verb::Plan(wrong.clone()), Verb::Start(wrong)] {
            let failure = ask(&mut models, verb).unwrap_err();
            assert_eq!(
                (failure.reason, failure.field.as_deref()),
                (Reason::InvalidField, Some(field)),
                "{failure}"
            );
        }
    }
    for ids in [vec![9], vec![1, 1]] {
        ask(&mut models, start(1, 1)).unwrap();
        ask(&mut models, Verb::Step(Generations { ids })).unwrap_err();
    }
    ask(&mut models, Verb::Unload(starter())).unwrap();
    assert_eq!(
        ask(&mut models, start(1, 1)).unwrap_err().reason,
        Reason::Internal
    );
}

#[test]
fn models_that_are_not_there_are_not_found() {
    let mut models = Models::new(&[]);
    let nowhere = ModelKey {
        config: None,
        parts: Vec::new(),
        directory: Some("/nonexistent".into()),
        ..starter()
    };
    for key in [
        nowhere,
        ModelKey {
            config: None,
            parts: Vec::new(),
            directory: None,
            ..starter()
        },
    ] {
        for verb in [Verb::Load(key.clone()), Verb::Inspect(key)] {
            let failure = ask(&mut models, verb).unwrap_err();
            assert_eq!(
                (failure.reason, failure.field.as_deref()),
                (Reason::ModelNotFound, Some("model"))
            );
        }
    }
    let Outcome::Inspected(model) = ask(&mut models, Verb::Inspect(starter())).unwrap() else {
        panic!()
    };
    assert_eq!(
        (model.name.as_str(), model.prompt_positions),
        ("starter", 40)
    );
    assert_eq!(model.defaults.unwrap().num_inference_steps, 14);
}
