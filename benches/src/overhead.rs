//! What the daemon and the command line add to inference.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Failure, milliseconds, private_daemon::PrivateDaemon, report};

const STATUS_CALLS: usize = 2_000;

/// Starts a daemon of its own and measures it.
#[expect(clippy::print_stdout, reason = "figures are the output")]
pub(crate) fn run(runs: usize, idle_secs: u64) -> Result<(), Failure> {
    let mut ready = Vec::new();
    for _ in 0..5 {
        ready.push(PrivateDaemon::start()?.ready);
    }
    report("ready to accept after start", ready);

    let daemon = PrivateDaemon::start()?;
    draw(&daemon)?;
    let drawn = (0..runs)
        .map(|_| draw(&daemon))
        .collect::<Result<Vec<_>, _>>()?;
    report(
        "warm generate, whole process",
        drawn.iter().map(|run| run.wall).collect(),
    );
    report(
        "warm generate, engine",
        drawn.iter().map(|run| run.engine).collect(),
    );
    report(
        "warm generate, overhead",
        drawn
            .iter()
            .map(|run| run.wall.saturating_sub(run.engine))
            .collect(),
    );
    report("GetStatus over a kept connection", status_calls(&daemon)?);

    if idle_secs > 0 {
        thread::sleep(Duration::from_secs(2));
        let before = daemon.cpu_time()?;
        thread::sleep(Duration::from_secs(idle_secs));
        let used = daemon.cpu_time()?.saturating_sub(before);
        println!(
            "CPU time in {idle_secs} idle seconds, model resident    {:.3} ms (of {:.0} ms since the start)",
            milliseconds(used),
            milliseconds(before)
        );
    }
    Ok(())
}

/// One warm picture through the command line.
struct Drawn {
    wall: Duration,
    engine: Duration,
}

fn draw(daemon: &PrivateDaemon) -> Result<Drawn, Failure> {
    let mut command = daemon.imgctl()?;
    command.args(["generate", "a red apple", "--seed", "1", "--json"]);
    let started = Instant::now();
    let output = command.output()?;
    let wall = started.elapsed();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let finished = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .find(|object| object["event"] == "finished")
        .ok_or("imgctl printed no `finished` object")?;
    let seconds = |key: &str| finished[key].as_f64().unwrap_or(f64::NAN);
    let engine = seconds("starting_secs") + seconds("stepping_secs") + seconds("finishing_secs");
    Ok(Drawn {
        wall,
        engine: Duration::try_from_secs_f64(engine)?,
    })
}

fn status_calls(daemon: &PrivateDaemon) -> Result<Vec<Duration>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = daemon.client().await?;
        let mut times = Vec::with_capacity(STATUS_CALLS);
        for _ in 0..STATUS_CALLS {
            let at = Instant::now();
            client.status().await?;
            times.push(at.elapsed());
        }
        Ok(times)
    })
}
