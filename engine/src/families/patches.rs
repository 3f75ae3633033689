//! Squares of latents as the tokens of a transformer, and back.

use super::autoencoder::LatentShape;

/// In which order the numbers of a square stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patches {
    /// `(channel, row, column)`, as a convolution's weight has them.
    ChannelsOutside,
    /// `(row, column, channel)`.
    ChannelsInside,
}

/// Channels-last latents to tokens of `patch` by `patch` latents, row by row. Sides are multiples of `patch`.
pub(super) fn pack(latents: &[f32], shape: LatentShape, patch: usize, order: Patches) -> Vec<f32> {
    let mut tokens = vec![0.0; latents.len()];
    for_each_place(shape, patch, order, |latent, token| {
        tokens[token] = latents[latent];
    });
    tokens
}

/// What [`pack`] made, taken apart. `shape`: of the latents.
pub(super) fn unpack(tokens: &[f32], shape: LatentShape, patch: usize, order: Patches) -> Vec<f32> {
    let mut latents = vec![0.0; tokens.len()];
    for_each_place(shape, patch, order, |latent, token| {
        latents[latent] = tokens[token];
    });
    latents
}

/// Gives every patch of `latents` the length, the root of the sum of squares, that it has in `like`; both channels last.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the reference computes in single precision"
)]
pub(super) fn keep_lengths(latents: &mut [f32], like: &[f32], shape: LatentShape, patch: usize) {
    let across = shape.width / patch;
    let patch_of = |index: usize| {
        let at = index / shape.channels;
        at / shape.width / patch * across + at % shape.width / patch
    };
    let squares = |latents: &[f32]| {
        let mut squares = vec![0_f64; shape.height / patch * across];
        for (index, value) in latents.iter().enumerate() {
            squares[patch_of(index)] += f64::from(*value).powi(2);
        }
        squares
    };
    let factors: Vec<f32> = squares(like)
        .into_iter()
        .zip(squares(latents))
        .map(|(wanted, found)| (wanted.sqrt() / found.sqrt()) as f32)
        .collect();
    for (index, value) in latents.iter_mut().enumerate() {
        *value *= factors[patch_of(index)];
    }
}

/// Calls `with(place in the latents, place in the tokens)` for every number.
fn for_each_place(
    shape: LatentShape,
    patch: usize,
    order: Patches,
    mut with: impl FnMut(usize, usize),
) {
    let LatentShape {
        height,
        width,
        channels,
    } = shape;
    let of_token = patch * patch * channels;
    for y in 0..height {
        for x in 0..width {
            let token = (y / patch * (width / patch) + x / patch) * of_token;
            let within = y % patch * patch + x % patch;
            for channel in 0..channels {
                let at = match order {
                    Patches::ChannelsOutside => channel * patch * patch + within,
                    Patches::ChannelsInside => within * channels + channel,
                };
                with((y * width + x) * channels + channel, token + at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_become_tokens_and_come_back() {
        let shape = LatentShape {
            height: 2,
            width: 4,
            channels: 3,
        };
        let latents: Vec<f32> = (0..24u8).map(f32::from).collect();
        let outside = pack(&latents, shape, 2, Patches::ChannelsOutside);
        // channel 0 of the four latents of the first square, then channel 1
        assert_eq!(outside[..5], [0.0, 3.0, 12.0, 15.0, 1.0]);
        let inside = pack(&latents, shape, 2, Patches::ChannelsInside);
        assert_eq!(inside[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(inside[12..15], [6.0, 7.0, 8.0]);
        for (order, packed) in [
            (Patches::ChannelsOutside, outside),
            (Patches::ChannelsInside, inside),
        ] {
            assert_eq!(unpack(&packed, shape, 2, order), latents);
        }
    }
}
