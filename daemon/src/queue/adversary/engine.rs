//! The simulated engine: carries decisions out, and refuses those that break a law.

use std::{collections::BTreeSet, time::Duration};

use super::{
    laws::WORKING_PER_PIXEL,
    world::{MEMORY, Picture, World, number},
};
use crate::{
    engine::{GenerationId, ModelKey},
    queue::{
        Beginning, Class, Fingerprint, Group, JobId, Known, Progress, Resident, Stage, Tick,
        WorkerState,
    },
};

/// Memory that the weights of each model take, in bytes. The last one fits nowhere.
const WEIGHTS: [u64; 5] = [100, 300, 500, 850, 2000];

/// Stages of the simulated decoder.
const DECODER_STAGES: u32 = 3;

impl World {
    pub(super) fn carry_out(&mut self, tick: Tick) -> Result<bool, String> {
        match tick {
            Tick::Wait { until } => return self.wait(until),
            Tick::StartWorker => {
                if matches!(self.state.worker, WorkerState::Present { .. }) {
                    return Err("a second worker was started".to_owned());
                }
                self.state.worker_started(self.now);
            }
            Tick::EndWorker => {
                if self.state.in_flight().next().is_some() {
                    return Err("a worker with pictures in flight was ended".to_owned());
                }
                self.state.worker_gone(None);
            }
            Tick::Forget(generation) => self.forget(generation)?,
            Tick::Inspect(key) => self.inspect(key),
            Tick::Look(id) => {
                let files = self.files;
                let job = self.state.job_mut(id).ok_or("no such job")?;
                let found = Fingerprint(files[number(&job.model)]);
                if job.fingerprint.replace(found) == Some(found) {
                    return Err("looked twice".to_owned());
                }
                job.is_running = true;
            }
            Tick::Unload(key) => {
                if self.state.in_flight().any(|(job, _)| job.model == key) {
                    return Err("a model with a picture in flight was unloaded".to_owned());
                }
                if self.state.resident(&key).is_none() {
                    return Err("a model that is not there was unloaded".to_owned());
                }
                self.state.unloaded(&key);
            }
            Tick::Load(id) => self.load(id)?,
            Tick::Refuse {
                job,
                need_bytes,
                have_bytes,
            } => {
                if need_bytes <= have_bytes {
                    return Err("what fits was refused".to_owned());
                }
                let refused = self.state.job(job).ok_or("no such job")?;
                let needs = WEIGHTS[number(&refused.model)] + self.working_bytes(refused);
                if !self.has_shrunk && needs <= MEMORY {
                    return Err(format!("{needs} of {MEMORY} bytes were refused"));
                }
                if refused.images.is_empty() {
                    self.remove(job);
                } else {
                    self.cancel(job);
                }
            }
            Tick::Complete(id) => {
                let job = self.state.job(id).ok_or("no such job")?;
                if job.images_left > 0 || !job.images.is_empty() {
                    return Err("a job was complete too early".to_owned());
                }
                if job.only_loads {
                    let model = job.model.clone();
                    self.loads.remove(&model);
                }
                self.remove(id);
            }
            Tick::Begin(id) => self.begin(id)?,
            Tick::Step(generations) => self.step(&generations)?,
            Tick::Decode(generation) => self.decode(generation)?,
            Tick::Finish(generation) => {
                let (_, image) = self.may_compute(generation)?;
                if image.stage != Stage::Decoded {
                    return Err("a picture without pixels was finished".to_owned());
                }
                self.now += Duration::from_millis(20);
                self.end(generation);
            }
            Tick::Save(generation) => {
                let (_, image) = self.may_compute(generation)?;
                if !image.is_save_due {
                    return Err("a save that was not due".to_owned());
                }
                self.now += Duration::from_millis(5);
                self.state.save_due(generation, false);
            }
            Tick::Park(generation) => self.park(generation)?,
            Tick::Hold(generation) => {
                let image = self.state.image(generation).ok_or("nobody's picture")?;
                if !image.is_hold_due {
                    return Err("held too early".to_owned());
                }
                self.end(generation);
            }
        }
        Ok(true)
    }

