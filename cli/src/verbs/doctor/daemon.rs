//! The daemon: whether it answers, what it is, and how it does.

use std::{path::Path, time::Duration};

use imgd_client::{Client, Error, survey, v1};
use imgd_proto::PROTOCOL;
use tokio::time::timeout;

use super::{
    finding::Finding,
    reach,
    service::Service,
    show::counted,
    socket::{Socket, State},
};
use crate::{
    Context, durations,
    failure::Failure,
    table,
    verbs::status::{started_by, uptime},
};

/// A daemon that runs answers within this; one that does not, hangs.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// A daemon that is started answers within this, or has not come up.
pub(super) const START: Duration = Duration::from_secs(40);
/// On top of them: for connecting, and for replacing a daemon of another build.
const AROUND: Duration = Duration::from_secs(50);

/// What was found.
pub(super) struct Daemon {
    pub(super) findings: Vec<Finding>,
    /// How it is, if it answers.
    pub(super) status: Option<v1::GetStatusResponse>,
    /// The connection, if further questions make sense: it speaks our protocol.
    pub(super) client: Option<Client>,
}

impl Daemon {
    fn only(finding: Finding) -> Self {
        Self {
            findings: vec![finding],
            status: None,
            client: None,
        }
    }
}

pub(super) async fn look(
    socket: &Socket,
    service: &Service,
    may_start: bool,
    imgd: Option<&Path>,
    context: &Context,
) -> Daemon {
    if let Some(finding) = absent(socket, service, may_start) {
        return Daemon::only(finding);
    }
    let asked = async {
        let client = Client::connect(reach(may_start, context)).await?;
        let status = timeout(ANSWER, client.status())
            .await
            .map_err(|_elapsed| Error::Silent {
                waited_secs: ANSWER.as_secs(),
                log: None,
            })??;
        Ok::<_, Error>((client, status))
    };
    let limit = if may_start {
        START + AROUND
    } else {
        2 * ANSWER
    };
    match timeout(limit, asked).await {
        Ok(Ok((client, status))) => answering(client, status, imgd),
        Ok(Err(Error::Silent { waited_secs, log })) => {
            Daemon::only(silent(waited_secs, log.as_deref(), socket))
        }
        Err(_elapsed) => Daemon::only(silent(limit.as_secs(), None, socket)),
        Ok(Err(error)) => Daemon::only(Finding::failed("answer", Failure::from(error))),
    }
}

/// Why the daemon is not asked; `None` where it is.
fn absent(socket: &Socket, service: &Service, may_start: bool) -> Option<Finding> {
    const START_IT: &str =
        "it starts with the first `imgctl generate`, or now with `imgctl doctor --start`";
    match socket.state {
        State::Barred => Some(
            Finding::problem("answer", "not asked: its socket cannot be used")
                .advice("see the socket, above"),
        ),
        State::Absent | State::Stale if !may_start => {
            Some(Finding::note("answer", "no daemon runs").advice(START_IT))
        }
        State::Ours { .. } if service.waits && !may_start => {
            let found = "no daemon runs; the service manager listens, and was not woken";
            Some(Finding::note("answer", found).advice(START_IT))
        }
        State::Absent | State::Stale | State::Ours { .. } => None,
    }
}

/// It takes connections and says nothing.
fn silent(waited_secs: u64, log: Option<&Path>, socket: &Socket) -> Finding {
    let found = format!("it takes connections and does not answer within {waited_secs} s");
    let end = match socket.listener_pid() {
        Some(pid) => format!("if it stays so, `kill {pid}` (then `kill -9 {pid}`)"),
        None => "if it stays so, end it by its process id (see `ps`)".to_owned(),
    };
    let log = log.map_or_else(String::new, |log| {
        format!("; what it said is in {}", log.display())
    });
    Finding::problem("answer", found).advice(format!("{end}; the next command starts another{log}"))
}

fn answering(client: Client, status: v1::GetStatusResponse, imgd: Option<&Path>) -> Daemon {
    let found = format!(
        "{} (protocol {}), process {}, up {}, started by {}",
        status.version,
        status.protocol,
        status.pid,
        durations::rough(uptime(&status)),
        started_by(&status).replace('_', " ")
    );
    let mut findings = vec![Finding::ok("answer", found)];
    let speaks_ours = status.protocol == PROTOCOL;
    if !speaks_ours {
        let found = format!(
            "it speaks protocol {}, and imgctl {PROTOCOL}: no command but this one and `shutdown` can be used",
            status.protocol
        );
        let advice = "end it with `imgctl shutdown`; the next command starts the right one";
        findings.push(Finding::problem("protocol", found).advice(advice));
    }
    findings.extend(imgd.map(|imgd| build(&status, imgd)));
    if status.draining {
        let found = "it ends when its work is done, and takes no more";
        findings.push(
            Finding::note("state", found)
                .advice("a command that needs a daemon waits, and starts the next"),
        );
    }
    findings.push(work(&status.queue.clone().unwrap_or_default()));
    if let Some(library) = &status.library {
        let found = format!(
            "{}, {}, {} in {}",
            counted(usize::try_from(library.jobs).unwrap_or(usize::MAX), "job"),
            counted(
                usize::try_from(library.images).unwrap_or(usize::MAX),
                "picture"
            ),
            table::size(library.size_bytes),
            library.path
        );
        findings.push(Finding::ok("keeps", found));
    }
    Daemon {
        findings,
        client: speaks_ours.then_some(client),
        status: Some(status),
    }
}

fn build(status: &v1::GetStatusResponse, imgd: &Path) -> Finding {
    let short = status.build_id.get(..12).unwrap_or(&status.build_id);
    match survey::other_build(status, imgd) {
        None => Finding::ok("build", format!("{short}, that of the imgd above")),
        Some(advice) => Finding::note(
            "build",
            format!("{short}: another build than the imgd above"),
        )
        .advice(advice),
    }
}

fn work(queue: &v1::Queue) -> Finding {
    let found = format!(
        "{} running, {} waiting, {} paused; room for {}",
        queue.running, queue.waiting, queue.paused, queue.capacity
    );
    if queue.waiting >= queue.capacity && queue.capacity > 0 {
        let advice = "requests are refused until some are done; `imgctl jobs` shows whose they are, `queue_capacity` is the limit";
        return Finding::note("work", format!("{found}: full")).advice(advice);
    }
    if !queue.background_blocked.is_empty() {
        let found = format!(
            "{found}; background jobs wait: {}",
            queue.background_blocked
        );
        return Finding::ok("work", found);
    }
    Finding::ok("work", found)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Mark, *};

    #[test]
    fn a_full_queue_and_what_blocks_background_work_are_told() {
        let queue = v1::Queue {
            waiting: 3,
            capacity: 3,
            ..v1::Queue::default()
        };
        assert_eq!(work(&queue).mark, Mark::Note);
        let blocked = v1::Queue {
            background_blocked: "on battery".into(),
            capacity: 9,
            ..v1::Queue::default()
        };
        assert!(work(&blocked).found.ends_with("on battery"));
    }
}
