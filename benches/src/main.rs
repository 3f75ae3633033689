//! Measurements of imgd. Never part of the tests: a time that fails a build on a busy machine teaches nothing.
//!
//! ```text
//! cargo build --release && cargo run --release -p imgd-benches -- overhead
//! cargo run --release -p imgd-benches -- engine
//! ```
//!
//! Each prints one line a figure: name, median, least and most of its runs.

#![expect(clippy::print_stdout, reason = "figures are the output")]

mod engine;
mod overhead;
mod private_daemon;

use std::time::Duration;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measurements of imgd")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What the daemon and the command line add to inference; ready time, status calls, idle CPU time.
    Overhead {
        /// Warm pictures to draw.
        #[arg(long, default_value_t = 20)]
        runs: usize,
        /// Seconds to watch the idle daemon; 0 leaves it out.
        #[arg(long, default_value_t = 60)]
        idle_secs: u64,
    },
    /// What the engine takes: load, text, step, decode, PNG.
    Engine {
        /// A diffusers directory.
        #[arg(long, default_value = "models/starter")]
        model: std::path::PathBuf,
        /// Pictures to draw.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Side of the picture in pixels; default the model's.
        #[arg(long)]
        size: Option<u32>,
    },
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    match Arguments::parse().what {
        What::Overhead { runs, idle_secs } => overhead::run(runs, idle_secs),
        What::Engine { model, runs, size } => engine::run(&model, runs, size),
    }
}

/// Prints a figure from the times of its runs.
fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (Some(least), Some(most)) = (times.first(), times.last()) else {
        return;
    };
    let median = times[times.len() / 2];
    println!(
        "{name:<44} median {:>9.3} ms   least {:>9.3}   most {:>9.3}   runs {}",
        milliseconds(median),
        milliseconds(*least),
        milliseconds(*most),
        times.len()
    );
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
