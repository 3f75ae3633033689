//! Any calls in any order leave what a simple model says, in this life and after each restart.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const JOBS: u32 = 5;
const IMAGES: u32 = 3;

#[derive(Debug, Clone)]
enum Call {
    Insert(u32),
    Update(u32, JobState),
    Save(u32, u32, u32),
    Finish(u32, u32, u32),
    Fail(u32, u32),
    Hold(u32, u32, u32),
    Choose(u32, u32),
    Reopen(u32),
    Delete(u32),
    Restart,
}

fn call() -> impl Strategy<Value = Call> {
    let job = || 0..JOBS;
    let image = || 0..IMAGES;
    let states = [
        JobState::Queued,
        JobState::Running,
        JobState::Paused,
        JobState::Succeeded,
        JobState::Failed,
        JobState::Cancelled,
    ];
    prop_oneof![
        4 => job().prop_map(Call::Insert),
        2 => (job(), prop::sample::select(states.to_vec())).prop_map(|(job, to)| Call::Update(job, to)),
        4 => (job(), image(), 0..9_u32).prop_map(|(job, at, done)| Call::Save(job, at, done)),
        4 => (job(), image(), 0..4_u32).prop_map(|(job, at, which)| Call::Finish(job, at, which)),
        1 => (job(), image()).prop_map(|(job, at)| Call::Fail(job, at)),
        2 => (job(), image(), 0..9_u32).prop_map(|(job, at, done)| Call::Hold(job, at, done)),
        1 => (job(), 0..27_u32).prop_map(|(job, choice)| Call::Choose(job, choice)),
        1 => job().prop_map(Call::Reopen),
        1 => job().prop_map(Call::Delete),
        1 => Just(Call::Restart),
    ]
}

/// A job as the model has it.
#[derive(Debug, Clone)]
struct Job {
    record: Record,
    images: BTreeMap<u32, (ImageState, u32)>,
    /// Evaluations done, and whether it is held.
    generations: BTreeMap<u32, (u32, bool)>,
}

impl Job {
    fn settle(&mut self, index: u32, state: ImageState, picture: u32) {
        let entry = self.images.entry(index).or_insert((state, picture));
        if entry.0 != ImageState::Done {
            *entry = (state, picture);
        }
        if state != ImageState::Held {
            self.generations.remove(&index);
        }
    }

    fn written(&mut self) {
        if self.record.is_final() {
            self.generations.retain(|_, (_, is_held)| *is_held);
        }
    }
}

/// Jobs in order of submission.
#[derive(Default)]
struct Model(Vec<Job>);

/// Jobs `n` and `n + 3` have the same key.
fn new_job(number: u32) -> Record {
    Record {
        submit_key: Some(format!("key-{}", number % 3)),
        ..record(number, IMAGES)
    }
}

/// Which pictures a number from 0 to 26 keeps and drops: a digit of base 3 for each.
fn choice(mut number: u32) -> (Vec<u32>, Vec<u32>) {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for index in 0..IMAGES {
        match number % 3 {
            1 => kept.push(index),
            2 => dropped.push(index),
            _ => {}
        }
        number /= 3;
    }
    (kept, dropped)
}

impl Model {
    fn job(&mut self, number: u32) -> Option<&mut Job> {
        let id = record(number, IMAGES).id;
        self.0.iter_mut().find(|job| job.record.id == id)
    }

    async fn insert(&mut self, journal: &Journal, number: u32) {
        let record = new_job(number);
        let there = self
            .0
            .iter()
            .find(|job| job.record.submit_key == record.submit_key);
        let expected = there.map_or(Inserted::New, |job| {
            Inserted::Existed(Box::new(job.record.clone()))
        });
        let inserted = journal.insert(record.clone()).await.unwrap();
        assert_eq!(inserted, expected);
        if inserted == Inserted::New {
            self.0.push(Job {
                record,
                images: BTreeMap::new(),
                generations: BTreeMap::new(),
            });
        }
    }

