//! The simulated house: carries decisions out on the state by a clock of its own, and lets things happen meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    laws::Laws,
    machine::{DECODER_PIECES, Machine, SIZES},
};
use crate::{
    engine::GenerationId,
    keep_alive::KeepAlive,
    queue::{
        Background, Beginning, Class, ClientId, Fingerprint, Group, Job, JobId, Progress, Resident,
        State, Tick, WorkerState, pick,
    },
};

/// More decisions than any pattern needs.
const MAX_DECISIONS: u32 = 100_000;

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) class: Class,
    pub(super) client: u32,
    pub(super) model: usize,
    pub(super) size: usize,
    /// None: only load the model.
    pub(super) images: u32,
    pub(super) evaluations: u32,
    pub(super) stay_secs: u64,
    pub(super) hold_after: Option<u32>,
}

/// What happens from outside; jobs are named by the order in which they came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening {
    Arrival(Ask),
    Cancellation(usize),
    Pause(usize),
    Resumption(usize),
    /// The reader is behind, or has caught up.
    Reader(usize, bool),
    /// Background work may not be done, or may.
    Background(bool),
    Death,
}

/// A picture that is not done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Picture {
    pub(super) done: u32,
    pub(super) saved: u32,
    /// The most evaluations it ever had.
    pub(super) most: u32,
    /// Evaluations that deaths have cost it, to be made again.
    pub(super) lost: u32,
    pub(super) pieces: u32,
}

#[derive(Debug)]
struct Papers {
    ask: Ask,
    /// Pictures to begin.
    waiting: BTreeSet<u32>,
}

/// What came of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) arrived: Instant,
    pub(super) first_step: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

pub(super) struct House {
    pub(super) machine: Machine,
    pub(super) state: State,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) pictures: BTreeMap<(JobId, u32), Picture>,
    pub(super) lives: BTreeMap<JobId, Life>,
    pub(super) loads: u32,
    pub(super) evaluations: u32,
    papers: BTreeMap<JobId, Papers>,
    happenings: Vec<(Instant, Happening)>,
    save_interval: Duration,
    saved: BTreeMap<GenerationId, Instant>,
    next: u64,
    laws: Laws,
}

impl House {
    /// `happenings`: each so long after the one before.
    pub(super) fn new(
        machine: Machine,
        save_interval: Duration,
        happenings: &[(Duration, Happening)],
    ) -> Self {
        let start = Instant::now();
        let mut moment = start;
        let mut timed: Vec<_> = happenings
            .iter()
            .map(|(after, happening)| {
                moment += *after;
                (moment, *happening)
            })
            .collect();
        timed.reverse();
        Self {
            laws: Laws::new(start),
            machine,
            state: State::new(),
            start,
            now: start,
            pictures: BTreeMap::new(),
            lives: BTreeMap::new(),
            loads: 0,
            evaluations: 0,
            papers: BTreeMap::new(),
            happenings: timed,
            save_interval,
            saved: BTreeMap::new(),
            next: 0,
        }
    }

    /// Runs until nothing happens and nothing is left to do; fails when a law is broken.
    pub(super) fn run(&mut self) -> Result<(), String> {
        for _ in 0..MAX_DECISIONS {
            while self.happen_until(self.now, None)? {}
            let taken: u64 = self
                .state
                .models
                .iter()
                .map(|model| model.memory_bytes)
                .sum();
            self.state.available_bytes = self
                .machine
                .memory_bytes
                .checked_sub(taken)
                .ok_or("models take more memory than there is")?;
            let tick = pick(&self.state, self.now);
            let mut laws = std::mem::take(&mut self.laws);
            let lawful = laws.check(self, &tick);
            self.laws = laws;
            lawful.map_err(|broken| format!("{tick:?}: {broken}"))?;
            self.state.decided(&tick, self.now);
            if let Tick::Wait { until } = tick {
                let next = self.happenings.last().map(|(moment, _)| *moment);
                let Some(moment) = until.into_iter().chain(next).min() else {
                    return self.rest();
                };
                if moment <= self.now {
                    return Err("waiting for a moment that is over".to_owned());
                }
                self.now = moment;
                continue;
            }
            let end = self.now + self.takes(&tick);
            if self.happen_until(end, Some(&tick))? {
                continue;
            }
            self.now = end;
            self.done(&tick)?;
        }
        Err("the work does not end".to_owned())
    }

