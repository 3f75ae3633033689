//! Small pictures of a generation in flight: one linear map from latent channels to colours.
//!
//! Costs a few thousand multiplications and no network. Source of the method: k-diffusion's and ComfyUI's
//! `latent_rgb_factors`.

use candle_core::Tensor;
use serde::Deserialize;

use super::autoencoder::LatentShape;
use crate::{Error, Result, image::Rgb8, sampling::noise};

/// A linear map from latents to colours in `[-1, 1]`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PreviewMap {
    /// One row of (red, green, blue) for each latent channel.
    factors: Vec<[f32; 3]>,
    /// Added to every pixel.
    #[serde(default)]
    bias: [f32; 3],
}

/// Latents on a side that are decoded to fit the map, at least.
const FIT_SIDE: usize = 12;
/// Latents for each of the numbers that are fitted.
const FIT_POINTS: usize = 4;

impl PreviewMap {
    pub(crate) fn new(factors: Vec<[f32; 3]>, bias: [f32; 3]) -> Self {
        Self { factors, bias }
    }

    /// Number of latent channels it takes.
    pub(crate) fn channels(&self) -> usize {
        self.factors.len()
    }

    /// Makes the picture of `latents`, channels last, one pixel for each latent.
    pub(crate) fn apply(&self, shape: LatentShape, latents: &[f32]) -> Result<Rgb8> {
        let colours: Vec<f32> = latents
            .chunks_exact(self.factors.len())
            .flat_map(|latent| {
                let mut colour = self.bias;
                for (value, factor) in latent.iter().zip(&self.factors) {
                    for (sum, weight) in colour.iter_mut().zip(factor) {
                        *sum += value * weight;
                    }
                }
                colour
            })
            .collect();
        let side = |side: usize| {
            u32::try_from(side).map_err(|_too_large| Error::internal("preview is too large"))
        };
        Rgb8::from_decoded(&colours, side(shape.width)?, side(shape.height)?)
    }

    /// Fits the map to an autoencoder: decodes a patch of noise and solves for the map that comes nearest to its
    /// picture averaged over each latent's pixels. `decode`: a side and that many squared latents of a generation to
    /// pixels `(1, height, width, 3)`.
    pub(crate) fn fit(
        channels: usize,
        decode: impl Fn(usize, &[f32]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut side = FIT_SIDE;
        while side * side < FIT_POINTS * channels {
            side += 1;
        }
        let model_latents =
            noise::Generator::new(noise::KINDS[0], 0)?.randn(side * side * channels);
        let decoded = decode(side, &model_latents)?;
        let (_, height, width, _) = decoded.dims4()?;
        let factor = (height / side).max(1);
        let pixels: Vec<f32> = decoded.flatten_all()?.to_vec1()?;
        let mut system = NormalEquations::new(channels + 1);
        for (index, latent) in model_latents.chunks_exact(channels).enumerate() {
            let (y, x) = (index / side, index % side);
            let mut mean = [0f64; 3];
            for row in 0..factor {
                for column in 0..factor {
                    let at = ((y * factor + row) * width + x * factor + column) * 3;
                    for (sum, value) in mean.iter_mut().zip(&pixels[at..at + 3]) {
                        *sum += f64::from(*value);
                    }
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a few dozen pixels")]
            let count = (factor * factor) as f64;
            let mut unknowns: Vec<f64> = latent.iter().map(|value| f64::from(*value)).collect();
            unknowns.push(1.0);
            system.add(&unknowns, mean.map(|sum| sum / count));
        }
        let mut rows = system.solve()?;
        let bias = rows
            .pop()
            .ok_or_else(|| Error::model("preview: the autoencoder has no channels"))?;
        Ok(Self {
            factors: rows,
            bias,
        })
    }
}

/// Least squares with three right-hand sides, by the normal equations and Gauss elimination.
struct NormalEquations {
    size: usize,
    /// `size` rows of `size + 3`.
    rows: Vec<Vec<f64>>,
}

impl NormalEquations {
    fn new(size: usize) -> Self {
        Self {
            size,
            rows: vec![vec![0.0; size + 3]; size],
        }
    }

    fn add(&mut self, unknowns: &[f64], values: [f64; 3]) {
        for (row, left) in self.rows.iter_mut().zip(unknowns) {
            for (cell, right) in row.iter_mut().zip(unknowns.iter().chain(&values)) {
                *cell += left * right;
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "colours need no f64")]
    fn solve(mut self) -> Result<Vec<[f32; 3]>> {
        let size = self.size;
        for pivot in 0..size {
            // A little regularisation keeps a channel that the decoder ignores from dividing by zero.
            self.rows[pivot][pivot] += 1e-9;
            let best = (pivot..size)
                .max_by(|a, b| {
                    self.rows[*a][pivot]
                        .abs()
                        .total_cmp(&self.rows[*b][pivot].abs())
                })
                .unwrap_or(pivot);
            self.rows.swap(pivot, best);
            let pivot_row = self.rows[pivot].clone();
            if pivot_row[pivot].abs() < f64::MIN_POSITIVE || !pivot_row[pivot].is_finite() {
                return Err(Error::model(
                    "preview: the autoencoder's pictures do not depend on the latents",
                ));
            }
            for (index, row) in self.rows.iter_mut().enumerate() {
                if index == pivot {
                    continue;
                }
                let share = row[pivot] / pivot_row[pivot];
                for (cell, above) in row.iter_mut().zip(&pivot_row).skip(pivot) {
                    *cell -= share * above;
                }
            }
        }
        Ok(self
            .rows
            .iter()
            .enumerate()
            .map(|(index, row)| {
                std::array::from_fn(|colour| (row[size + colour] / row[index]) as f32)
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_finds_an_exact_map() {
        let truth = [[0.5f32, -1.0, 2.0], [0.25, 0.0, -0.125], [1.0, 2.0, 3.0]];
        let mut system = NormalEquations::new(3);
        for point in [[1.0, 0.0], [0.0, 1.0], [2.0, -1.0], [0.5, 3.0]] {
            let unknowns = [point[0], point[1], 1.0];
            let values = std::array::from_fn(|colour| {
                unknowns
                    .iter()
                    .zip(&truth)
                    .map(|(x, row)| x * f64::from(row[colour]))
                    .sum()
            });
            system.add(&unknowns, values);
        }
        for (found, expected) in system.solve().unwrap().iter().zip(&truth) {
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
