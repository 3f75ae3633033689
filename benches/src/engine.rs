//! What the engine takes by itself, without daemon or socket.

use std::{path::Path, time::Instant};

use imgd_engine::{Model, OpenOptions, Precision, Request, checkpoint::Source, image::Format};

use crate::{Failure, report};

/// Loads the model at `directory` and draws `runs` pictures.
pub(crate) fn run(
    directory: &Path,
    runs: usize,
    size_px: Option<u32>,
    steps: Option<u32>,
    precision: Precision,
) -> Result<(), Failure> {
    let source = Source::directory(directory)?;
    let options = OpenOptions {
        name: directory.display().to_string(),
        precision,
        progress: None,
    };
    let [mut load, mut start, mut step, mut finish, mut encode] = [const { Vec::new() }; 5];
    let at = Instant::now();
    let model = Model::open(&source, &options)?;
    load.push(at.elapsed());
    for seed in 0..runs as u64 {
        let request = Request {
            width_px: size_px,
            height_px: size_px,
            num_inference_steps: steps,
            ..Request::new("a red apple", seed)
        };
        let at = Instant::now();
        let mut generation = model.start(&request)?;
        start.push(at.elapsed());
        while !generation.is_done() {
            let at = Instant::now();
            model
                .step(&mut [&mut generation])
                .into_iter()
                .collect::<Result<Vec<()>, _>>()?;
            step.push(at.elapsed());
        }
        let at = Instant::now();
        let picture = model.finish(&mut generation)?;
        finish.push(at.elapsed());
        let at = Instant::now();
        picture.encode(Format::Png, true)?;
        encode.push(at.elapsed());
    }
    report("load", load);
    report("start (text, noise)", start);
    report("step (one network evaluation)", step);
    report("finish (autoencoder)", finish);
    report("PNG", encode);
    Ok(())
}