    fn rest(&self) -> Result<(), String> {
        match self.state.jobs.first() {
            Some(job) => Err(format!("{:?} waits for ever", job.id)),
            None => Ok(()),
        }
    }

    fn takes(&self, tick: &Tick) -> Duration {
        let millis = Duration::from_millis;
        let of = |generation: &GenerationId, generations: u32| {
            let job = self.state.job_of(*generation).unwrap();
            let side_px = self
                .state
                .image(*generation)
                .unwrap()
                .group
                .unwrap()
                .width_px;
            self.machine.step(&job.model, side_px, generations)
        };
        match tick {
            Tick::StartWorker | Tick::EndWorker | Tick::Unload(_) => millis(50),
            Tick::Inspect(_) => millis(10),
            Tick::Load(id) => self.machine.model(&self.state.job(*id).unwrap().model).load,
            Tick::Begin(_) => millis(20),
            Tick::Step(generations) => {
                of(&generations[0], u32::try_from(generations.len()).unwrap())
            }
            Tick::Decode(generation) => of(generation, 1),
            Tick::Finish(_) | Tick::Save(_) | Tick::Park(_) | Tick::Hold(_) => millis(5),
            Tick::Forget(_) | Tick::Look(_) => millis(1),
            Tick::Wait { .. } | Tick::Refuse { .. } | Tick::Complete(_) => Duration::ZERO,
        }
    }

    /// Whatever happens up to that moment, while `tick` is carried out. True when that was the end of the worker.
    fn happen_until(&mut self, end: Instant, tick: Option<&Tick>) -> Result<bool, String> {
        while let Some((moment, happening)) = self.happenings.pop_if(|(moment, _)| *moment <= end) {
            let is_present = matches!(self.state.worker, WorkerState::Present { .. });
            if matches!(happening, Happening::Death) && !is_present {
                continue;
            }
            if matches!(happening, Happening::Death) {
                self.now = moment.max(self.now);
                self.die(tick);
                return Ok(true);
            }
            self.happen(happening, moment, tick)?;
        }
        Ok(false)
    }

    fn happen(
        &mut self,
        happening: Happening,
        moment: Instant,
        tick: Option<&Tick>,
    ) -> Result<(), String> {
        let named = |number: usize| JobId(u64::try_from(number).unwrap() + 1);
        match happening {
            Happening::Arrival(ask) => self.arrive(ask, moment),
            Happening::Cancellation(number) => {
                let id = named(number);
                let begins = tick == Some(&Tick::Begin(id));
                match self.state.job_mut(id) {
                    Some(job) if !job.images.is_empty() || begins => job.is_cancelled = true,
                    Some(_) => self.over(id, moment),
                    None => {}
                }
                self.laws.disturbed(id);
            }
            Happening::Pause(number) | Happening::Resumption(number) => {
                let id = named(number);
                if let Some(job) = self.state.job_mut(id) {
                    job.is_paused = matches!(happening, Happening::Pause(_));
                }
                self.laws.disturbed(id);
            }
            Happening::Reader(number, is_behind) => {
                let id = named(number);
                if let Some(job) = self.state.job_mut(id) {
                    job.is_blocked = is_behind && !job.only_loads;
                }
                self.laws.disturbed(id);
            }
            Happening::Background(is_allowed) => {
                let background = Background {
                    blocked: (!is_allowed).then_some("the machine is in use"),
                    from: None,
                };
                self.state.allow_background(background, moment);
            }
            Happening::Death => return Err("it is not handled here".to_owned()),
        }
        Ok(())
    }

