//! Making a batch's pictures: so many jobs at a time, each submitted under its own name, followed to its end and its
//! pictures written as they come.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use imgd_client::{
    Client, Error, JobEvent, JobRequest, Reason, Submitted, is_final,
    v1::{ImageState, Job, JobImage, JobState},
};
use tokio::time::sleep;

use super::{
    ledger::Ledger,
    orders::Order,
    rows::{drawing_row, state_row},
    tally::Tally,
};
use crate::{
    Context,
    failure::Failure,
    jobs::{follow::Follower, objects, words},
    json,
    live::{Live, Row},
    progress::Progress,
};

/// When the daemon does not say when to try again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// A daemon that refuses to work or is gone this often in a row stays so.
const MAX_TRIES: u32 = 10;

/// How to go about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Jobs in the daemon at a time.
    pub(super) jobs: usize,
    /// Submits nothing more after a failure.
    pub(super) fail_fast: bool,
    /// Cancels the jobs under way when interrupted.
    pub(super) cancel_on_interrupt: bool,
}

/// A batch under way.
pub(super) struct Run<'a> {
    context: &'a Context,
    /// What errors call the file.
    source: &'a str,
    orders: &'a [Order],
    client: RefCell<Client>,
    ledger: RefCell<Ledger>,
    live: RefCell<Live>,
    tally: RefCell<Tally>,
    /// The jobs under way, by their order.
    under_way: RefCell<BTreeMap<usize, String>>,
}

type Work<'a> = Pin<Box<dyn Future<Output = (usize, Result<(), Failure>)> + 'a>>;

impl<'a> Run<'a> {
    pub(super) fn new(
        context: &'a Context,
        client: Client,
        source: &'a str,
        orders: &'a [Order],
        ledger: Ledger,
    ) -> Self {
        Self {
            context,
            source,
            orders,
            client: RefCell::new(client),
            ledger: RefCell::new(ledger),
            live: RefCell::new(Live::new(context)),
            tally: RefCell::new(Tally::new(orders, Instant::now())),
            under_way: RefCell::default(),
        }
    }

