//! The task: waits for what happens next, and has the next decision carried out.
//!
//! What it does is in the sibling files: `commands` answers the services, `admission` says what may go on, `carry_out`
//! calls the engine, `outcome` takes its answers, `jobs` tells readers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use imgd_proto::v1;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
};
use tracing::info;

use super::{
    Command, Options,
    commands::Arriving,
    deaths::Suspicions,
    desk::Desk,
    operation::{Operation, Outcome, progressed},
    pace::Pace,
    saving::Saving,
    writing::{Report, next_report},
};
use crate::{
    courtesy::Courtesy,
    engine::{Death, Engine, Loaded, ModelKey},
    failure::Failure,
    journal::{CurvePoint, Journal, Recovered},
    queue::{ClientId, JobId, State, Tick, pick},
    service_manager,
};

/// Models whose descriptions are remembered.
const MAX_DESCRIPTIONS: usize = 256;

pub(super) struct Actor {
    pub(super) options: Options,
    pub(super) state: State,
    pub(super) journal: Journal,
    /// Number of times the journal was opened.
    pub(super) life: u32,
    /// Jobs that are not over.
    pub(super) desks: BTreeMap<JobId, Desk>,
    /// Jobs that are over, and of which something is still to be written.
    pub(super) closing: BTreeMap<JobId, Desk>,
    /// Jobs that are to be written down before they are anything.
    pub(super) arriving: BTreeMap<JobId, Arriving>,
    /// Jobs that clients may know, by their names on the wire.
    pub(super) names: BTreeMap<String, JobId>,
    /// Jobs that somebody may follow.
    pub(super) followed: BTreeSet<JobId>,
    /// Jobs of which something could not be written.
    pub(super) stuck: BTreeSet<JobId>,
    /// What the journal was told, and has not answered.
    pub(super) reports: JoinSet<Report>,
    /// What was measured in earlier lives.
    pub(super) stored_curves: Vec<CurvePoint>,
    pub(super) courtesy: Courtesy,
    pub(super) clients: BTreeMap<String, ClientId>,
    pub(super) next_client: u32,
    pub(super) engine: Option<Arc<dyn Engine>>,
    pub(super) operation: Option<Operation>,
    pub(super) descriptions: BTreeMap<ModelKey, v1::Model>,
    pub(super) inquirers: Vec<(ModelKey, oneshot::Sender<Result<v1::Model, Failure>>)>,
    pub(super) loaded: BTreeMap<ModelKey, Loaded>,
    /// The ControlNets that each loaded model used last, the latest first.
    pub(super) held_controls: BTreeMap<ModelKey, Vec<String>>,
    pub(super) pace: Pace,
    pub(super) saving: Saving,
    pub(super) suspicions: Suspicions,
    /// The model that is being loaded.
    pub(super) loading: Option<ModelKey>,
    commands: mpsc::Receiver<Command>,
    /// Rings when a reader left or made room.
    pub(super) bell: Arc<Notify>,
    next_id: u64,
    pub(super) is_draining: bool,
    pub(super) has_ended: bool,
    /// Since when nothing is to be done and nothing is in memory.
    pub(super) unused_since: Option<Instant>,
    /// What the service manager was last told.
    pub(super) told: String,
}

enum Happening {
    Command(Option<Command>),
    Outcome(Box<Outcome>),
    Progress(f64),
    Died(Death),
    Report(Report),
    Bell,
    Courtesy,
    Time,
    Heartbeat,
}

impl Actor {
    pub(super) fn new(
        options: Options,
        recovered: Recovered,
        commands: mpsc::Receiver<Command>,
        bell: Arc<Notify>,
    ) -> Self {
        let mut actor = Self {
            state: State::new(),
            journal: options.journal.clone(),
            life: recovered.life,
            desks: BTreeMap::new(),
            closing: BTreeMap::new(),
            arriving: BTreeMap::new(),
            names: BTreeMap::new(),
            followed: BTreeSet::new(),
            stuck: BTreeSet::new(),
            reports: JoinSet::new(),
            stored_curves: recovered.curves,
            courtesy: Courtesy::start(options.background),
            clients: BTreeMap::new(),
            next_client: 0,
            engine: None,
            operation: None,
            descriptions: BTreeMap::new(),
            inquirers: Vec::new(),
            loaded: BTreeMap::new(),
            held_controls: BTreeMap::new(),
            pace: Pace::default(),
            saving: Saving::default(),
            suspicions: Suspicions::default(),
            loading: None,
            commands,
            bell,
            next_id: 0,
            is_draining: false,
            has_ended: false,
            unused_since: None,
            told: String::new(),
            options,
        };
        actor.recover(recovered.jobs, Instant::now());
        actor
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
            self.look_whether_used();
            self.tell_service_manager();
            if self.has_ended || (self.is_draining && self.is_through()) {
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
            let retry_at = self.retry_at();
            let happening = {
                let operation = &mut self.operation;
                let deadline = operation
                    .as_ref()
                    .map(|operation| operation.deadline)
                    .or(wake_at);
                let deadline = deadline.into_iter().chain(retry_at).min();
                tokio::select! {
                    biased;
                    () = beat(&mut heartbeat) => Happening::Heartbeat,
                    command = self.commands.recv() => Happening::Command(command),
                    happening = next_of(operation) => happening,
                    report = next_report(&mut self.reports) => Happening::Report(report),
                    death = &mut died => Happening::Died(death),
                    () = self.bell.notified() => Happening::Bell,
                    () = self.courtesy.changed() => Happening::Courtesy,
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
            Happening::Outcome(outcome) => self.answered(*outcome, now),
            Happening::Progress(fraction) => self.progress(fraction, now),
            Happening::Died(death) => self.worker_ended(&death, now),
            Happening::Report(report) => self.report(report, now),
            Happening::Bell => self.look_at_readers(now),
            // It is looked at before each decision.
            Happening::Courtesy => {}
            Happening::Time => {
                self.look_at_operation(now);
                self.try_again(now);
            }
            Happening::Heartbeat => service_manager::alive(),
        }
    }

    /// Begins what is to be done next. Returns when to look again, if nothing happens before.
    fn advance(&mut self) -> Option<Instant> {
        while self.operation.is_none() {
            let now = Instant::now();
            self.look_at_background();
            self.state.available_bytes = self.available_bytes();
            match pick(&self.state, now) {
                Tick::Wait { until } => return until,
                tick => self.carry_out(tick, now),
            }
        }
        None
    }

    /// Ends what still runs, the worker last.
    async fn stop(&mut self) {
        self.operation = None;
        // Dropping a desk tells its readers.
        self.desks.clear();
        self.closing.clear();
        self.arriving.clear();
        if let Some(engine) = self.engine.take()
            && tokio::time::timeout(Duration::from_secs(2), engine.end())
                .await
                .is_err()
        {
            info!("the worker did not end in time");
        }
    }

    pub(super) fn remember(&mut self, key: ModelKey, model: v1::Model) {
        if self.descriptions.len() >= MAX_DESCRIPTIONS {
            self.descriptions.clear();
            self.state.known.clear();
        }
        self.descriptions.insert(key, model);
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

type Dying = std::pin::Pin<Box<dyn Future<Output = Death> + Send>>;

fn never_dies() -> Dying {
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
