//! The task: waits for what happens next, changes the state, carries out the next decision.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use imgd_proto::v1;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, info};

use super::{
    Command, Ending, Options, Order, Receipt, Snapshot, Work,
    desk::{Desk, to_proto},
    operation::{self, Operation, Outcome, progressed},
    pace::Pace,
};
use crate::{
    engine::{Engine, GenerationId, Loaded, ModelKey},
    failure::{Failure, Reason, does_not_fit, draining, queue_full},
    outbox::{Event, outbox},
    queue::{Job, JobId, State, Tick, pick},
    service_manager,
};

/// Models whose descriptions are remembered.
const MAX_DESCRIPTIONS: usize = 256;

pub(super) struct Actor {
    pub(super) options: Options,
    pub(super) state: State,
    pub(super) desks: BTreeMap<JobId, Desk>,
    pub(super) engine: Option<Arc<dyn Engine>>,
    pub(super) operation: Option<Operation>,
    pub(super) descriptions: BTreeMap<ModelKey, v1::Model>,
    pub(super) inquirers: Vec<(ModelKey, oneshot::Sender<Result<v1::Model, Failure>>)>,
    pub(super) loaded: BTreeMap<ModelKey, Loaded>,
    pub(super) pace: Pace,
    /// The model that is being loaded.
    pub(super) loading: Option<ModelKey>,
    commands: mpsc::Receiver<Command>,
    /// Rings when a reader left or made room.
    bell: Arc<Notify>,
    next_id: u64,
    is_draining: bool,
    has_ended: bool,
}

enum Happening {
    Command(Option<Command>),
    Outcome(Box<Outcome>),
    Progress(f64),
    Died(String),
    Bell,
    Time,
    Heartbeat,
}

impl Actor {
    pub(super) fn new(
        options: Options,
        commands: mpsc::Receiver<Command>,
        bell: Arc<Notify>,
    ) -> Self {
        Self {
            options,
            state: State::new(),
            desks: BTreeMap::new(),
            engine: None,
            operation: None,
            descriptions: BTreeMap::new(),
            inquirers: Vec::new(),
            loaded: BTreeMap::new(),
            pace: Pace::default(),
            loading: None,
            commands,
            bell,
            next_id: 0,
            is_draining: false,
            has_ended: false,
        }
    }

    /// Runs until the daemon ends.
    pub(super) async fn run(mut self) {
        let mut heartbeat = self
            .options
            .watchdog
            .map(|every| tokio::time::interval(every / 3));
        let mut died = never_dies();
        let mut watched = None;
        loop {
            let wake_at = self.advance();
            if self.has_ended || (self.is_draining && self.desks.is_empty()) {
                break;
            }
            let pid = self.engine.as_ref().map(|engine| engine.pid());
            if watched != pid {
                watched = pid;
                died = self
                    .engine
                    .as_ref()
                    .map_or_else(never_dies, |engine| engine.died());
            }
            let happening = {
                let operation = &mut self.operation;
                let deadline = operation
                    .as_ref()
                    .map(|operation| operation.deadline)
                    .or(wake_at);
                tokio::select! {
                    biased;
                    () = beat(&mut heartbeat) => Happening::Heartbeat,
                    command = self.commands.recv() => Happening::Command(command),
                    happening = next_of(operation) => happening,
                    how = &mut died => Happening::Died(how),
                    () = self.bell.notified() => Happening::Bell,
                    () = until(deadline) => Happening::Time,
                }
            };
            if matches!(happening, Happening::Died(_)) {
                died = never_dies();
            }
            self.handle(happening);
        }
        self.stop().await;
    }

    fn handle(&mut self, happening: Happening) {
        let now = Instant::now();
        match happening {
            Happening::Command(Some(command)) => self.command(command, now),
            Happening::Command(None) => self.has_ended = true,
            Happening::Outcome(outcome) => {
                let operation = self.operation.take();
                let took = operation
                    .as_ref()
                    .map_or(Duration::ZERO, |operation| now - operation.since);
                self.outcome(*outcome, took, now);
            }
            Happening::Progress(fraction) => self.progress(fraction, now),
            Happening::Died(how) => self.worker_ended(&how, now),
            Happening::Bell => self.look_at_readers(now),
            Happening::Time => self.look_at_operation(now),
            Happening::Heartbeat => service_manager::alive(),
        }
    }

