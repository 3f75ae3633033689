//! The daemon's life: from the bound socket to the last connection.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{OnceCell, mpsc, watch},
    time::{Instant, timeout},
};
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use super::{Limits, Listening, idle::Idle, serve};
use crate::{
    journal::Recovered,
    sandbox::Processes,
    scheduler::{Ending, Options, Scheduler},
    service_manager,
    services::{DaemonApi, Identity, ImageApi, JobApi, ModelApi, Names, report_health, routes},
};

/// How long connections may take to close once nothing is left to say on them.
const CLOSING_TIME: Duration = Duration::from_secs(10);

/// The same when the daemon is to end at once.
const FORCED_CLOSING_TIME: Duration = Duration::from_millis(500);

/// Everything a daemon needs to run.
pub struct Running {
    /// The socket.
    pub listening: Listening,
    /// What clients may take.
    pub limits: Limits,
    /// What the scheduler needs to know.
    pub scheduler: Options,
    /// What the journal had.
    pub recovered: Recovered,
    /// The models.
    pub names: Names,
    /// What the daemon says of itself.
    pub identity: Identity,
    /// Whose sandboxes are told of.
    pub processes: Processes,
    /// How long running work may go on once the daemon is asked to end.
    pub drain_timeout: Duration,
    /// How long nobody must have needed the daemon for it to end; `None`: it stays.
    pub idle_exit: Option<Duration>,
    /// Whether a request that does not say is private.
    pub is_private: bool,
}

/// Serves until the daemon is asked to end, by a signal or by `Shutdown`, or nobody needs it, and its work is done.
pub async fn run(running: Running) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let Running {
        listening,
        limits,
        scheduler,
        recovered,
        names,
        identity,
        processes,
        drain_timeout,
        idle_exit,
        is_private,
    } = running;
    let (scheduler, mut task) = Scheduler::start(scheduler, recovered);
    let names = Arc::new(names);
    let (end, mut asked_to_end) = mpsc::channel(4);
    let (routes, health) = routes(
        ImageApi {
            scheduler: scheduler.clone(),
            names: Arc::clone(&names),
            is_private,
        },
        JobApi {
            scheduler: scheduler.clone(),
            names: Arc::clone(&names),
            is_private,
        },
        ModelApi {
            scheduler: scheduler.clone(),
            names,
        },
        DaemonApi {
            scheduler: scheduler.clone(),
            end,
            identity: Arc::new(identity),
            devices: Arc::new(OnceCell::new()),
            processes,
        },
    );
    report_health(&health, true).await;
    let (close, closing) = watch::channel(false);
    let (grant, grace) = watch::channel(CLOSING_TIME);
    let listener = listening.listener.try_clone()?;
    let idle = Idle::new(idle_exit, scheduler.clone());
    let mut server = tokio::spawn(serve(listener, routes, limits, idle, closing, grace));
    let mut has_served = None;
    service_manager::ready();
    info!("serving {}", listening.path.display());

    let first = tokio::select! {
        () = signals.next() => Ending::Drain,
        Some(ending) = asked_to_end.recv() => ending,
        // It ends by itself only if it has a defect.
        _ = &mut task => Ending::Now,
        // Nobody needs it, and no connection is taken any more.
        served = &mut server => {
            has_served = Some(served);
            Ending::Drain
        }
    };
    service_manager::stopping();
    let end = Instant::now() + drain_timeout;
    if !task.is_finished() {
        if first == Ending::Now {
            grant.send_replace(FORCED_CLOSING_TIME);
        }
        begin_to_end(&scheduler, first, &health).await;
        let is_through = tokio::select! {
            _ = &mut task => true,
            () = forced(&mut signals, &mut asked_to_end) => false,
            () = tokio::time::sleep_until(end) => {
                warn!("work was still running after {} s and is given up", drain_timeout.as_secs());
                false
            }
        };
        if !is_through {
            drop(scheduler.end(Ending::Now).await);
            drop(timeout(Duration::from_secs(3), &mut task).await);
            grant.send_replace(FORCED_CLOSING_TIME);
        }
    }
    // The next daemon may take socket and journal from here on.
    if timeout(Duration::from_secs(5), scheduler.close())
        .await
        .is_err()
    {
        warn!("the journal was not closed in time; nothing in it is lost");
    }
    listening.remove_name();
    let left = end.saturating_duration_since(Instant::now());
    let most = (*grant.borrow()).min(left.max(FORCED_CLOSING_TIME));
    grant.send_replace(most);
    close.send_replace(true);
    let served = match has_served {
        Some(served) => Some(served),
        None => tokio::select! {
            served = &mut server => Some(served),
            () = forced(&mut signals, &mut asked_to_end) => {
                server.abort();
                None
            }
        },
    };
    info!("ended");
    served.map_or(Ok(()), |served| served.map_err(io::Error::other)?)
}

async fn begin_to_end(scheduler: &Scheduler, ending: Ending, health: &HealthReporter) {
    info!("ending: no more work is taken");
    report_health(health, false).await;
    // The task may end before it answers, which is what was asked.
    drop(scheduler.end(ending).await);
}

/// Waits for a second, stronger word.
async fn forced(signals: &mut Signals, asked_to_end: &mut mpsc::Receiver<Ending>) {
    loop {
        tokio::select! {
            () = signals.next() => return,
            ending = asked_to_end.recv() => match ending {
                Some(Ending::Now) => return,
                Some(_) => {}
                None => std::future::pending().await,
            },
        }
    }
}

/// SIGTERM and SIGINT, which mean the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
