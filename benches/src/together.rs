//! Eight clients at once against the same eight one after another, and what the batch curve promises.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use imgd_client::{Client, GenerateRequest, Image};
use tokio::task::JoinSet;

use crate::{Failure, curve::Curve, milliseconds, private_daemon::PrivateDaemon};

/// Compares at each size; the curve is measured with the model at `directory`, which the daemon draws with too.
#[expect(clippy::print_stdout, reason = "figures are the output")]
pub(crate) fn run(
    directory: &Path,
    clients: usize,
    sizes_px: &[u32],
    steps: u32,
    rounds: usize,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for &size_px in sizes_px {
        let curve = Curve::measure(directory, size_px, clients)?;
        println!("{size_px}x{size_px}: {curve}");
        // a daemon of each size, so that none knows more than the other
        let daemon = PrivateDaemon::start()?;
        let request = |seed| GenerateRequest {
            model: directory
                .canonicalize()
                .ok()
                .map(|path| path.display().to_string()),
            width_px: Some(size_px),
            height_px: Some(size_px),
            num_inference_steps: Some(steps),
            seed: Some(seed),
            ..GenerateRequest::new("a red apple")
        };
        runtime.block_on(async {
            let mut lines = Vec::new();
            for _ in 0..clients {
                lines.push(daemon.client().await?);
            }
            // the model is in memory, and the daemon has seen how steps together go
            together(&lines, &request).await?;
            let (mut apart, mut joined, mut differ) = (Vec::new(), Vec::new(), 0);
            for _ in 0..rounds {
                let at = Instant::now();
                let singles = one_after_another(&lines, &request).await?;
                apart.push(at.elapsed());
                let at = Instant::now();
                let pictures = together(&lines, &request).await?;
                joined.push(at.elapsed());
                let pairs = singles.iter().zip(&pictures);
                differ += pairs.filter(|(one, other)| one.bytes != other.bytes).count();
            }
            let (apart, joined) = (median(apart), median(joined));
            let promised = curve.promise(clients, steps);
            println!(
                "{size_px}x{size_px}: one after another {:.1} ms, together {:.1} ms: {:.3} times as fast; \
                 the curve promises {promised:.3}; pictures that differ from their single run: {differ}",
                milliseconds(apart),
                milliseconds(joined),
                apart.as_secs_f64() / joined.as_secs_f64(),
            );
            Ok::<(), Failure>(())
        })?;
    }
    Ok(())
}

async fn one_after_another(
    lines: &[Client],
    request: &impl Fn(u64) -> GenerateRequest,
) -> Result<Vec<Image>, Failure> {
    let mut images = Vec::new();
    for (seed, line) in (0..).zip(lines) {
        images.extend(line.generate_images(request(seed)).await?);
    }
    Ok(images)
}

async fn together(
    lines: &[Client],
    request: &impl Fn(u64) -> GenerateRequest,
) -> Result<Vec<Image>, Failure> {
    let mut asked = JoinSet::new();
    for (seed, line) in (0..).zip(lines) {
        let (line, request) = (line.clone(), request(seed));
        asked.spawn(async move { (seed, line.generate_images(request).await) });
    }
    let mut images: Vec<(u64, Vec<Image>)> = Vec::new();
    while let Some(answer) = asked.join_next().await {
        let (seed, answer) = answer?;
        images.push((seed, answer?));
    }
    images.sort_by_key(|(seed, _)| *seed);
    Ok(images.into_iter().flat_map(|(_, images)| images).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
