//! A backend without an engine, for tests. Names of models make it misbehave: `abort`, `panic`, `exit`, `hang`, `slow`,
//! `missing`; `surroundings` describes the process instead of a model.

use std::{collections::BTreeMap, thread, time::Duration};

use imgd_proto::{Failure, Reason, v1};

use super::{
    process::{Backend, Progress},
    wire::{
        Empty, Finished, Loaded, Outcome, Planned, Previewed, Started, Stats, StepResult, Stepped,
        Verb,
    },
};
use crate::sandbox::Report;

/// Evaluations of every generation.
pub(crate) const EVALUATIONS: u32 = 4;

/// See the file's words.
#[derive(Default)]
pub(crate) struct Fake {
    /// Evaluations done, by generation.
    generations: BTreeMap<u64, u32>,
    /// Generations of which the first of two pieces is decoded.
    decoding: Vec<u64>,
    /// What the process had when it started: `env:NAME` and `fd:NUMBER`.
    surroundings: Vec<String>,
}

impl Fake {
    /// A fake that knows what its process had when it started.
    pub(crate) fn in_process(surroundings: Vec<String>) -> Self {
        Self {
            surroundings,
            ..Self::default()
        }
    }
}

impl Backend for Fake {
    fn answer(&mut self, verb: Verb, progress: Progress) -> Result<Outcome, Failure> {
        match verb {
            Verb::Load(key) => {
                misbehave(&key.name);
                for part in 0..=10 {
                    progress(f64::from(part) / 10.0);
                    if key.name == "slow" {
                        thread::sleep(Duration::from_millis(40));
                    }
                }
                if key.name == "missing" {
                    return Err(
                        Failure::new(Reason::ModelNotFound, "there is no such model")
                            .with_field("model"),
                    );
                }
                Ok(Outcome::Loaded(Loaded {
                    model_hash: "00".into(),
                    memory_bytes: 1,
                    threads: 1,
                    foreign_variables: 0,
                    core_dumps_are_off: true,
                    sandbox: Report::default(),
                }))
            }
            Verb::Inspect(key) => {
                let surroundings = self
                    .surroundings
                    .iter()
                    .filter(|_| key.name == "surroundings");
                let component = |name: &String| v1::ModelComponent {
                    name: name.clone(),
                    ..Default::default()
                };
                let components = surroundings.map(component).collect();
                Ok(Outcome::Inspected(v1::Model {
                    name: key.name,
                    components,
                    ..Default::default()
                }))
            }
            Verb::Start(start) => {
                self.generations.insert(start.generation, 0);
                Ok(Outcome::Started(Started {
                    evaluation_count: EVALUATIONS,
                    ..Default::default()
                }))
            }
            Verb::Step(generations) => {
                let results = generations
                    .ids
                    .iter()
                    .map(|id| match self.generations.get_mut(id) {
                        Some(done) => {
                            *done += 1;
                            let is_done = *done == EVALUATIONS;
                            StepResult {
                                evaluations_done: *done,
                                inference_step: *done,
                                is_done,
                                ..Default::default()
                            }
                        }
                        None => StepResult {
                            failed: Some(
                                Failure::new(Reason::Internal, "no such generation").into(),
                            ),
                            ..Default::default()
                        },
                    });
                Ok(Outcome::Stepped(Stepped {
                    results: results.collect(),
                }))
            }
            Verb::Preview(_) => Ok(Outcome::Previewed(Previewed::default())),
            Verb::Finish(finish) => {
                self.generations.remove(&finish.generation);
                let bytes = vec![7; 3_000_000].into();
                Ok(Outcome::Finished(Finished {
                    bytes,
                    metadata: v1::ImageMetadata::default(),
                    thumbnail: vec![8; 10].into(),
                }))
            }
            Verb::Save(id) => Ok(Outcome::Saved(id.to_le_bytes().to_vec().into())),
            Verb::Restore(restore) => {
                self.generations.insert(restore.generation, 1);
                let evaluations_done = 1;
                Ok(Outcome::Started(Started {
                    evaluation_count: EVALUATIONS,
                    evaluations_done,
                    ..Default::default()
                }))
            }
            Verb::Drop(id) => {
                self.generations.remove(&id);
                Ok(Outcome::Done(Empty {}))
            }
            Verb::Decode(id) => {
                let is_done = self.decoding.contains(&id);
                self.decoding.push(id);
                Ok(Outcome::Decoded(is_done))
            }
            Verb::Plan(_) => Ok(Outcome::Planned(Planned {
                settings: v1::Settings::default(),
                evaluation_count: EVALUATIONS,
            })),
            Verb::Unload(_) => Ok(Outcome::Done(Empty {})),
            Verb::Stats(Empty {}) => {
                let generations = u32::try_from(self.generations.len()).unwrap();
                Ok(Outcome::Stats(Stats {
                    models: 0,
                    generations,
                    resident_bytes: 1,
                    threads: 1,
                }))
            }
        }
    }
}

fn misbehave(name: &str) {
    match name {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "panic" => panic!("a canary prompt"),
        "hang" => thread::sleep(Duration::from_secs(3600)),
        _ => {}
    }
}
