//! The noise of one picture's latents: drawn in torch's order, laid out as latents are.

use crate::{
    Result, Variation,
    families::LatentShape,
    sampling::noise::{Generator, variation},
};

/// Where a picture's noise comes from.
pub(crate) struct LatentNoise<'a> {
    /// Of the picture's own seed.
    pub(crate) generator: &'a mut Generator,
    pub(crate) shape: LatentShape,
    pub(crate) variation: Option<Variation>,
}

impl LatentNoise<'_> {
    /// The next draw, channels last.
    pub(crate) fn next(&mut self) -> Vec<f32> {
        let drawn = self.generator.randn(self.shape.len());
        channels_last(&drawn, self.shape)
    }

    /// The draw that the picture begins from, channels last: the next one, where there is a variation part of the way to
    /// the first draw of the other seed. What is drawn later is of the picture's own seed alone, as A1111 has it.
    pub(crate) fn first(&mut self) -> Result<Vec<f32>> {
        let Some(Variation { seed, strength }) = self.variation else {
            return Ok(self.next());
        };
        let length = self.shape.len();
        let own = self.generator.randn(length);
        let other = Generator::new(self.generator.kind(), seed)?.randn(length);
        let sides = (self.shape.height, self.shape.width);
        let mixed = variation(strength, &own, &other, sides);
        Ok(channels_last(&mixed, self.shape))
    }
}

/// `(channels, height, width)` as `(height, width, channels)`.
fn channels_last(values: &[f32], shape: LatentShape) -> Vec<f32> {
    let area = shape.height * shape.width;
    (0..shape.len())
        .map(|index| values[index % shape.channels * area + index / shape.channels])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: LatentShape = LatentShape {
        height: 4,
        width: 6,
        channels: 4,
    };

    fn draws(variation: Option<Variation>) -> [Vec<f32>; 2] {
        let mut generator = Generator::new("torch", 7).unwrap();
        let mut noise = LatentNoise {
            generator: &mut generator,
            shape: SHAPE,
            variation,
        };
        [noise.first().unwrap(), noise.next()]
    }

    #[test]
    fn a_variation_changes_the_first_draw_and_none_after_it() {
        let [plain, next] = draws(None);
        let [varied, next_of_varied] = draws(Some(Variation {
            seed: 8,
            strength: 0.2,
        }));
        assert_ne!(varied, plain);
        assert_eq!(next_of_varied, next);
        let distance =
            |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
        let mut other = Generator::new("torch", 8).unwrap();
        let other = channels_last(&other.randn(SHAPE.len()), SHAPE);
        assert!(distance(&varied, &plain) < distance(&varied, &other) / 4.0);
    }
}
