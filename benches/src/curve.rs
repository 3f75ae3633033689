//! The batch curve: what one network evaluation of several pictures together takes.

use std::{
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use imgd_engine::{Generation, Model, OpenOptions, Precision, Request, checkpoint::Source};

use crate::{Failure, milliseconds};

/// Rounds of which the least time counts: others disturb a measurement, nothing makes it too fast.
pub(crate) const ROUNDS: u32 = 7;

/// Times of one size on this machine, with the model's own guidance.
pub(crate) struct Curve {
    /// At `n - 1`: one evaluation of `n` pictures together.
    steps: Vec<Duration>,
    /// What a picture takes besides its steps: text, noise, decoding.
    around: Duration,
}

impl Curve {
    /// Measures 1 to `most` pictures together.
    pub(crate) fn measure(directory: &Path, size_px: u32, most: usize) -> Result<Self, Failure> {
        let source = Source::directory(directory)?;
        let options = OpenOptions {
            name: directory.display().to_string(),
            precision: Precision::Auto,
            progress: None,
        };
        let model = Model::open(&source, &options)?;
        let start = |seed: u64| {
            model.start(&Request {
                width_px: Some(size_px),
                height_px: Some(size_px),
                num_inference_steps: Some(1000),
                ..Request::new("a red apple", seed)
            })
        };
        let mut generations = Vec::new();
        for seed in 0..most as u64 {
            generations.push(start(seed)?);
        }
        let steps = (1..=most)
            .map(|count| least_step(&model, &mut generations[..count]))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            steps,
            around: around(&model, size_px)?,
        })
    }

    /// How much faster `count` pictures of `steps` steps are together than one after another: the best way to share
    /// steps among them, and all else one after another in both.
    pub(crate) fn promise(&self, count: usize, steps: u32) -> f64 {
        let around = self.around.as_secs_f64() * count as f64;
        let steps = f64::from(steps);
        let alone = self.steps.first().map_or(0.0, Duration::as_secs_f64) * count as f64;
        (around + steps * alone) / (around + steps * self.best(count))
    }

    /// Least time in seconds of one evaluation of each of `count` pictures, in groups of any size.
    fn best(&self, count: usize) -> f64 {
        let mut best = vec![0.0; count + 1];
        for total in 1..=count {
            let groups = self.steps.iter().zip(1..=total);
            best[total] = groups
                .map(|(time, size)| time.as_secs_f64() + best[total - size])
                .fold(f64::INFINITY, f64::min);
        }
        best[count]
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one step of n pictures, ms a picture:")?;
        for (time, count) in self.steps.iter().zip(1_u32..) {
            write!(f, " {count}: {:.2}", milliseconds(*time / count))?;
        }
        write!(f, "; besides, a picture: {:.1}", milliseconds(self.around))
    }
}

/// Least time of one evaluation of all of `generations` together.
pub(crate) fn least_step(
    model: &Model,
    generations: &mut [Generation],
) -> Result<Duration, Failure> {
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut together: Vec<_> = generations.iter_mut().collect();
        let at = Instant::now();
        let outcomes = model.step(&mut together);
        least = least.min(at.elapsed());
        outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
    }
    Ok(least)
}

fn around(model: &Model, size_px: u32) -> Result<Duration, Failure> {
    let mut least = Duration::MAX;
    for seed in 0..3 {
        let at = Instant::now();
        let mut generation = model.start(&Request {
            width_px: Some(size_px),
            height_px: Some(size_px),
            num_inference_steps: Some(1),
            ..Request::new("a red apple", seed)
        })?;
        let mut took = at.elapsed();
        model
            .step(&mut [&mut generation])
            .into_iter()
            .collect::<Result<Vec<()>, _>>()?;
        let at = Instant::now();
        model.finish(&mut generation)?;
        took += at.elapsed();
        least = least.min(took);
    }
    Ok(least)
}