    fn arrive(&mut self, ask: Ask, moment: Instant) {
        let id = JobId(u64::try_from(self.lives.len()).unwrap() + 1);
        let job = Job {
            only_loads: ask.images == 0,
            width_px: Some(SIZES[ask.size]),
            height_px: Some(SIZES[ask.size]),
            class: ask.class,
            client: ClientId(ask.client),
            images_left: ask.images,
            hold_after: ask.hold_after,
            keep_alive: KeepAlive::For(Duration::from_secs(ask.stay_secs)),
            ..Job::new(id, Machine::key(ask.model), moment)
        };
        self.laws.arrived(&self.state, &job);
        self.state.add(job);
        let waiting = (0..ask.images).collect();
        self.papers.insert(id, Papers { ask, waiting });
        let life = Life {
            arrived: moment,
            first_step: None,
            ended: None,
        };
        self.lives.insert(id, life);
    }

    fn die(&mut self, tick: Option<&Tick>) {
        if let Some(Tick::Begin(id)) = tick
            && let Some(job) = self.state.job_mut(*id)
            && job.is_cancelled
        {
            self.over(*id, self.now);
        }
        let retry_at = Some(self.now + Duration::from_millis(100));
        for returned in self.state.worker_gone(retry_at) {
            let key = (returned.job, returned.index);
            let picture = self.pictures.get_mut(&key).unwrap();
            picture.lost += picture.done - picture.saved;
            picture.done = picture.saved;
            picture.pieces = 0;
            let papers = self.papers.get_mut(&returned.job).unwrap();
            papers.waiting.insert(returned.index);
        }
        self.saved.clear();
        self.laws.died();
        let cancelled: Vec<_> = self
            .state
            .jobs
            .iter()
            .filter(|job| job.is_cancelled)
            .map(|job| job.id)
            .collect();
        for id in cancelled {
            self.over(id, self.now);
        }
    }

    fn over(&mut self, id: JobId, moment: Instant) {
        self.state.remove(id, moment);
        self.papers.remove(&id);
        self.pictures.retain(|(job, _), _| *job != id);
        self.lives.get_mut(&id).unwrap().ended = Some(moment);
    }

    /// The call is over.
    fn done(&mut self, tick: &Tick) -> Result<(), String> {
        self.state.worker_used(self.now);
        match tick {
            Tick::Wait { .. } => {}
            Tick::StartWorker => self.state.worker_started(self.now),
            Tick::EndWorker => {
                if !self.state.worker_gone(None).is_empty() {
                    return Err("a worker with pictures in flight was ended".to_owned());
                }
            }
            Tick::Inspect(key) => {
                let known = self.machine.known(key);
                self.state.known.insert(key.clone(), known);
            }
            Tick::Look(id) => {
                if let Some(job) = self.state.job_mut(*id) {
                    job.fingerprint = Some(Fingerprint(0));
                    job.is_running = true;
                }
            }
            Tick::Unload(key) => {
                if self.state.in_flight().any(|(job, _)| job.model == *key) {
                    return Err("a model with pictures in flight was unloaded".to_owned());
                }
                self.state.unloaded(key);
            }
            Tick::Load(id) => self.loaded(*id),
            Tick::Refuse { job, .. } | Tick::Complete(job) => self.over(*job, self.now),
            Tick::Begin(id) => self.begun(*id)?,
            Tick::Step(generations) => self.stepped(generations)?,
            Tick::Decode(generation) => {
                let picture = self.picture(*generation)?;
                picture.pieces += 1;
                let is_done = picture.pieces == DECODER_PIECES;
                self.state.decoded(*generation, is_done, self.now);
            }
            Tick::Save(generation) => {
                let picture = self.picture(*generation)?;
                picture.saved = picture.done;
                self.saved.insert(*generation, self.now);
                self.state.save_due(*generation, false);
            }
            Tick::Park(generation) => {
                let picture = self.picture(*generation)?;
                picture.saved = picture.done;
                picture.pieces = 0;
                let returned = self
                    .state
                    .returned(*generation)
                    .ok_or("nothing was parked")?;
                let papers = self.papers.get_mut(&returned.job).unwrap();
                papers.waiting.insert(returned.index);
                self.over_if_cancelled(returned.job);
            }
            Tick::Finish(generation) | Tick::Hold(generation) | Tick::Forget(generation) => {
                let index = self
                    .state
                    .image(*generation)
                    .ok_or("no such picture")?
                    .index;
                let job = self.state.ended(*generation).ok_or("no such job")?;
                self.pictures.remove(&(job, index));
                self.over_if_cancelled(job);
            }
        }
        Ok(())
    }

