//! What the network outputs, and the picture that follows from it.

use super::elementwise::{map, map2};

/// What the network predicts (Salimans and Ho 2022 for the velocity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prediction {
    Epsilon,
    Velocity,
    Sample,
    /// The straight way from picture to noise (flow matching): `noise - picture`.
    Flow,
}

impl Prediction {
    pub(super) const NAMES: [(&'static str, Self); 4] = [
        ("epsilon", Self::Epsilon),
        ("v_prediction", Self::Velocity),
        ("sample", Self::Sample),
        ("flow", Self::Flow),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// The picture, from latents that are picture plus `sigma` times noise (variance exploding).
    pub(super) fn x0_exploding(
        self,
        latents: &[f32],
        model_output: &[f32],
        sigma: f32,
    ) -> Vec<f32> {
        match self {
            // Flow matching counts its levels from 0 to 1, and comes to the same.
            Self::Epsilon | Self::Flow => map2(latents, model_output, |x, eps| x - sigma * eps),
            Self::Velocity => {
                let level = sigma * sigma + 1.0;
                let scale = -sigma / level.sqrt();
                map2(latents, model_output, |x, v| v * scale + x / level)
            }
            Self::Sample => model_output.to_vec(),
        }
    }

    /// The picture, from latents that are `alpha` times picture plus `sigma` times noise (variance preserving).
    pub(super) fn x0_preserving(
        self,
        latents: &[f32],
        model_output: &[f32],
        alpha: f32,
        sigma: f32,
    ) -> Vec<f32> {
        match self {
            Self::Epsilon => map2(latents, model_output, |x, eps| (x - sigma * eps) / alpha),
            Self::Velocity => map2(latents, model_output, |x, v| alpha * x - sigma * v),
            Self::Flow => map2(latents, model_output, |x, v| x - sigma * v),
            Self::Sample => model_output.to_vec(),
        }
    }

    /// The noise, from latents that are `alpha` times picture plus `sigma` times noise.
    pub(super) fn epsilon_preserving(
        self,
        latents: &[f32],
        model_output: &[f32],
        alpha: f32,
        sigma: f32,
    ) -> Vec<f32> {
        match self {
            Self::Epsilon => model_output.to_vec(),
            Self::Velocity => map2(latents, model_output, |x, v| alpha * v + sigma * x),
            Self::Sample => map2(latents, model_output, |x, x0| (x - alpha * x0) / sigma),
            Self::Flow => map2(latents, model_output, |x, v| x + alpha * v),
        }
    }
}

/// A limit on the values of a predicted picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    None,
    Clip(f32),
    /// Dynamic thresholding (Saharia et al. 2022): clip at the `ratio` quantile of the magnitudes, scale to 1.
    Threshold {
        ratio: f32,
        most: f32,
    },
}

impl Limit {
    pub(super) fn apply(self, x0: Vec<f32>) -> Vec<f32> {
        match self {
            Self::None => x0,
            Self::Clip(range) => map(&x0, |x| x.clamp(-range, range)),
            Self::Threshold { ratio, most } => {
                let scale = quantile_of_magnitudes(&x0, ratio).max(1.0).min(most);
                map(&x0, |x| x.max(-scale).min(scale) / scale)
            }
        }
    }
}

/// The `ratio` quantile of the magnitudes, interpolated linearly.
fn quantile_of_magnitudes(values: &[f32], ratio: f32) -> f32 {
    let mut magnitudes = map(values, f32::abs);
    magnitudes.sort_unstable_by(f32::total_cmp);
    let Some(last) = magnitudes.len().checked_sub(1) else {
        return 0.0;
    };
    let rank = ratio * last as f32;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a rank lies inside the list"
    )]
    let below = (rank as usize).min(last);
    let (low, high) = (magnitudes[below], magnitudes[(below + 1).min(last)]);
    let weight = rank - below as f32;
    if weight < 0.5 {
        low + weight * (high - low)
    } else {
        high - (high - low) * (1.0 - weight)
    }
}