    /// Makes what is missing. Fails when a line did, or when nothing more can be done.
    pub(super) async fn all(&self, manner: Manner) -> Result<(), Failure> {
        report_there(self.context, self.orders)?;
        let mut next = (0..self.orders.len()).filter(|&i| !self.orders[i].is_done());
        let mut at_work: Vec<Work<'_>> = Vec::new();
        let mut may_begin = true;
        loop {
            while may_begin && at_work.len() < manner.jobs {
                let Some(i) = next.next() else {
                    break;
                };
                at_work.push(Box::pin(async move { (i, self.one(i).await) }));
            }
            self.show_total();
            if at_work.is_empty() {
                break;
            }
            let (i, outcome) = tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {
                    drop(at_work);
                    return Err(self.interrupted(manner).await);
                }
                done = any(&mut at_work) => done,
            };
            self.under_way.borrow_mut().remove(&i);
            self.live.borrow_mut().hide(key(i));
            if let Err(failure) = outcome {
                if ends_all(&failure) {
                    self.live.borrow_mut().clear();
                    return Err(failure);
                }
                may_begin &= !manner.fail_fast;
                self.failed(i, failure)?;
            }
        }
        self.live.borrow_mut().clear();
        self.tally.borrow().sum_up(self.context, self.source)
    }

    /// One line, from its submission to its last picture.
    async fn one(&self, i: usize) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            let written = self.tally.borrow().written();
            match self.attempt(i).await {
                Err(failure) if is_passing(&failure) && tries < MAX_TRIES => {
                    // What has made progress meanwhile is not stuck.
                    tries = match self.tally.borrow().written() > written {
                        true => 0,
                        false => tries + 1,
                    };
                    self.row(i, Row::state(self.label(i), "waiting for the daemon"));
                    sleep(TRY_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, i: usize) -> Result<(), Failure> {
        let order = &self.orders[i];
        self.row(i, Row::state(self.label(i), "submitting"));
        let Submitted { mut job, existed } = self.submit(i).await?;
        self.ledger.borrow_mut().begin(order.id())?;
        self.under_way.borrow_mut().insert(i, job.id.clone());
        let client = self.client.borrow().clone();
        let mut follower = Follower::new(self.context, client, &job.id).quietly();
        // The table tells what a line would.
        let mut nothing = Progress::new(false);
        let has_failed = matches!(job.state(), JobState::Failed | JobState::Cancelled);
        if existed && has_failed {
            job = follower
                .call(&mut nothing, async |client| client.retry(&job.id).await)
                .await?;
        }
        let mut there: BTreeSet<u32> = self.there(i);
        let mut evaluations = BTreeMap::new();
        while !is_final(job.state())
            && let Some(event) = follower.next(&mut nothing).await?
        {
            match event {
                JobEvent::Snapshot(now) | JobEvent::Changed(now) => {
                    self.row(i, state_row(&self.label(i), &now));
                    job = *now;
                }
                JobEvent::Loading { fraction, .. } => {
                    let text = format!("loading the model, {:.0} %", fraction * 100.0);
                    self.row(i, Row::state(self.label(i), text));
                }
                JobEvent::Started(started) => {
                    let done = started.evaluations_done;
                    evaluations.insert(started.image_index, (done, started.evaluation_count));
                    self.row(
                        i,
                        drawing_row(&self.label(i), &job, &there, &evaluations, None),
                    );
                }
                JobEvent::Step(step) => {
                    evaluations.insert(step.image_index, (step.index, step.count));
                    let left = step.eta.filter(|_| job.image_count == 1);
                    self.row(
                        i,
                        drawing_row(&self.label(i), &job, &there, &evaluations, left),
                    );
                }
                JobEvent::Image(image) => {
                    evaluations.remove(&image.image_index);
                    self.picture(i, &mut follower, &job, &image, &mut there)
                        .await?;
                }
                JobEvent::Notice { message, .. } => self.notice(i, &message),
                _ => {}
            }
        }
        // Of a job that was over before it was watched.
        if there.len() < order.count() as usize && job.images_done > 0 {
            let id = job.id.clone();
            let images = follower
                .call(&mut nothing, async |client| client.images(&id).all().await)
                .await?;
            for image in images {
                self.picture(i, &mut follower, &job, &image, &mut there)
                    .await?;
            }
        }
        match words::failure(&job) {
            Some(error) => Err(error.into()),
            None if there.len() < order.count() as usize => Err(Failure::from(Error::Contract(
                "the job is done and not all its pictures are there",
            ))),
            None => Ok(()),
        }
    }

    /// Submits, as often as the daemon has no room; the name makes it one job however often.
    async fn submit(&self, i: usize) -> Result<Submitted, Failure> {
        loop {
            let request = JobRequest {
                generate: self.orders[i].request.clone(),
                ..JobRequest::default()
            };
            let client = self.client.borrow().clone();
            let error = match client.submit(request).await {
                Ok(submitted) => return Ok(submitted),
                Err(error) => error,
            };
            let Error::Refused(failure) = &error else {
                if matches!(error, Error::Lost(_)) {
                    let client = Client::connect(self.context.connect.clone()).await?;
                    self.client.replace(client);
                }
                return Err(error.into());
            };
            let what = match failure.reason {
                Reason::QueueFull | Reason::ClientQueueFull => {
                    "waiting: the daemon's queue is full"
                }
                Reason::DiskFull => "waiting: the daemon's disk is full",
                _ => return Err(error.into()),
            };
            self.row(i, Row::state(self.label(i), what));
            sleep(failure.retry_after.unwrap_or(TRY_AGAIN)).await;
        }
    }

    /// Writes a picture that is done, once.
    async fn picture(
        &self,
        i: usize,
        follower: &mut Follower<'_>,
        job: &Job,
        image: &JobImage,
        there: &mut BTreeSet<u32>,
    ) -> Result<(), Failure> {
        let (ImageState::Done, Some(metadata)) = (image.state(), &image.metadata) else {
            return Ok(());
        };
        let (order, index) = (&self.orders[i], image.image_index);
        if there.contains(&index) {
            return Ok(());
        }
        let existing = order
            .output
            .existing(&order.request.prompt, index, metadata);
        let existed = existing.is_some();
        let mut nothing = Progress::new(false);
        let path = match existing {
            Some(path) => Some(path),
            None => {
                let fetched = follower
                    .call(&mut nothing, async |client| {
                        client.image(&job.id, index).await
                    })
                    .await?;
                self.suspend(|| order.output.write(&fetched))?
            }
        };
        if let Some(path) = &path {
            let mut ledger = self.ledger.borrow_mut();
            ledger.wrote(order.id(), index, path, image.size_bytes)?;
        }
        there.insert(index);
        self.tally.borrow_mut().wrote(i, index);
        let mut object = objects::file(&job.id, image, metadata, path.as_deref(), existed);
        object["line"] = serde_json::json!(order.number);
        self.say(&object, path.as_deref())?;
        self.show_total();
        Ok(())
    }

    /// The pictures of an order that are written.
    fn there(&self, i: usize) -> BTreeSet<u32> {
        let mut there: BTreeSet<u32> = self.orders[i].there.keys().copied().collect();
        there.extend(self.tally.borrow().of(i));
        there
    }

    fn failed(&self, i: usize, failure: Failure) -> Result<(), Failure> {
        let number = self.orders[i].number;
        if self.context.json {
            let mut object = json::failure(&failure);
            object["event"] = "line_failed".into();
            object["line"] = number.into();
            self.context.terminal.line(&object.to_string())?;
        }
        self.tally.borrow_mut().failed(i, number, failure);
        Ok(())
    }

    async fn interrupted(&self, manner: Manner) -> Failure {
        self.live.borrow_mut().clear();
        let ids: Vec<_> = self.under_way.borrow().values().cloned().collect();
        let written = self.tally.borrow().written();
        let jobs = |count: usize| match count {
            1 => "1 job".to_owned(),
            count => format!("{count} jobs"),
        };
        let mut message = format!("pictures written: {written}");
        if !manner.cancel_on_interrupt {
            if !ids.is_empty() {
                message = format!(
                    "{message}; {} under way go on in the daemon",
                    jobs(ids.len())
                );
            }
            return Failure::interrupted(&message)
                .hint("`imgctl jobs` shows them; the same command again goes on from here");
        }
        let client = self.client.borrow().clone();
        let mut cancelled = 0;
        for id in &ids {
            tokio::select! {
                biased;
                outcome = client.cancel(id) => cancelled += usize::from(outcome.is_ok()),
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        Failure::interrupted(&format!("{message}; {} cancelled", jobs(cancelled)))
            .hint("the same command again goes on from here")
    }

    fn label(&self, i: usize) -> String {
        let order = &self.orders[i];
        format!(
            "{} {}",
            order.number,
            words::one_line(&order.request.prompt)
        )
    }

    fn row(&self, i: usize, row: Row) {
        self.live.borrow_mut().show(key(i), row);
    }

    fn show_total(&self) {
        let total = self.tally.borrow().row();
        self.live.borrow_mut().total(total);
    }

    fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.live.borrow().suspend(write)
    }

    fn say(&self, object: &serde_json::Value, path: Option<&Path>) -> Result<(), Failure> {
        let terminal = self.context.terminal;
        match path {
            _ if self.context.json => terminal.line(&object.to_string()),
            Some(path) => self.suspend(|| terminal.line(&path.display().to_string())),
            None => Ok(()),
        }
    }

    fn notice(&self, i: usize, message: &str) {
        if !self.context.quiet {
            let text = format!("{}:{}: {message}", self.source, self.orders[i].number);
            self.suspend(|| self.context.terminal.notice(&text));
        }
    }
}

/// Rows stand in the order of the lines.
fn key(i: usize) -> u64 {
    i as u64
}

/// Waits for whichever is done first, and takes it out. There are few, so all are asked at each turn.
async fn any(work: &mut Vec<Work<'_>>) -> (usize, Result<(), Failure>) {
    poll_fn(|context| {
        for i in 0..work.len() {
            if let Poll::Ready(done) = work[i].as_mut().poll(context) {
                drop(work.swap_remove(i));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether a failure passes by itself: a daemon that ends, and the next that is not there yet.
fn is_passing(failure: &Failure) -> bool {
    [Reason::Draining, Reason::DaemonUnavailable]
        .iter()
        .any(|reason| failure.reason == reason.as_str())
}

/// Whether no other line can do better.
fn ends_all(failure: &Failure) -> bool {
    let is_of_daemon = is_passing(failure) || failure.reason == Reason::ProtocolMismatch.as_str();
    let is_of_disk = failure.reason == Reason::OutputNotCreated.as_str();
    is_of_daemon || is_of_disk || failure.is_broken_pipe
}

/// Says that every picture is there.
pub(super) fn nothing_to_do(
    context: &Context,
    source: &str,
    orders: &[Order],
) -> Result<(), Failure> {
    report_there(context, orders)?;
    Tally::new(orders, Instant::now()).sum_up(context, source)
}

/// Tells a program of the pictures that earlier runs have written; a person is told their number.
fn report_there(context: &Context, orders: &[Order]) -> Result<(), Failure> {
    if !context.json {
        return Ok(());
    }
    for order in orders {
        for (index, path) in &order.there {
            let fields = serde_json::json!({
                "line": order.number,
                "image_index": index,
                "path": path.to_string_lossy(),
                "existed": true,
            });
            context
                .terminal
                .line(&json::object("image", fields).to_string())?;
        }
    }
    Ok(())
}

/// What a dry run says of an order: its number, whether it is done, and where its pictures go.
pub(super) fn dry(order: &Order) -> Vec<(u32, bool, PathBuf)> {
    (0..order.count())
        .map(|index| match order.there.get(&index) {
            Some(path) => (index, true, path.clone()),
            None => {
                let expected = order.output.expected(&order.request, index);
                (index, false, expected.unwrap_or_default())
            }
        })
        .collect()
}