    /// Makes the call of journal and model; whether the job is there decides whether it succeeds.
    async fn call(&mut self, journal: &Journal, call: &Call) {
        let number = match *call {
            Call::Insert(number) => return self.insert(journal, number).await,
            Call::Restart => return,
            Call::Update(number, _)
            | Call::Save(number, ..)
            | Call::Finish(number, ..)
            | Call::Fail(number, _)
            | Call::Hold(number, ..)
            | Call::Choose(number, _)
            | Call::Reopen(number)
            | Call::Delete(number) => number,
        };
        let missing = Job {
            record: new_job(number),
            images: BTreeMap::new(),
            generations: BTreeMap::new(),
        };
        let mut job = self.job(number).cloned().unwrap_or(missing);
        let answer = match *call {
            Call::Update(_, state) => {
                job.record.state = state;
                job.record.finished = job.record.is_final().then_some(UNIX_EPOCH);
                journal.update(job.record.clone())
            }
            Call::Save(_, index, done) => {
                job.generations.insert(index, (done, false));
                journal.save_generation(&job.record.id, saved(index, done, 100))
            }
            Call::Finish(_, index, which) => {
                job.settle(index, ImageState::Done, which);
                journal.finish_image(job.record.clone(), index, image(which, 200))
            }
            Call::Fail(_, index) => {
                job.settle(index, ImageState::Failed, 0);
                journal.fail_image(job.record.clone(), index, problem())
            }
            Call::Hold(_, index, done) => {
                job.settle(index, ImageState::Held, 0);
                if job.images[&index].0 == ImageState::Held {
                    job.generations.insert(index, (done, true));
                }
                journal.hold_image(job.record.clone(), saved(index, done, 100))
            }
            Call::Choose(_, number) => {
                let (kept, dropped) = choice(number);
                for index in &kept {
                    if job
                        .images
                        .get(index)
                        .is_some_and(|(state, _)| *state == ImageState::Held)
                    {
                        job.images.remove(index);
                    }
                    if let Some((_, is_held)) = job.generations.get_mut(index) {
                        *is_held = false;
                    }
                }
                for &index in &dropped {
                    job.settle(index, ImageState::Dropped, 0);
                }
                journal.choose_images(job.record.clone(), kept, dropped)
            }
            Call::Reopen(_) => {
                job.record.state = JobState::Queued;
                job.record.finished = None;
                job.images
                    .retain(|_, (state, _)| *state != ImageState::Failed);
                journal.reopen(job.record.clone())
            }
            Call::Delete(_) => journal.delete(&job.record.id),
            Call::Insert(_) | Call::Restart => return,
        };
        let answer = answer.await;
        let Some(there) = self.job(number) else {
            assert_eq!(answer.unwrap_err().reason, imgd_proto::Reason::JobNotFound);
            return;
        };
        answer.unwrap();
        if matches!(call, Call::Delete(_)) {
            self.0.retain(|left| left.record.id != job.record.id);
            return;
        }
        if !matches!(call, Call::Save(..)) {
            job.written();
        }
        *there = job;
    }

    /// What is found after a restart.
    fn recovered(&mut self) -> Vec<Recorded> {
        let mut found = Vec::new();
        for job in &mut self.0 {
            let is_final = job.record.is_final();
            let Job {
                record,
                images,
                generations,
            } = job;
            generations
                .retain(|index, (_, is_held)| *is_held || !is_final && !images.contains_key(index));
            if is_final {
                continue;
            }
            let mut outcomes = Outcomes::default();
            for (&index, &(state, _)) in images.iter() {
                outcomes.push(index, state);
            }
            let mut record = record.clone();
            record.images_done = outcomes.count(ImageState::Done);
            record.images_failed = outcomes.count(ImageState::Failed);
            record.images_held = outcomes.count(ImageState::Held);
            record.images_dropped = outcomes.count(ImageState::Dropped);
            let saved = generations
                .iter()
                .filter(|(_, (_, is_held))| !is_held)
                .map(|(&index, &(done, _))| saved(index, done, 100))
                .collect();
            found.push(Recorded {
                record,
                images: outcomes,
                saved,
            });
        }
        found
    }

    fn pictures(&self) -> BTreeSet<u32> {
        let images = self.0.iter().flat_map(|job| job.images.values());
        images
            .filter(|(state, _)| *state == ImageState::Done)
            .map(|&(_, picture)| picture)
            .collect()
    }
}

async fn check(calls: &[Call]) {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path());
    let mut model = Model::default();
    for call in calls.iter().chain([&Call::Restart]) {
        model.call(&journal, call).await;
        if !matches!(call, Call::Restart) {
            continue;
        }
        journal.close().await.unwrap();
        let recovered;
        (journal, recovered) = open(directory.path());
        assert_eq!(recovered.jobs, model.recovered());
        let (listed, _) = journal.list(&[], "", 0, "").await.unwrap();
        let newest_first: Vec<_> = model.0.iter().rev().map(|job| job.record.clone()).collect();
        assert_eq!(listed, newest_first);
        assert_eq!(in_library(directory.path()), 2 * model.pictures().len());
        for job in &model.0 {
            for (&index, &(state, which)) in &job.images {
                if state == ImageState::Done {
                    let found = journal.picture(&job.record.id, index, false).await;
                    assert_eq!(found.unwrap().0, image(which, 200).bytes);
                }
            }
        }
    }
    journal.close().await.unwrap();
    assert_eq!(integrity(directory.path()), "ok");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_calls_leave_what_the_model_says(calls in prop::collection::vec(call(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&calls));
    }
}
