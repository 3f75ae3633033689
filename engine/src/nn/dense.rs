//! Images whose channels grow: what a convolution makes of them is put beside what it saw.
//!
//! A dense block would copy its image once for each of its convolutions to put them side by side; here they are written to
//! their place at once.

use candle_core::Tensor;

use super::memory::{image_dims, internal, numbers};
use super::{Conv2d, LeakyRelu, format};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::cpu::{self, Buffer, Format};

/// One image, `(height, width, channels)`, with room for more channels, in the format of products.
pub struct DenseImage {
    numbers: Buffer,
    size: (usize, usize),
    /// Channels that there is room for.
    room: usize,
    /// Channels that are there.
    channels: usize,
}

impl DenseImage {
    /// Room for `room` channels of an image of `(height, width)`.
    pub fn new(format: DenseFormat, (height, width): (usize, usize), room: usize) -> Self {
        let count = height * width * room;
        Self {
            numbers: match format.0 {
                Format::F32 => Buffer::F32(vec![0.0; count]),
                Format::Bf16 => Buffer::Bf16(vec![half::bf16::ZERO; count]),
            },
            size: (height, width),
            room,
            channels: 0,
        }
    }

    /// Begins again with `x`: `(1, height, width, c)`.
    pub fn begin(&mut self, x: &Tensor) -> Result<()> {
        self.channels = 0;
        let channels = x.dims().last().copied().unwrap_or(0);
        self.put(x, &vec![1.0; channels])
    }

    /// Adds what the rectifier makes of `x`, `(1, height, width, c)`, behind the channels that are there.
    pub fn append(&mut self, x: &Tensor, rectifier: &LeakyRelu) -> Result<()> {
        self.put(x, &rectifier.slopes)
    }

    /// The convolution of the channels that are there: `(1, height, width, out_channels)`.
    pub fn convolve(&self, conv: &Conv2d) -> Result<Tensor> {
        if conv.in_channels() != self.channels {
            return Err(internal(format!(
                "a convolution of {} channels was given {}",
                conv.in_channels(),
                self.channels
            )));
        }
        conv.forward_first(self.numbers.numbers(), self.size, self.room)
    }

    fn put(&mut self, x: &Tensor, slopes: &[f32]) -> Result<()> {
        let (elements, height, width, channels) = image_dims(x)?;
        let end = self.channels + channels;
        if elements != 1
            || (height, width) != self.size
            || channels != slopes.len()
            || channels == 0
            || end > self.room
        {
            return Err(internal(format!(
                "{:?} has no place beside {} channels of {:?}",
                x.dims(),
                self.channels,
                self.size
            )));
        }
        let place = (self.room, self.channels);
        cpu::place_leaky(&numbers(x)?, slopes, &mut self.numbers, place);
        self.channels = end;
        Ok(())
    }
}

/// What the numbers of a [`DenseImage`] are.
#[derive(Debug, Clone, Copy)]
pub struct DenseFormat(Format);

impl DenseFormat {
    /// For convolutions of at least `channels` channels that `loader` loads.
    pub fn of(loader: &Loader, channels: usize) -> Self {
        Self(format::of_products(loader, channels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{Golden, noise, values};
    use crate::nn::{Conv2dConfig, concat_channels};

    #[test]
    fn convolutions_of_a_growing_image_equal_those_of_channels_side_by_side() {
        for loader in Golden::open("", "layers").loaders() {
            let config = Conv2dConfig::same(18, 37, 3);
            let conv = Conv2d::load(&loader.pp("conv3"), config).unwrap();
            let rectifier = LeakyRelu::new(&loader, 8, 0.2);
            // Sizes that go through other kernels.
            for (height, width) in [(5, 7), (33, 40)] {
                let (first, second) = (
                    noise(3, &[1, height, width, 10]),
                    noise(5, &[1, height, width, 8]),
                );
                let format = DenseFormat::of(&loader, 18);
                let mut image = DenseImage::new(format, (height, width), 24);
                for _ in 0..2 {
                    image.begin(&first).unwrap();
                    assert!(image.convolve(&conv).is_err(), "too few channels");
                    image.append(&second, &rectifier).unwrap();
                }
                let found = image.convolve(&conv).unwrap();
                let sloped = LeakyRelu::new(&Golden::open("", "layers").loader(), 8, 0.2);
                let sloped = sloped.forward(&second).unwrap();
                let both = concat_channels(&first, &sloped).unwrap();
                let expected = conv.forward(&both).unwrap();
                assert!(values(&found) == values(&expected), "{height}x{width}");
                assert!(image.append(&second, &rectifier).is_err(), "no room");
            }
        }
    }
}
