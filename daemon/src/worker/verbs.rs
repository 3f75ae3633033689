//! The supervisor's side of a worker, verb by verb.

use imgd_proto::{Failure, v1};
use prost::bytes::Bytes;
use tokio::sync::watch;

use super::{
    handle::{Timed, Worker},
    wire::{
        Empty, Finish, Finished, Generations, Loaded, ModelKey, Outcome, Planned, Previewed,
        Restore, Start, Started, Stats, Stepped, Verb,
    },
};

impl Worker {
    /// Loads a model. `progress` follows the share that is read.
    pub(crate) async fn load(
        &self,
        model: ModelKey,
        progress: watch::Sender<f64>,
    ) -> Result<Timed<Loaded>, Failure> {
        self.ask(Verb::Load(model), Some(progress), |outcome| match outcome {
            Outcome::Loaded(loaded) => Some(loaded),
            _ => None,
        })
        .await
    }

    /// Describes a model from its configuration and headers.
    pub(crate) async fn inspect(&self, model: ModelKey) -> Result<Timed<v1::Model>, Failure> {
        self.ask(Verb::Inspect(model), None, |outcome| match outcome {
            Outcome::Inspected(model) => Some(model),
            _ => None,
        })
        .await
    }

    /// Begins a picture.
    pub(crate) async fn start(&self, start: Start) -> Result<Timed<Started>, Failure> {
        self.ask(Verb::Start(start), None, |outcome| match outcome {
            Outcome::Started(started) => Some(started),
            _ => None,
        })
        .await
    }

    /// One network evaluation for each of the generations; one result for each, in order.
    pub(crate) async fn step(&self, ids: Vec<u64>) -> Result<Timed<Stepped>, Failure> {
        let count = ids.len();
        self.ask(
            Verb::Step(Generations { ids }),
            None,
            |outcome| match outcome {
                Outcome::Stepped(stepped) if stepped.results.len() == count => Some(stepped),
                _ => None,
            },
        )
        .await
    }

    /// A small picture of a generation's state.
    pub(crate) async fn preview(&self, generation: u64) -> Result<Timed<Previewed>, Failure> {
        self.ask(Verb::Preview(generation), None, |outcome| match outcome {
            Outcome::Previewed(preview) => Some(preview),
            _ => None,
        })
        .await
    }

    /// One piece of a picture's decoding; whether it was the last.
    pub(crate) async fn decode(&self, generation: u64) -> Result<Timed<bool>, Failure> {
        self.ask(Verb::Decode(generation), None, |outcome| match outcome {
            Outcome::Decoded(is_done) => Some(is_done),
            _ => None,
        })
        .await
    }

    /// What would be made of a request.
    pub(crate) async fn plan(&self, request: Start) -> Result<Timed<Planned>, Failure> {
        self.ask(Verb::Plan(request), None, |outcome| match outcome {
            Outcome::Planned(planned) => Some(planned),
            _ => None,
        })
        .await
    }

    /// Makes the picture's file and forgets the generation.
    pub(crate) async fn finish(&self, finish: Finish) -> Result<Timed<Finished>, Failure> {
        self.ask(Verb::Finish(finish), None, |outcome| match outcome {
            Outcome::Finished(finished) => Some(finished),
            _ => None,
        })
        .await
    }

    /// A generation's state as bytes.
    pub(crate) async fn save(&self, generation: u64) -> Result<Timed<Bytes>, Failure> {
        self.ask(Verb::Save(generation), None, |outcome| match outcome {
            Outcome::Saved(bytes) => Some(bytes),
            _ => None,
        })
        .await
    }

    /// Goes on with a saved generation.
    pub(crate) async fn restore(&self, restore: Restore) -> Result<Timed<Started>, Failure> {
        self.ask(Verb::Restore(restore), None, |outcome| match outcome {
            Outcome::Started(started) => Some(started),
            _ => None,
        })
        .await
    }

    /// Forgets a generation.
    pub(crate) async fn drop_generation(&self, generation: u64) -> Result<Timed<()>, Failure> {
        self.ask(Verb::Drop(generation), None, |outcome| match outcome {
            Outcome::Done(Empty {}) => Some(()),
            _ => None,
        })
        .await
    }

    /// Frees a model.
    pub(crate) async fn unload(&self, model: ModelKey) -> Result<Timed<()>, Failure> {
        self.ask(Verb::Unload(model), None, |outcome| match outcome {
            Outcome::Done(Empty {}) => Some(()),
            _ => None,
        })
        .await
    }

    /// What it holds.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests' view into a worker"))]
    pub(crate) async fn stats(&self) -> Result<Timed<Stats>, Failure> {
        self.ask(Verb::Stats(Empty {}), None, |outcome| match outcome {
            Outcome::Stats(stats) => Some(stats),
            _ => None,
        })
        .await
    }
}