    /// Begins what is to be done next. Returns when to look again, if nothing happens before.
    fn advance(&mut self) -> Option<Instant> {
        while self.operation.is_none() {
            let now = Instant::now();
            for (id, desk) in &self.desks {
                if let Some(job) = self.state.job_mut(*id) {
                    job.is_blocked = desk.outbox.is_full();
                }
            }
            self.state.available_bytes = self.available_bytes();
            match pick(&self.state, now) {
                Tick::Wait { until } => return until,
                tick => self.carry_out(tick, now),
            }
        }
        None
    }

    fn carry_out(&mut self, tick: Tick, now: Instant) {
        let least = self.options.patience;
        if tick == Tick::StartWorker {
            self.operation = Some(operation::start_worker(
                self.options.engines.as_ref(),
                now,
                least,
            ));
            return;
        }
        let Some(engine) = self.engine.clone() else {
            self.worker_lost("is not there", None, now);
            return;
        };
        let patience = self.pace.patience(least, 0);
        let operation = match tick {
            Tick::Wait { .. } | Tick::StartWorker => return,
            Tick::EndWorker => operation::end_worker(engine.as_ref(), now, least),
            Tick::Forget(generation) => {
                operation::forget(engine.as_ref(), generation, now, patience)
            }
            Tick::Inspect(model) => operation::inspect(&engine, model, now, least),
            Tick::Unload(model) => operation::unload(engine.as_ref(), model, now, least),
            Tick::Look(id) => {
                self.turn_came(id, now);
                let Some(job) = self.state.job(id) else {
                    return;
                };
                operation::look(id, &job.model, now, least)
            }
            Tick::Load(id) => {
                let Some(job) = self.state.job(id) else {
                    return;
                };
                let need = self
                    .state
                    .known
                    .get(&job.model)
                    .map_or(0, |known| known.memory_bytes);
                let patience = self.pace.patience(least, need);
                info!(model = %job.model, "loading");
                service_manager::status(&format!("loading {}", job.model));
                self.loading = Some(job.model.clone());
                operation::load(engine.as_ref(), id, &job.model, now, patience)
            }
            Tick::Refuse {
                job,
                need_bytes,
                have_bytes,
            } => {
                let model = self
                    .state
                    .job(job)
                    .map_or(String::new(), |job| job.model.to_string());
                self.fail(job, does_not_fit(&model, need_bytes, have_bytes), now);
                return;
            }
            Tick::Complete(job) => return self.complete(job, now),
            Tick::Begin(id) => {
                let picture = self.desks.get(&id).and_then(Desk::next_picture);
                let (Some(picture), Some(job)) = (picture, self.state.job(id)) else {
                    return;
                };
                let model = job.model.clone();
                let generation = GenerationId(self.new_id());
                operation::begin(
                    engine.as_ref(),
                    (id, generation),
                    &model,
                    picture,
                    now,
                    patience,
                )
            }
            Tick::Step(generations) => {
                let Some(generation) = generations.first().copied() else {
                    return;
                };
                let desk = self
                    .state
                    .job_of(generation)
                    .and_then(|job| self.desks.get(&job.id));
                let wants_preview = desk.is_some_and(Desk::wants_preview);
                operation::step(&engine, generation, wants_preview, now, patience)
            }
            Tick::Finish(generation) => {
                let desk = self
                    .state
                    .job_of(generation)
                    .and_then(|job| self.desks.get(&job.id));
                let Some(Work::Draw { file, .. }) = desk.map(|desk| &desk.order.work) else {
                    return;
                };
                operation::finish(engine.as_ref(), generation, *file, now, patience)
            }
        };
        self.operation = Some(operation);
    }

    fn command(&mut self, command: Command, now: Instant) {
        // A caller who has gone needs no answer.
        match command {
            Command::Submit { order, reply } => drop(reply.send(self.submit(*order, now))),
            Command::Describe { model, reply } => {
                if !self.state.inquiries.contains(&model) {
                    self.state.inquiries.push(model.clone());
                }
                self.inquirers.push((model, reply));
            }
            Command::Unload { model, reply } => {
                let resident = self
                    .state
                    .models
                    .iter_mut()
                    .find(|resident| resident.key == model);
                let was_loaded = resident.is_some();
                if let Some(resident) = resident {
                    resident.is_unwanted = true;
                }
                if reply.send(was_loaded).is_err() {
                    debug!("nobody waits to hear what was unloaded");
                }
            }
            Command::Snapshot { reply } => drop(reply.send(self.snapshot(now))),
            Command::End { ending, reply } => drop(reply.send(self.end(ending, now))),
        }
    }

