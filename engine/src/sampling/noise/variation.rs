//! Variations: noise part of the way from one draw to another, on the sphere that both lie on.
//!
//! Source: A1111's web UI, `modules/rng.py`, `slerp`. It takes norms over the rows of each column of each channel, so every
//! column is turned by itself.

/// Above this mean of the columns' cosines both draws count as the same, and are mixed on a line.
const SAME: f64 = 0.9995;

/// Columns whose angle has a smaller sine are mixed on a line: the arc between opposite columns is not defined, which
/// A1111 answers with numbers that are not finite.
const LEAST_SINE: f64 = 1e-4;

/// Noise that is `strength` (0 to 1) of the way from `noise` to `other`, both channels first: `(channels, height, width)`.
///
/// Angles are computed in double precision; A1111 computes them in single, so that last digits differ.
pub(crate) fn variation(
    strength: f64,
    noise: &[f32],
    other: &[f32],
    (height, width): (usize, usize),
) -> Vec<f32> {
    let cosines = cosines(noise, other, (height, width));
    let count = cosines.len().max(1) as f64;
    if cosines.iter().sum::<f64>() / count > SAME {
        // This is their order, the other way round than on the arc; it is a mix of equals.
        return mixed(noise, other, |_| (strength, 1.0 - strength));
    }
    let weights: Vec<(f64, f64)> = cosines
        .iter()
        .map(|cosine| {
            let angle = cosine.clamp(-1.0, 1.0).acos();
            let sine = angle.sin();
            if sine < LEAST_SINE {
                return (1.0 - strength, strength);
            }
            let share = |part: f64| (part * angle).sin() / sine;
            (share(1.0 - strength), share(strength))
        })
        .collect();
    mixed(noise, other, |at| {
        weights[at / (height * width) * width + at % width]
    })
}

/// The cosine of the angle between two columns, for each channel and column.
fn cosines(noise: &[f32], other: &[f32], (height, width): (usize, usize)) -> Vec<f64> {
    let channels = noise
        .chunks_exact(height * width)
        .zip(other.chunks_exact(height * width));
    channels
        .flat_map(|(noise, other)| {
            (0..width).map(move |column| {
                let rows = (column..height * width).step_by(width);
                let (mut dot, mut own, mut others) = (0.0, 0.0, 0.0);
                for at in rows {
                    let (a, b) = (f64::from(noise[at]), f64::from(other[at]));
                    dot += a * b;
                    own += a * a;
                    others += b * b;
                }
                dot / (own.sqrt() * others.sqrt()).max(f64::MIN_POSITIVE)
            })
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the result is single precision"
)]
fn mixed(noise: &[f32], other: &[f32], weights: impl Fn(usize) -> (f64, f64)) -> Vec<f32> {
    let pairs = noise.iter().zip(other).enumerate();
    pairs
        .map(|(at, (noise, other))| {
            let (own, others) = weights(at);
            (own * f64::from(*noise) + others * f64::from(*other)) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Generator;
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        shape: [usize; 3],
        seed: u64,
        variation_seed: u64,
        strength: f64,
        /// The first values.
        values: Vec<f32>,
        /// Sum of the magnitudes of all.
        sum: f64,
    }

    fn drawn(seed: u64, length: usize) -> Vec<f32> {
        Generator::new("torch", seed).unwrap().randn(length)
    }

    #[test]
    fn noise_is_that_of_a1111() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../golden/variation.json")).unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let [channels, height, width] = case.shape;
            let length = channels * height * width;
            let ours = variation(
                case.strength,
                &drawn(case.seed, length),
                &drawn(case.variation_seed, length),
                (height, width),
            );
            for (ours, theirs) in ours.iter().zip(&case.values) {
                assert!(
                    (ours - theirs).abs() < 2e-5 * theirs.abs().max(1.0),
                    "{ours} {theirs}"
                );
            }
            let sum: f64 = ours.iter().map(|value| f64::from(value.abs())).sum();
            assert!((sum / case.sum - 1.0).abs() < 1e-5, "{sum} {}", case.sum);
        }
    }

    #[test]
    fn ends_are_the_draws_and_columns_of_one_row_stay_finite() {
        let (a, b) = (drawn(1, 64), drawn(2, 64));
        assert_eq!(variation(0.0, &a, &b, (4, 4)), a);
        let far = variation(1.0, &a, &b, (4, 4));
        assert!(far.iter().zip(&b).all(|(far, b)| (far - b).abs() < 1e-6));
        let flat = variation(0.5, &a, &b, (1, 16));
        assert!(flat.iter().all(|value| value.is_finite()));
    }
}
