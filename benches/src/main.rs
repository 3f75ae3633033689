//! Measurements of imgd. Never part of the tests: a time that fails a build on a busy machine teaches nothing.
//!
//! ```text
//! cargo build --release && cargo run --release -p imgd-benches -- overhead
//! cargo run --release -p imgd-benches -- engine
//! cargo run --release -p imgd-benches -- ops
//! cargo run --release -p imgd-benches -- peers --python venv/bin/python --models DIRECTORY
//! cargo run --release -p imgd-benches -- batch
//! cargo run --release -p imgd-benches -- preempt
//! cargo run --release -p imgd-benches -- together
//! cargo run --release -p imgd-benches -- flood
//! cargo run --release -p imgd-benches -- watchers
//! ```
//!
//! Each prints one line a figure: name, median, least and most of its runs.

#![expect(clippy::print_stdout, reason = "figures are the output")]

mod batch;
mod blocks;
mod curve;
mod engine;
mod flood;
mod ops;
mod overhead;
mod peers;
mod preempt;
mod private_daemon;
mod together;
mod watchers;

use std::time::Duration;

use clap::{Parser, Subcommand};
use imgd_engine::{
    Precision,
    kernels::cpu::{Format, PoolingAllocator},
};

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
        /// Denoising steps; default the model's.
        #[arg(long)]
        steps: Option<u32>,
        /// `auto`, `f32` or `bf16`.
        #[arg(long, default_value = "auto", value_parser = precision)]
        precision: Precision,
    },
    /// What each kernel of the CPU takes on the shapes of real networks.
    Ops {
        /// `auto`, `f32` or `bf16`.
        #[arg(long, default_value = "auto", value_parser = precision)]
        precision: Precision,
        /// Runs of each, of which the median counts.
        #[arg(long, default_value_t = 9)]
        runs: usize,
        /// Keeps the weights in the caches.
        #[arg(long)]
        warm: bool,
        /// Times only those whose name has this in it.
        #[arg(long)]
        filter: Option<String>,
    },
    /// What products with weights in blocks take beside plain ones.
    Blocks {
        /// `auto`, `f32` or `bf16`.
        #[arg(long, default_value = "auto", value_parser = precision)]
        precision: Precision,
        /// Runs of each, of which the median counts.
        #[arg(long, default_value_t = 9)]
        runs: usize,
    },
    /// The same networks in OpenVINO and PyTorch, interleaved: see the top of `benches/src/peers.rs`.
    Peers {
        /// A Python with torch, diffusers, transformers and openvino.
        #[arg(long)]
        python: std::path::PathBuf,
        /// Where `benches/peers/make_models.py` put the models.
        #[arg(long)]
        models: std::path::PathBuf,
        /// Networks, each `MODEL/NETWORK/SIZE/BATCH` with `unet`, `vae` or `text`.
        #[arg(long, value_delimiter = ',', default_values_t = [
            "sd15/unet/256/1", "sd15/unet/256/2", "sd15/unet/512/1", "sd15/unet/512/2", "sd15/vae/256/1",
            "sd15/vae/512/1", "sd15/text/256/1",
        ].map(str::to_owned))]
        cases: Vec<String>,
        /// Peers to run against.
        #[arg(long, value_delimiter = ',', default_values_t = ["openvino-bf16", "torch-bf16"].map(str::to_owned))]
        backends: Vec<String>,
        /// stable-diffusion.cpp's `sd-cli`, another peer.
        #[arg(long)]
        sdcpp: Option<std::path::PathBuf>,
        /// A folder that keeps what OpenVINO reads.
        #[arg(long)]
        cache: Option<std::path::PathBuf>,
        /// Runs of each, of which the median counts.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// `auto`, `f32` or `bf16`.
        #[arg(long, default_value = "auto", value_parser = precision)]
        precision: Precision,
    },
    /// What one evaluation takes for several pictures together, guided and not.
    Batch {
        /// A diffusers directory.
        #[arg(long, default_value = "models/starter")]
        model: std::path::PathBuf,
        /// Sides of the pictures in pixels.
        #[arg(long, value_delimiter = ',', default_values_t = [128, 256])]
        sizes: Vec<u32>,
        /// Most pictures together.
        #[arg(long, default_value_t = 8)]
        most: usize,
    },
    /// How long a person's request waits while a batch runs, and whether the batch loses anything.
    Preempt {
        /// Pictures of the batch.
        #[arg(long, default_value_t = 100)]
        images: u32,
        /// Side of all pictures in pixels.
        #[arg(long, default_value_t = 256)]
        size: u32,
        /// Denoising steps of all pictures.
        #[arg(long, default_value_t = 14)]
        steps: u32,
        /// Requests of the person.
        #[arg(long, default_value_t = 30)]
        requests: usize,
        /// Decides when they come.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Clients that ask at once against the same one after another, and what the batch curve promises.
    Together {
        /// A diffusers directory.
        #[arg(long, default_value = "models/starter")]
        model: std::path::PathBuf,
        /// Clients.
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// Sides of the pictures in pixels.
        #[arg(long, value_delimiter = ',', default_values_t = [128, 256])]
        sizes: Vec<u32>,
        /// Denoising steps.
        #[arg(long, default_value_t = 14)]
        steps: u32,
        /// Rounds, of which the median counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Submissions as fast as they can be made: how they are answered and what the daemon grows to.
    Flood {
        /// Submissions, each of one tiny picture.
        #[arg(long, default_value_t = 10_000)]
        submissions: usize,
        /// Submits what is refused again until it is accepted.
        #[arg(long)]
        insist: bool,
    },
    /// Watchers of one job, half of whom stop reading: what its steps take with and without them.
    Watchers {
        /// Watchers.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// Denoising steps of each of the job's four pictures.
        #[arg(long, default_value_t = 50)]
        steps: u32,
        /// Side of the pictures in pixels.
        #[arg(long, default_value_t = 256)]
        size: u32,
    },
}

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: PoolingAllocator = PoolingAllocator;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    match Arguments::parse().what {
        What::Overhead { runs, idle_secs } => overhead::run(runs, idle_secs),
        What::Engine {
            model,
            runs,
            size,
            steps,
            precision,
        } => engine::run(&model, runs, size, steps, precision),
        What::Ops {
            precision,
            runs,
            warm,
            filter,
        } => ops::run(format_of(precision), runs, warm, filter.as_deref()),
        What::Blocks { precision, runs } => blocks::run(format_of(precision), runs),
        What::Peers {
            python,
            models,
            cases,
            backends,
            sdcpp,
            cache,
            rounds,
            precision,
        } => peers::run(&peers::Plan {
            python,
            models,
            cases,
            backends,
            sdcpp,
            cache,
            rounds,
            precision,
        }),
        What::Batch { model, sizes, most } => batch::run(&model, &sizes, most),
        What::Preempt {
            images,
            size,
            steps,
            requests,
            seed,
        } => preempt::run(&preempt::Plan {
            images,
            size_px: size,
            steps,
            requests,
            seed,
        }),
        What::Together {
            model,
            clients,
            sizes,
            steps,
            rounds,
        } => together::run(&model, clients, &sizes, steps, rounds),
        What::Flood {
            submissions,
            insist,
        } => flood::run(submissions, insist),
        What::Watchers { count, steps, size } => watchers::run(count, steps, size),
    }
}

fn precision(name: &str) -> Result<Precision, String> {
    [Precision::Auto, Precision::F32, Precision::Bf16]
        .into_iter()
        .find(|precision| precision.name() == name)
        .ok_or_else(|| "it is `auto`, `f32` or `bf16`".to_owned())
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

/// What products of `precision` are made of.
fn format_of(precision: Precision) -> Format {
    match precision.resolved() {
        Precision::Bf16 => Format::Bf16,
        Precision::Auto | Precision::F32 => Format::F32,
    }
}