    fn submit(&mut self, order: Order, now: Instant) -> Result<Receipt, Failure> {
        if self.is_draining {
            return Err(draining());
        }
        if self.state.waiting().count() >= self.options.queue_capacity {
            return Err(queue_full(self.options.queue_capacity));
        }
        let id = JobId(self.new_id());
        let job_id = uuid::Uuid::new_v4().simple().to_string();
        let (outbox, events) = outbox(Arc::clone(&self.bell));
        let desk = Desk::new(order, outbox, job_id.clone(), now);
        self.state.jobs.push(Job {
            id,
            model: desk.order.model.clone(),
            fingerprint: None,
            only_loads: matches!(desk.order.work, Work::Load),
            images_left: desk.image_count(),
            image: None,
            is_running: false,
            is_cancelled: false,
            is_blocked: false,
            keep_alive: desk.order.keep_alive.unwrap_or(self.options.keep_alive),
        });
        self.desks.insert(id, desk);
        self.tell_positions();
        debug!(job = %job_id, "queued");
        Ok(Receipt { job_id, events })
    }

    fn end(&mut self, ending: Ending, now: Instant) -> Result<(), Failure> {
        if ending == Ending::IfIdle && !self.desks.is_empty() {
            return Err(Failure::new(Reason::NotIdle, "the daemon has work")
                .with_hint("wait for it, or leave `if_idle` out"));
        }
        if ending == Ending::Now {
            self.has_ended = true;
        }
        if !self.is_draining {
            self.is_draining = true;
            let waiting: Vec<_> = self.state.waiting().map(|job| job.id).collect();
            for id in waiting {
                self.fail(id, draining(), now);
            }
        }
        Ok(())
    }

    /// Ends what still runs, the worker last.
    async fn stop(&mut self) {
        self.operation = None;
        // Dropping a desk tells its reader.
        self.desks.clear();
        if let Some(engine) = self.engine.take()
            && tokio::time::timeout(Duration::from_secs(2), engine.end())
                .await
                .is_err()
        {
            info!("the worker did not end in time");
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let count = |jobs: usize| u32::try_from(jobs).unwrap_or(u32::MAX);
        Snapshot {
            models: self
                .state
                .models
                .iter()
                .filter_map(|model| self.loaded_model(&model.key, now))
                .collect(),
            waiting: count(self.state.waiting().count()),
            running: count(self.state.jobs.iter().filter(|job| job.is_running).count()),
            is_draining: self.is_draining,
            worker_pid: self.engine.as_ref().map(|engine| engine.pid()),
            worker_threads: self.loaded.values().map(|loaded| loaded.threads).next(),
        }
    }

    pub(super) fn loaded_model(&self, key: &ModelKey, now: Instant) -> Option<v1::LoadedModel> {
        let resident = self.state.resident(key)?;
        let used = if self.state.is_needed(key) {
            now
        } else {
            resident.used
        };
        let end = resident.keep_alive.end(used);
        Some(v1::LoadedModel {
            name: key.name.clone(),
            model_hash: self
                .loaded
                .get(key)
                .map(|loaded| loaded.model_hash.clone())
                .unwrap_or_default(),
            memory_bytes: resident.memory_bytes,
            device: "cpu".to_owned(),
            expires_in: end.and_then(|end| to_proto(end.saturating_duration_since(now))),
            precision: v1::Precision::F32.into(),
        })
    }

    fn available_bytes(&self) -> u64 {
        // Only a load asks for it, and reading it costs a system call.
        let loads = |job: &Job| !job.is_cancelled && self.state.resident(&job.model).is_none();
        if !self.state.jobs.iter().any(loads) {
            return self.state.available_bytes;
        }
        let available = (self.options.available_bytes)();
        let taken: u64 = self
            .state
            .models
            .iter()
            .map(|model| model.memory_bytes)
            .sum();
        self.options
            .max_memory_bytes
            .map_or(available, |most| available.min(most.saturating_sub(taken)))
    }

    pub(super) fn remember(&mut self, key: ModelKey, model: v1::Model) {
        if self.descriptions.len() >= MAX_DESCRIPTIONS {
            self.descriptions.clear();
            self.state.known.clear();
        }
        self.descriptions.insert(key, model);
    }

    pub(super) fn tell_positions(&mut self) {
        let waiting: Vec<_> = self.state.waiting().map(|job| job.id).collect();
        for (position, id) in (0..).zip(waiting) {
            if let Some(desk) = self.desks.get_mut(&id) {
                desk.tell_position(position);
            }
        }
    }

    fn turn_came(&mut self, id: JobId, now: Instant) {
        if let Some(job) = self.state.job_mut(id) {
            job.is_running = true;
        }
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.turn_came(now);
        }
        self.tell_positions();
    }

