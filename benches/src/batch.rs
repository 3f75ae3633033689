//! What one network evaluation takes for 1 to `most` pictures together, guided and not: by the clock, and in the
//! processor's time of all threads, which other programs disturb less.

use std::{fs, path::Path, time::Duration};

use imgd_engine::{Model, OpenOptions, Precision, Request, checkpoint::Source};

use crate::{
    Failure,
    curve::{ROUNDS, least_step},
    milliseconds,
};

/// Prints a table for each size: the step, its part for each picture, and what of a single picture's step that is.
pub(crate) fn run(directory: &Path, sizes: &[u32], most: usize) -> Result<(), Failure> {
    let options = OpenOptions {
        name: directory.display().to_string(),
        precision: Precision::Auto,
        progress: None,
    };
    let model = Model::open(&Source::directory(directory)?, &options)?;
    for size_px in sizes {
        for (guidance_scale, name) in [(0.0, "not guided"), (5.0, "guided")] {
            println!("{size_px}x{size_px}, {name}");
            println!("pictures   step ms   ms a picture   of a single step   CPU ms a picture");
            let mut generations = Vec::new();
            for seed in 0..most as u64 {
                generations.push(model.start(&Request {
                    width_px: Some(*size_px),
                    height_px: Some(*size_px),
                    num_inference_steps: Some(1000),
                    guidance_scale: Some(guidance_scale),
                    ..Request::new("a red apple", seed)
                })?);
            }
            let mut single = None;
            for (count, pictures) in (1..=most).zip(1_u32..) {
                let before = cpu_time();
                let step = least_step(&model, &mut generations[..count])?;
                let cpu = cpu_time().saturating_sub(before) / pictures / ROUNDS;
                let each = step / pictures;
                let single = *single.get_or_insert(each);
                println!(
                    "{count:>8} {:>9.2} {:>14.2} {:>17.1}% {:>18.2}",
                    milliseconds(step),
                    milliseconds(each),
                    each.as_secs_f64() / single.as_secs_f64() * 100.0,
                    milliseconds(cpu)
                );
            }
        }
    }
    Ok(())
}

/// Processor's time that all threads of this process have taken; nothing where the system does not say.
fn cpu_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
