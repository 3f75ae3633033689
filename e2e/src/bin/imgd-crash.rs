//! The crash run at full size: kills worker and daemon at random while jobs are made, and compares every picture with
//! an undisturbed run's.
//!
//! ```text
//! cargo build --release && cargo run --release -p imgd-e2e --bin imgd-crash
//! cargo run --release -p imgd-e2e --bin imgd-crash -- --kills 50 --jobs 20 --full-jobs 2 --clean-percent 20
//! ```
//!
//! Ends with status 1 when anything is lost, doubled, halved or different.

#![expect(clippy::print_stdout, reason = "the report is the output")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use imgd_e2e::crash::{self, Plan};

#[derive(Parser)]
#[command(about = "Kills imgd at random and checks that no job loses anything")]
struct Arguments {
    /// Decides the jobs, the kills and their times; the same seed plans the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Jobs.
    #[arg(long, default_value_t = 150)]
    jobs: usize,
    /// Pictures of each job.
    #[arg(long, default_value_t = 4)]
    images: u32,
    /// Jobs at full settings (256x256, 25 steps); the others are 128x128, 6 steps.
    #[arg(long, default_value_t = 20)]
    full_jobs: usize,
    /// SIGKILLs of worker, daemon, or both.
    #[arg(long, default_value_t = 300)]
    kills: usize,
    /// Clean restarts (SIGTERM) among them, in percent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=90))]
    clean_percent: u64,
    /// Least time between two kills.
    #[arg(long, default_value = "20ms", value_parser = humantime::parse_duration)]
    least: Duration,
    /// Most time between two kills.
    #[arg(long, default_value = "800ms", value_parser = humantime::parse_duration)]
    most: Duration,
    /// Gives up after this long.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    patience: Duration,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        seed: arguments.seed,
        jobs: arguments.jobs,
        images: arguments.images,
        full_jobs: arguments.full_jobs,
        kills: arguments.kills,
        clean_percent: arguments.clean_percent,
        apart: arguments.least..arguments.most,
        patience: arguments.patience,
    };
    let start = Instant::now();
    let tell = |line: &str| println!("{:>7.1} s  {line}", start.elapsed().as_secs_f64());
    match crash::run(&plan, &tell) {
        Ok(report) => {
            println!("{report}");
            // fewer kills than were asked for: the work was over before
            let passed = report.violations.is_empty() && report.kills.total() >= plan.kills;
            ExitCode::from(u8::from(!passed))
        }
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}