    /// Readers may have left.
    fn look_at_readers(&mut self, now: Instant) {
        let gone: Vec<_> = self
            .desks
            .iter()
            .filter(|(_, desk)| desk.outbox.is_abandoned())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.cancel(id, now);
        }
    }

    /// Takes a job away; its picture in flight is forgotten by the worker first.
    fn cancel(&mut self, id: JobId, now: Instant) {
        if let Some(desk) = self.desks.remove(&id) {
            info!(job = %desk.job_id, "cancelled");
        }
        let begins = self
            .operation
            .as_ref()
            .is_some_and(|operation| operation.tick == Tick::Begin(id));
        match self.state.job_mut(id) {
            Some(job) if job.image.is_some() || begins => job.is_cancelled = true,
            _ => self.state.remove(id, now),
        }
        self.tell_positions();
    }

    fn look_at_operation(&mut self, now: Instant) {
        let Some(operation) = &self.operation else {
            return;
        };
        if operation.deadline <= now {
            let silent = format!(
                "gave no answer for {} s and was ended",
                operation.patience.as_secs()
            );
            self.worker_ended(&silent, now);
        }
    }

    fn progress(&mut self, fraction: f64, now: Instant) {
        let Some(operation) = &mut self.operation else {
            return;
        };
        operation.is_alive(now);
        if let Some(model) = &self.loading {
            self.tell_loading(model, fraction);
        }
    }

    pub(super) fn tell_loading(&self, model: &ModelKey, fraction: f64) {
        let loading = || v1::Loading {
            model: model.name.clone(),
            fraction: fraction.clamp(0.0, 1.0),
        };
        for desk in self
            .state
            .jobs
            .iter()
            .filter(|job| job.model == *model)
            .filter_map(|job| self.desks.get(&job.id))
        {
            desk.outbox.push(Event::Loading(loading()));
        }
    }

    fn complete(&mut self, id: JobId, now: Instant) {
        let Some(job) = self.state.job(id) else {
            return;
        };
        let model = job.model.clone();
        self.state.remove(id, now);
        if let Some(desk) = self.desks.remove(&id) {
            desk.outbox.push(match desk.order.work {
                Work::Draw { .. } => Event::Finished(desk.timings()),
                Work::Load => self.loaded_model(&model, now).map_or_else(
                    || {
                        Event::Failed(Failure::new(
                            Reason::Internal,
                            "the model was unloaded again",
                        ))
                    },
                    Event::Loaded,
                ),
            });
            info!(job = %desk.job_id, model = %model, images = desk.image_count(), took_ms = desk.age(now).as_millis(), "done");
        }
        self.tell_positions();
    }

    /// Tells a job that it failed, and takes it away.
    pub(super) fn fail(&mut self, id: JobId, failure: Failure, now: Instant) {
        if let Some(desk) = self.desks.remove(&id) {
            info!(job = %desk.job_id, reason = %failure.reason, "failed: {failure}");
            desk.outbox.push(Event::Failed(failure));
        }
        match self.state.job_mut(id) {
            Some(job) if job.image.is_some() => job.is_cancelled = true,
            _ => self.state.remove(id, now),
        }
        self.tell_positions();
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

type Death = std::pin::Pin<Box<dyn Future<Output = String> + Send>>;

fn never_dies() -> Death {
    Box::pin(std::future::pending())
}

async fn beat(heartbeat: &mut Option<tokio::time::Interval>) {
    match heartbeat {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

async fn next_of(operation: &mut Option<Operation>) -> Happening {
    match operation {
        Some(operation) => operation.next().await,
        None => std::future::pending().await,
    }
}

impl Operation {
    async fn next(&mut self) -> Happening {
        let (running, progress) = self.parts();
        tokio::select! {
            biased;
            outcome = running => Happening::Outcome(Box::new(outcome)),
            fraction = progressed(progress) => Happening::Progress(fraction),
        }
    }
}
