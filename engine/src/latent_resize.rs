//! Latents at a larger size.

use crate::families::LatentShape;

/// `latents`, channels last, at the sides of `to`: bilinear between the middles of neighbours, in the arithmetic of torch's
/// `interpolate(mode="bilinear", align_corners=False, antialias=False)`.
pub(crate) fn bilinear(latents: &[f32], from: LatentShape, to: LatentShape) -> Vec<f32> {
    let channels = from.channels;
    let rows = neighbours(from.height, to.height);
    let columns = neighbours(from.width, to.width);
    let mut enlarged = Vec::with_capacity(to.height * to.width * channels);
    for row in &rows {
        for column in &columns {
            let at = |y: usize, x: usize| &latents[(y * from.width + x) * channels..][..channels];
            let above = at(row.low, column.low).iter().zip(at(row.low, column.high));
            let below = at(row.high, column.low)
                .iter()
                .zip(at(row.high, column.high));
            let mixed = above.zip(below).map(|((a, b), (c, d))| {
                row.of_low * (column.of_low * a + column.of_high * b)
                    + row.of_high * (column.of_low * c + column.of_high * d)
            });
            enlarged.extend(mixed);
        }
    }
    enlarged
}

/// The two places that a new one lies between, and how much there is of each.
struct Neighbours {
    low: usize,
    high: usize,
    of_low: f32,
    of_high: f32,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "places are small and not negative; torch rounds down the same way"
)]
fn neighbours(from: usize, to: usize) -> Vec<Neighbours> {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|at| {
            let place = (scale * (at as f32 + 0.5) - 0.5).max(0.0);
            let low = (place as usize).min(from - 1);
            let of_high = (place - low as f32).clamp(0.0, 1.0);
            Neighbours {
                low,
                high: (low + 1).min(from - 1),
                of_low: 1.0 - of_high,
                of_high,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(height: usize, width: usize) -> LatentShape {
        LatentShape {
            height,
            width,
            channels: 2,
        }
    }

    #[test]
    fn new_places_lie_between_the_middles_of_the_old_ones() {
        // Two places in two channels become three; the outer ones lie outside of both middles.
        let row = [0.0, 10.0, 1.0, 30.0];
        let wider = bilinear(&row, shape(1, 2), shape(1, 3));
        assert_eq!(wider, [0.0, 10.0, 0.5, 20.0, 1.0, 30.0]);
        let taller = bilinear(&row, shape(2, 1), shape(3, 1));
        assert_eq!(taller, wider);
        let both = bilinear(&[1.0; 8], shape(2, 2), shape(5, 3));
        assert_eq!(both, [1.0; 30]);
    }

    #[test]
    fn the_same_size_is_the_same() {
        let latents: Vec<f32> = (0..24u8).map(f32::from).collect();
        assert_eq!(bilinear(&latents, shape(3, 4), shape(3, 4)), latents);
    }
}