    pub(super) fn inspect(&mut self, key: ModelKey) {
        self.now += Duration::from_millis(2);
        self.state.inquiries.retain(|model| *model != key);
        let known = Known {
            fingerprint: Fingerprint(self.files[number(&key)]),
            weights_bytes: WEIGHTS[number(&key)],
            working_bytes_per_pixel: WORKING_PER_PIXEL,
            width_px: 8,
            height_px: 8,
        };
        // What was found is what the job will load: the files are looked at once more.
        for job in self.state.jobs.iter_mut() {
            if job.model == key && job.images.is_empty() && job.fingerprint.is_some() {
                job.fingerprint = Some(known.fingerprint);
            }
        }
        self.state.known.insert(key, known);
    }

    pub(super) fn load(&mut self, id: JobId) -> Result<(), String> {
        let job = self.state.job(id).ok_or("no such job")?;
        let (key, keep_alive) = (job.model.clone(), job.keep_alive);
        if self.state.resident(&key).is_some() {
            return Err("a model was loaded twice".to_owned());
        }
        // Once in vain is bad luck: somebody's turn came while it was loaded.
        let in_vain = self.loads.entry(key.clone()).or_default();
        *in_vain = match *in_vain {
            (event, count) if event == self.events => (event, count + 1),
            _ => (self.events, 1),
        };
        if in_vain.1 > 2 {
            return Err(format!(
                "a model was loaded again and again and never used: {:?}",
                self.last
            ));
        }
        self.load_count += 1;
        self.now += self.load_time;
        let resident = Resident {
            memory_bytes: WEIGHTS[number(&key)],
            fingerprint: job.fingerprint.ok_or("loaded without a look")?,
            key,
            used: self.now,
            keep_alive,
            is_unwanted: false,
        };
        self.state.loaded(resident, self.load_time);
        self.check_memory(0, &[])
    }

    pub(super) fn begin(&mut self, id: JobId) -> Result<(), String> {
        let job = self.state.job(id).ok_or("no such job")?;
        let resident = self
            .state
            .resident(&job.model)
            .ok_or("begun without its model")?;
        if Some(resident.fingerprint) != job.fingerprint {
            return Err("begun with files that were changed".to_owned());
        }
        if job.is_cancelled || job.is_paused || job.is_blocked {
            return Err("a picture was begun that may not be".to_owned());
        }
        let working = self.working_bytes(job);
        let (side, count) = (job.width_px.unwrap_or(8), 1 + (id.0 % 5) as u32);
        let is_guided = self.guided.contains(&id);
        let waiting = self.waiting.get_mut(&id).ok_or("no such job")?;
        let index = waiting.pop_first().ok_or("more pictures than asked for")?;
        let done = self.parked.remove(&(id, index)).unwrap_or(0);
        self.check_memory(working, &[])?;
        self.next += 1;
        let generation = GenerationId(self.next);
        let group = Group {
            width_px: side,
            height_px: side,
            is_guided,
            adapters: 0,
        };
        let beginning = Beginning {
            generation,
            index,
            evaluations_done: done,
            evaluation_count: count,
            group,
            second: None,
            alone_until: 0,
        };
        self.now += Duration::from_millis(50);
        let picture = Picture {
            decoded: 0,
            is_guided,
        };
        self.pictures.insert(generation, picture);
        self.state.begun(id, beginning, self.now);
        Ok(())
    }

