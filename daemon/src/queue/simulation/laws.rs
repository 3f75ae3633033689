//! What every decision has to keep, whatever happened before.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{house::House, machine::peak_bytes};
use crate::{
    engine::GenerationId,
    queue::{Class, ClientId, Job, JobId, Stage, Starving, State, Tick, WorkerState},
};

/// A class that waits has its turn at most this long after its bound: ten times the longest load, or another class's
/// turn, and the calls between.
const SLACK: Duration = Duration::from_secs(150);

/// Pictures of each other client that may go before the first one of a client that comes: the one that is being made,
/// or the one that came before.
const BEFORE: usize = 1;

#[derive(Debug)]
pub(super) struct Laws {
    /// Since when each class has had something to do without an evaluation.
    waiting: BTreeMap<Class, Instant>,
    /// When each class was last given an evaluation.
    served: BTreeMap<Class, Instant>,
    /// Classes that the evaluation under way is for, and when it began.
    under_way: Vec<(Class, Instant)>,
    /// The lower class's job and picture that has its turn.
    turn: Option<(JobId, Option<u32>)>,
    /// Jobs of clients that came, and the pictures of others that went before.
    comers: BTreeMap<JobId, Comer>,
    /// Whether clients were given back what was not made for them: from then on they may owe less than their pictures
    /// in flight say, and turns are no longer told by counting.
    has_refunds: bool,
    /// Who came before.
    clients: BTreeSet<(Class, ClientId)>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Comer {
    before: BTreeMap<ClientId, BTreeSet<(JobId, u32)>>,
}

impl Default for Laws {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

/// Whether the job has something to do.
fn is_active(state: &State, job: &Job) -> bool {
    let is_allowed = job.class != Class::Background || state.background.blocked.is_none();
    let goes_on = job
        .images
        .iter()
        .any(|image| !job.is_blocked || image.stage != Stage::Denoised);
    let begins = !job.is_blocked && (job.images_left > 0 || job.only_loads);
    is_allowed && !job.is_cancelled && !job.is_paused && (goes_on || begins)
}

impl Laws {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            waiting: BTreeMap::new(),
            served: BTreeMap::new(),
            under_way: Vec::new(),
            turn: None,
            comers: BTreeMap::new(),
            has_refunds: false,
            clients: BTreeSet::new(),
            start,
        }
    }

    /// A job comes. It counts as a comer when its client was given nothing before, its model is there, and nobody else is
    /// owed something because theirs is not.
    pub(super) fn arrived(&mut self, state: &State, job: &Job) {
        let is_new = self.clients.insert((job.class, job.client));
        // Of several jobs of one client, those that can share an evaluation may go first.
        self.comers.retain(|id, _| {
            let other = state.job(*id);
            other.is_some_and(|other| (other.class, other.client) != (job.class, job.client))
        });
        let mut rivals = state.jobs.iter().filter(|other| other.class == job.class);
        let none_is_owed = rivals.all(|other| state.resident(&other.model).is_some());
        if is_new
            && none_is_owed
            && !self.has_refunds
            && job.images_left > 0
            && state.resident(&job.model).is_some()
        {
            self.comers.insert(job.id, Comer::default());
        }
    }

    /// The job was paused, cancelled or held up, and so its turns count no more; and others go in its place.
    pub(super) fn disturbed(&mut self, _: JobId) {
        self.comers.clear();
    }

    /// The worker died.
    pub(super) fn died(&mut self) {
        self.comers.clear();
        self.has_refunds = true;
        self.under_way.clear();
        self.turn = None;
    }

    pub(super) fn check(&mut self, house: &House, tick: &Tick) -> Result<(), String> {
        let (state, now) = (&house.state, house.now);
        self.served.extend(self.under_way.drain(..));
        self.never_idle(state, tick, now)?;
        if matches!(state.worker, WorkerState::Absent { .. }) {
            let needs_none = matches!(
                tick,
                Tick::Wait { .. } | Tick::StartWorker | Tick::Complete(_)
            );
            return if needs_none {
                Ok(())
            } else {
                Err("there is no worker".to_owned())
            };
        }
        memory(house, tick)?;
        self.classes(state, tick, now)?;
        self.bounds(state, tick, now)?;
        self.turns(state, tick)?;
        if let Tick::Step(generations) = tick {
            shared(house, generations)?;
        }
        Ok(())
    }