    fn over_if_cancelled(&mut self, id: JobId) {
        let job = self.state.job(id);
        if job.is_some_and(|job| job.is_cancelled && job.images.is_empty()) {
            self.over(id, self.now);
        }
    }

    fn loaded(&mut self, id: JobId) {
        self.loads += 1;
        // A job that was cancelled meanwhile had its model loaded all the same, for nobody.
        let Some(job) = self.state.job(id) else {
            return;
        };
        let (key, keep_alive) = (job.model.clone(), job.keep_alive);
        let model = self.machine.model(&key);
        let resident = Resident {
            memory_bytes: model.weights_bytes,
            key,
            fingerprint: Fingerprint(0),
            used: self.now,
            keep_alive,
            is_unwanted: false,
        };
        self.state.loaded(resident, model.load);
    }

    fn begun(&mut self, id: JobId) -> Result<(), String> {
        let Some(papers) = self.papers.get_mut(&id) else {
            return Err("nobody's picture was begun".to_owned());
        };
        let index = papers.waiting.pop_first().ok_or("no picture is left")?;
        let picture = self.pictures.entry((id, index)).or_default();
        picture.pieces = 0;
        self.next += 1;
        let side_px = SIZES[papers.ask.size];
        let beginning = Beginning {
            generation: GenerationId(self.next),
            index,
            evaluations_done: picture.done,
            evaluation_count: papers.ask.evaluations,
            group: Group {
                width_px: side_px,
                height_px: side_px,
                is_guided: false,
                adapters: 0,
            },
            second: None,
            alone_until: 0,
        };
        self.saved.insert(beginning.generation, self.now);
        self.state.begun(id, beginning, self.now);
        Ok(())
    }

    fn stepped(&mut self, generations: &[GenerationId]) -> Result<(), String> {
        let mut progress = Vec::new();
        let took = self.takes(&Tick::Step(generations.to_vec()));
        for generation in generations {
            let count = self
                .state
                .image(*generation)
                .ok_or("no such picture")?
                .evaluation_count;
            let picture = self.picture(*generation)?;
            picture.done += 1;
            if picture.done <= picture.most {
                picture.lost = picture.lost.checked_sub(1).ok_or("work was lost")?;
            }
            picture.most = picture.most.max(picture.done);
            progress.push(Progress {
                generation: *generation,
                evaluations_done: picture.done,
                inference_step: picture.done,
                is_done: picture.done == count,
            });
            if self.saved[generation] + self.save_interval <= self.now {
                self.state.save_due(*generation, true);
            }
            let job = self.state.job_of(*generation).ok_or("no such job")?.id;
            let life = self.lives.get_mut(&job).unwrap();
            life.first_step.get_or_insert(self.now - took);
        }
        self.evaluations += u32::try_from(generations.len()).unwrap();
        let leader = self.state.job_of(generations[0]).ok_or("no such job")?;
        let group = self
            .state
            .image(generations[0])
            .and_then(|image| image.group);
        let model = leader.model.clone();
        let generations = u32::try_from(generations.len()).unwrap();
        self.state
            .curves
            .measured(&model, group.unwrap(), generations, took.as_secs_f64());
        self.state.stepped(&progress, self.now);
        Ok(())
    }

    fn picture(&mut self, generation: GenerationId) -> Result<&mut Picture, String> {
        let job = self.state.job_of(generation).ok_or("no such job")?.id;
        let index = self.state.image(generation).ok_or("no such picture")?.index;
        let picture = self.pictures.get_mut(&(job, index));
        picture.ok_or_else(|| "no such picture".to_owned())
    }
}