    pub(super) fn step(&mut self, generations: &[GenerationId]) -> Result<(), String> {
        let distinct: BTreeSet<_> = generations.iter().collect();
        if generations.is_empty() || distinct.len() != generations.len() {
            return Err("an evaluation of nobody or of one twice".to_owned());
        }
        let mut working = 0;
        let mut first = None;
        let mut progress = Vec::new();
        for generation in generations {
            let (job, image) = self.may_compute(*generation)?;
            if image.stage != Stage::Denoising {
                return Err("an evaluation too many".to_owned());
            }
            let is_guided = self.pictures[generation].is_guided;
            let kind = (job.model.clone(), job.width_px, is_guided);
            if first.get_or_insert_with(|| kind.clone()) != &kind {
                return Err("what cannot share an evaluation did".to_owned());
            }
            working += self.working_bytes(job);
            let done = image.evaluations_done + 1;
            progress.push(Progress {
                generation: *generation,
                evaluations_done: done,
                inference_step: done,
                is_done: done == image.evaluation_count,
            });
        }
        self.check_memory(working, generations)?;
        let took = Duration::from_millis(60 + 40 * u64::try_from(generations.len()).unwrap());
        self.now += took;
        for generation in generations {
            let (job, image) = self.may_compute(*generation)?;
            let (picture, model, class) = ((job.id, image.index), job.model.clone(), job.class);
            let group = image.group.ok_or("no group")?;
            self.parks.remove(&picture);
            self.loads.remove(&model);
            self.served.insert(class, self.now);
            if *generation == generations[0] {
                let count = u32::try_from(generations.len()).unwrap();
                let seconds = took.as_secs_f64();
                self.state.curves.measured(&model, group, count, seconds);
            }
        }
        self.state.stepped(&progress, self.now);
        Ok(())
    }

    pub(super) fn decode(&mut self, generation: GenerationId) -> Result<(), String> {
        let (job, image) = self.may_compute(generation)?;
        if !matches!(image.stage, Stage::Denoised | Stage::Decoding) {
            return Err("decoded too early or too late".to_owned());
        }
        if job.is_blocked && image.stage == Stage::Denoised {
            return Err("a picture was decoded that nobody takes".to_owned());
        }
        let (model, working) = (job.model.clone(), self.working_bytes(job));
        let picture = (job.id, image.index);
        self.check_memory(working, &[generation])?;
        self.parks.remove(&picture);
        self.loads.remove(&model);
        self.now += Duration::from_millis(100);
        let held = self
            .pictures
            .get_mut(&generation)
            .ok_or("nobody's picture")?;
        held.decoded += 1;
        let is_done = held.decoded == DECODER_STAGES;
        self.state.decoded(generation, is_done, self.now);
        Ok(())
    }

    pub(super) fn park(&mut self, generation: GenerationId) -> Result<(), String> {
        let job = self.state.job_of(generation).ok_or("nobody's picture")?;
        let image = *job.image(generation).ok_or("nobody's picture")?;
        let picture = (job.id, image.index);
        let waits = job.is_paused
            || (job.class == Class::Background && self.state.background.blocked.is_some());
        if job.is_cancelled {
            return Err("a cancelled picture was saved".to_owned());
        }
        if self.parks.insert(picture, self.events) == Some(self.events) && !waits {
            return Err(format!(
                "parked again without an evaluation: {:?}",
                self.last
            ));
        }
        self.now += Duration::from_millis(5);
        self.parked.insert(picture, image.evaluations_done);
        self.waiting.entry(picture.0).or_default().insert(picture.1);
        self.pictures.remove(&generation);
        let back = self.state.returned(generation).ok_or("nobody's picture")?;
        if back.job != picture.0 || back.evaluations_done != image.evaluations_done {
            return Err("another picture came back".to_owned());
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, generation: GenerationId) -> Result<(), String> {
        let job = self.state.job_of(generation).ok_or("nobody's picture")?;
        let is_failed = job.image(generation).is_some_and(|image| image.is_failed);
        if !job.is_cancelled && !is_failed {
            return Err("a picture that somebody wants was forgotten".to_owned());
        }
        self.end(generation);
        Ok(())
    }

    pub(super) fn end(&mut self, generation: GenerationId) {
        self.pictures.remove(&generation);
        if let Some(id) = self.state.ended(generation)
            && let Some(job) = self.state.job(id)
            && job.is_cancelled
            && job.images.is_empty()
        {
            self.remove(id);
        }
    }
}