    /// The worker rests only when nothing is to be done.
    fn never_idle(&self, state: &State, tick: &Tick, now: Instant) -> Result<(), String> {
        let may_start = match state.worker {
            WorkerState::Absent { retry_at } => retry_at.is_none_or(|moment| moment <= now),
            WorkerState::Present { .. } => true,
        };
        let waits = matches!(tick, Tick::Wait { .. } | Tick::EndWorker);
        // The last model may go with its process to make room for another.
        let makes_room = *tick == Tick::EndWorker && state.models.len() == 1;
        match state.jobs.iter().find(|job| is_active(state, job)) {
            Some(job) if waits && may_start && !makes_room => {
                Err(format!("{:?} could go on", job.id))
            }
            _ => Ok(()),
        }
    }

    /// Nothing is done for a lower class while a higher one has something to do, except in its turn.
    fn classes(&mut self, state: &State, tick: &Tick, now: Instant) -> Result<(), String> {
        let Some((job, index)) = served(state, tick) else {
            return Ok(());
        };
        let is_above = |other: &Job| other.class < job.class && is_active(state, other);
        if let Some((holder, picture)) = self.turn {
            let ended = state.job(holder).is_none_or(|job| {
                picture.is_some_and(|index| job.images.iter().all(|image| image.index != index))
            });
            if ended {
                self.turn = None;
            }
        }
        let above = state.jobs.iter().find(|other| is_above(other));
        let oldest = state.jobs.iter().filter(|other| other.class == job.class);
        let since = oldest.map(|other| other.arrived).min();
        let waited = since
            .max(self.served.get(&job.class).copied())
            .map(|since| now - since);
        let bound = Starving::bound(job.class);
        let holds = self.turn.is_some_and(|(holder, picture)| {
            holder == job.id && (picture.is_none() || picture == index)
        });
        let is_turn = waited
            .zip(bound)
            .is_some_and(|(waited, bound)| waited >= bound);
        match above {
            Some(above) if !holds && !is_turn => Err(format!(
                "{:?} of {:?} goes before {:?} of {:?}, after {waited:?}",
                job.id, job.class, above.id, above.class
            )),
            Some(_) => {
                self.turn = Some((job.id, index));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// No class waits for much longer than its bound.
    fn bounds(&mut self, state: &State, tick: &Tick, now: Instant) -> Result<(), String> {
        for class in Class::ALL {
            let of_class = |job: &&Job| job.class == class && is_active(state, job);
            let is_of_class =
                |id: &GenerationId| state.job_of(*id).is_some_and(|job| job.class == class);
            let is_served = match tick {
                Tick::Step(generations) => generations.iter().any(is_of_class),
                Tick::Decode(generation) => is_of_class(generation),
                _ => false,
            };
            if is_served {
                self.under_way.push((class, now));
            }
            if is_served || !state.jobs.iter().any(|job| of_class(&job)) {
                self.waiting.remove(&class);
                continue;
            }
            let since = *self.waiting.entry(class).or_insert(now);
            let bound = Starving::bound(class).map_or(Duration::MAX, |bound| bound + SLACK);
            if now - since > bound {
                let begun = now - self.start;
                return Err(format!(
                    "{class:?} has waited for {:?} after {begun:?}",
                    now - since
                ));
            }
        }
        Ok(())
    }

    /// A client that comes waits for one picture of each other client at most.
    fn turns(&mut self, state: &State, tick: &Tick) -> Result<(), String> {
        if matches!(tick, Tick::Park(_) | Tick::Hold(_) | Tick::Forget(_)) {
            self.comers.clear();
            self.has_refunds = true;
        }
        if matches!(tick, Tick::Unload(_) | Tick::Load(_) | Tick::EndWorker) {
            // Who takes turns with whom is another question where models are switched.
            self.comers.clear();
        }
        if let Tick::Step(generations) = tick {
            for generation in generations {
                if let Some(job) = state.job_of(*generation) {
                    self.comers.remove(&job.id);
                }
            }
        }
        let Some((job, Some(index))) = served(state, tick) else {
            return Ok(());
        };
        for (id, comer) in &mut self.comers {
            let Some(waiting) = state.job(*id) else {
                continue;
            };
            if waiting.class != job.class || waiting.client == job.client {
                continue;
            }
            let before = comer.before.entry(job.client).or_default();
            before.insert((job.id, index));
            if before.len() > BEFORE {
                return Err(format!("{before:?} of {:?} go before {id:?}", job.client));
            }
        }
        Ok(())
    }
}

/// For which job, and which of its pictures, the engine works.
fn served<'a>(state: &'a State, tick: &Tick) -> Option<(&'a Job, Option<u32>)> {
    let of = |generation: GenerationId| {
        let job = state.job_of(generation)?;
        Some((job, Some(job.image(generation)?.index)))
    };
    match tick {
        Tick::Look(id) | Tick::Load(id) | Tick::Begin(id) => Some((state.job(*id)?, None)),
        Tick::Step(generations) => of(generations[0]),
        Tick::Decode(generation) | Tick::Finish(generation) => of(*generation),
        _ => None,
    }
}

/// Generations share an evaluation only where they can, and others do not slow whose it is.
fn shared(house: &House, generations: &[GenerationId]) -> Result<(), String> {
    let state = &house.state;
    let leader = state.job_of(generations[0]).ok_or("nobody's picture")?;
    let group = state.image(generations[0]).and_then(|image| image.group);
    let group = group.ok_or("no group")?;
    let mut guests = 0;
    for generation in generations {
        let job = state.job_of(*generation).ok_or("nobody's picture")?;
        let image = state.image(*generation).ok_or("no such picture")?;
        if job.model != leader.model || image.group != Some(group) {
            return Err("what cannot share was put together".to_owned());
        }
        if job.is_cancelled || job.is_paused || image.stage != Stage::Denoising {
            return Err("what is not to go on was put along".to_owned());
        }
        let has_turn = state.starving.turn() == Some(*generation);
        if job.class > leader.class && !has_turn {
            guests += 1;
        }
    }
    let number = u32::try_from(generations.len()).unwrap();
    let alone = house
        .machine
        .step(&leader.model, group.width_px, number - guests);
    let together = house.machine.step(&leader.model, group.width_px, number);
    if guests > 0 && together > alone.mul_f64(1.051) {
        return Err("less urgent pictures slow an urgent one".to_owned());
    }
    Ok(())
}

/// What is in memory, and what the call takes, fits.
fn memory(house: &House, tick: &Tick) -> Result<(), String> {
    let state = &house.state;
    let peak = |generation: GenerationId| {
        let group = state.image(generation).and_then(|image| image.group);
        group.map_or(0, |group| peak_bytes(group.width_px))
    };
    let in_call: Vec<GenerationId> = match tick {
        Tick::Step(generations) => generations.clone(),
        Tick::Decode(generation) => vec![*generation],
        _ => Vec::new(),
    };
    let mut taken: u64 = state.models.iter().map(|model| model.memory_bytes).sum();
    for (_, image) in state.in_flight() {
        let is_large = in_call.contains(&image.generation) || image.stage >= Stage::Decoding;
        taken += if is_large {
            peak(image.generation)
        } else {
            peak(image.generation) / 64
        };
    }
    taken += match tick {
        Tick::Load(id) => state
            .job(*id)
            .map_or(0, |job| house.machine.model(&job.model).weights_bytes),
        Tick::Begin(id) => state
            .job(*id)
            .map_or(0, |job| peak_bytes(job.width_px.unwrap_or(0))),
        _ => 0,
    };
    if taken > house.machine.memory_bytes {
        return Err(format!(
            "it takes {taken} of {}",
            house.machine.memory_bytes
        ));
    }
    Ok(())
}
