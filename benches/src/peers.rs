//! The same networks in other engines, on the same machine in the same run, one after the other and again.
//!
//! ```text
//! python3 -m venv venv && venv/bin/pip install torch diffusers transformers openvino
//! venv/bin/python benches/peers/make_models.py /tmp/models sd15 sdxl
//! cargo run --release -p imgd-benches -- peers --python venv/bin/python --models /tmp/models
//! ```
//!
//! `--cache DIRECTORY` keeps what OpenVINO reads, so that the next run need not convert it; SDXL fits into 24 GB only so.
//!
//! stable-diffusion.cpp joins with `--sdcpp build/bin/sd-cli`, built as its documentation says with
//! `-DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON` (the latter about halves its step, and is off by default). It has no text
//! encoder to be timed by itself.
//!
//! Ours is measured through the façade: a step with its sampler, a decode with its picture, a text with its noise. Each
//! peer is a process of its own (`benches/peers/peer.py`, `benches/peers/sdcpp.py`) that is idle while the others run.
//! Batch 2 is one picture with guidance.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use imgd_engine::{Generation, Model, OpenOptions, Precision, Request, checkpoint::Source};

use crate::Failure;

/// What is measured.
pub(crate) struct Plan {
    pub(crate) python: PathBuf,
    pub(crate) models: PathBuf,
    pub(crate) cases: Vec<String>,
    pub(crate) backends: Vec<String>,
    /// The command line of stable-diffusion.cpp.
    pub(crate) sdcpp: Option<PathBuf>,
    /// Where OpenVINO's networks are kept.
    pub(crate) cache: Option<PathBuf>,
    pub(crate) rounds: usize,
    pub(crate) precision: Precision,
}

/// One network: `MODEL/NETWORK/SIZE/BATCH`.
struct Case {
    model: String,
    network: String,
    size_px: u32,
    batch: u32,
}

impl Case {
    fn parse(text: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = text.split('/').collect();
        let [model, network, size, batch] = parts[..] else {
            return Err(format!("case `{text}` is not MODEL/NETWORK/SIZE/BATCH").into());
        };
        Ok(Self {
            model: model.to_owned(),
            network: network.to_owned(),
            size_px: size.parse()?,
            batch: batch.parse()?,
        })
    }

    /// What every peer is told after its own name.
    fn arguments(&self, command: &mut Command, model: &Path) -> Result<(), Failure> {
        let threads = std::thread::available_parallelism()?;
        command
            .arg(&self.network)
            .arg(model)
            .args([self.size_px, self.batch].map(|number| number.to_string()))
            .arg(threads.to_string());
        Ok(())
    }
}

pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let mut columns = plan.backends.clone();
    columns.extend(plan.sdcpp.is_some().then(|| "sd.cpp".to_owned()));
    println!(
        "{:<24} {:>12}  {}",
        "milliseconds, medians",
        plan.precision.name(),
        columns
            .iter()
            .map(|backend| format!("{backend:>22}"))
            .collect::<String>()
    );
    let mut loaded: Option<(PathBuf, Model)> = None;
    for text in &plan.cases {
        let case = Case::parse(text)?;
        let directory = plan.models.join(&case.model);
        if loaded.as_ref().is_none_or(|(path, _)| *path != directory) {
            // Not two models at once.
            drop(loaded.take());
            let options = OpenOptions {
                name: case.model.clone(),
                precision: plan.precision,
                progress: None,
            };
            let model = Model::open(&Source::directory(&directory)?, &options)?;
            loaded = Some((directory.clone(), model));
        }
        let Some((_, model)) = &loaded else { continue };
        let mut ours = Ours::new(model, &case)?;
        let mut peers = peers(plan, &case, &directory)?;
        let mut times = vec![Vec::new(); peers.len() + 1];
        ours.run()?;
        for _ in 0..plan.rounds {
            times[0].push(ours.run()?);
            for (peer, times) in peers.iter_mut().zip(&mut times[1..]) {
                times.push(peer.run()?);
            }
        }
        let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
        let columns: String = medians[1..]
            .iter()
            .map(|time| format!("{time:>13.1} ({:>5.2}x)", time / medians[0]))
            .collect();
        println!("{text:<24} {:>12.1}  {columns}", medians[0]);
    }
    Ok(())
}

/// The peers that have the case's network, ready to run it.
fn peers(plan: &Plan, case: &Case, model: &Path) -> Result<Vec<Peer>, Failure> {
    let mut peers = Vec::new();
    for backend in &plan.backends {
        let mut command = script(plan, "peer.py");
        command.arg(backend);
        case.arguments(&mut command, model)?;
        command.args(&plan.cache);
        peers.push(Peer::start(backend, command)?);
    }
    if let Some(program) = &plan.sdcpp
        && case.network != "text"
    {
        let mut command = script(plan, "sdcpp.py");
        command.arg(program);
        case.arguments(&mut command, model)?;
        command.arg(plan.rounds.to_string());
        peers.push(Peer::start("sd.cpp", command)?);
    }
    Ok(peers)
}

/// Runs one of the programs in `benches/peers`.
fn script(plan: &Plan, name: &str) -> Command {
    let mut command = Command::new(&plan.python);
    command.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("peers")
            .join(name),
    );
    command
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Our side of a case.
struct Ours<'a> {
    model: &'a Model,
    request: Request,
    network: String,
    generation: Generation,
    generation_is_done: bool,
}

impl<'a> Ours<'a> {
    fn new(model: &'a Model, case: &Case) -> Result<Self, Failure> {
        let request = Request {
            width_px: Some(case.size_px),
            height_px: Some(case.size_px),
            num_inference_steps: Some(if case.network == "vae" { 1 } else { 50 }),
            guidance_scale: Some(if case.batch == 2 { 5.0 } else { 1.0 }),
            ..Request::new("a red apple", 1)
        };
        let mut generation = model.start(&request)?;
        if case.network == "vae" {
            step(model, &mut generation)?;
        }
        Ok(Self {
            model,
            network: case.network.clone(),
            generation_is_done: generation.is_done(),
            generation,
            request,
        })
    }

    /// Milliseconds of one run.
    fn run(&mut self) -> Result<f64, Failure> {
        if self.network == "unet" && self.generation.is_done() {
            self.generation = self.model.start(&self.request)?;
        }
        let start = Instant::now();
        match self.network.as_str() {
            "unet" => step(self.model, &mut self.generation)?,
            "vae" if self.generation_is_done => drop(self.model.finish(&mut self.generation)?),
            "text" => drop(self.model.start(&self.request)?),
            other => return Err(format!("network `{other}` is not unet, vae or text").into()),
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

fn step(model: &Model, generation: &mut Generation) -> Result<(), Failure> {
    for result in model.step(&mut [generation]) {
        result?;
    }
    Ok(())
}

/// A peer's process, ended with its standard input.
struct Peer {
    process: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(name: &str, mut command: Command) -> Result<Self, Failure> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let ask = process.stdin.take();
        let answers = process.stdout.take().ok_or("a peer without an output")?;
        let mut peer = Self {
            process,
            ask,
            answers: BufReader::new(answers),
        };
        match peer.line()?.as_str() {
            "ready" => Ok(peer),
            other => Err(format!("{name} said `{other}` instead of `ready`").into()),
        }
    }

    fn run(&mut self) -> Result<f64, Failure> {
        self.ask
            .as_mut()
            .ok_or("a peer without an input")?
            .write_all(b"run\n")?;
        Ok(self.line()?.parse()?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("a peer ended; start it by hand to see why".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ask = None;
        self.process.wait().ok();
    }
}
