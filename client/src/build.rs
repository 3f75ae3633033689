//! Whether the daemon is of the build that is here now, and replacing it when it is not.

use std::{path::Path, time::Duration};

use imgd_proto::v1::{
    GetStatusResponse, ShutdownRequest, StartedBy, daemon_service_client::DaemonServiceClient,
};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::{ConnectNotice, ConnectOptions, Result, link};

/// How long a daemon that was asked to end may take; its own bound is 40 s.
const END_TIMEOUT: Duration = Duration::from_secs(45);

/// What to do with a daemon that answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Talk to it.
    Keep,
    /// It is on its way out: wait for that and start another.
    Wait,
    /// It is idle and of another build: end it and start another.
    Replace,
    /// It is of another build and must stay: say so.
    Warn(&'static str),
}

/// Decides from the daemon's status and the build that is here (`None`: no program here to compare with).
pub(crate) fn fate(status: &GetStatusResponse, build_here: Option<&str>) -> Fate {
    if status.draining {
        return Fate::Wait;
    }
    let Some(build_here) = build_here else {
        return Fate::Keep;
    };
    if status.build_id.is_empty() || status.build_id == build_here {
        return Fate::Keep;
    }
    let is_idle = status
        .queue
        .as_ref()
        .is_none_or(|queue| queue.waiting == 0 && queue.running == 0);
    match (status.started_by(), is_idle) {
        (StartedBy::Client, true) => Fate::Replace,
        (StartedBy::Client, false) => {
            Fate::Warn("it is at work and will be replaced when it is idle")
        }
        (StartedBy::ServiceManager, _) => Fate::Warn(
            "restart it with `systemctl --user restart imgd` (macOS: `launchctl kickstart -k`)",
        ),
        _ => Fate::Warn(
            "it was started by hand: restart it yourself, or end it with `imgctl shutdown`",
        ),
    }
}

/// Asks an idle daemon to end; `false` when it has found work meanwhile.
pub(crate) async fn end_if_idle(channel: &Channel, options: &ConnectOptions) -> Result<bool> {
    let mut daemon = DaemonServiceClient::new(channel.clone());
    let request = ShutdownRequest {
        force: false,
        if_idle: true,
    };
    match daemon.shutdown(request).await {
        Ok(_) => {
            options.notify(&ConnectNotice::Replacing);
            Ok(true)
        }
        Err(status) if status.code() == tonic::Code::FailedPrecondition => Ok(false),
        // Someone else has ended it.
        Err(status) if status.code() == tonic::Code::Unavailable => Ok(true),
        Err(status) => Err(status.into()),
    }
}

/// Waits until the daemon `pid` no longer answers on `socket`: nobody does, or another one.
pub(crate) async fn wait_until_gone(socket: &Path, pid: u32) -> Result<bool> {
    let deadline = Instant::now() + END_TIMEOUT;
    while Instant::now() < deadline {
        let Ok(Some(channel)) = link::connect(socket).await else {
            return Ok(true);
        };
        match link::status(&channel, Duration::from_secs(2)).await {
            Ok(status) if status.pid != pid => return Ok(true),
            _ => sleep(Duration::from_millis(10)).await,
        }
    }
    Ok(false)
}

/// Waits until the process is gone.
pub(crate) async fn wait_until_ended(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return true;
    };
    let deadline = Instant::now() + END_TIMEOUT;
    while Instant::now() < deadline {
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use imgd_proto::v1::Queue;

    use super::*;

    fn daemon(build: &str, started_by: StartedBy, running: u32) -> GetStatusResponse {
        GetStatusResponse {
            build_id: build.into(),
            started_by: started_by.into(),
            queue: Some(Queue {
                waiting: 0,
                running,
                capacity: 8,
                ..Queue::default()
            }),
            ..GetStatusResponse::default()
        }
    }

    #[test]
    fn only_an_idle_autostarted_daemon_of_another_build_is_replaced() {
        let same = daemon("a", StartedBy::Client, 0);
        assert_eq!(fate(&same, Some("a")), Fate::Keep);
        assert_eq!(fate(&same, None), Fate::Keep);
        assert_eq!(fate(&same, Some("b")), Fate::Replace);
        let busy = daemon("a", StartedBy::Client, 1);
        assert!(matches!(fate(&busy, Some("b")), Fate::Warn(_)));
        for started_by in [
            StartedBy::Hand,
            StartedBy::ServiceManager,
            StartedBy::Unspecified,
        ] {
            assert!(matches!(
                fate(&daemon("a", started_by, 0), Some("b")),
                Fate::Warn(_)
            ));
        }
    }

    #[test]
    fn a_draining_daemon_is_waited_for() {
        let status = GetStatusResponse {
            draining: true,
            ..daemon("a", StartedBy::Hand, 1)
        };
        assert_eq!(fate(&status, Some("a")), Fate::Wait);
    }
}
