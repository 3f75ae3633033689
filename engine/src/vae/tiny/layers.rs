//! Which layers a half consists of, as its weights tell.

use crate::checkpoint::{Loader, Weights};
use crate::keys::tiny::numbers;
use crate::nn::{
    Activation, BandedImage, Conv2d, Conv2dConfig, Double2D, DoublingConv2d, ReluBlock2D,
    activate_banded,
};
use crate::{Error, Result};

/// Most times that a half may change the size of its image, and most channels of it. Real ones have 3 (5 of Sana's) and 64 (256).
const MOST_LEVELS: usize = 6;
const MOST_CHANNELS: usize = 1024;

/// Sizes of both halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Pixels that a latent stands for, on a side.
    pub scale_factor: u32,
    /// Numbers for each pixel of the picture in the decoder's widest feature map.
    pub widest_map: u64,
    pub(super) decoder: Vec<Numbered>,
    pub(super) encoder: Option<Vec<Numbered>>,
}

/// A half of the autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Encoder,
    Decoder,
}

impl Half {
    fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }
}

/// The number in a layer's name, and what it is.
type Numbered = (usize, Kind);

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A convolution from `0` channels to `1`, with what else it does.
    Conv(usize, usize, Role, bool),
    /// A residual block of so many channels, and whether it looks at the whole image.
    Block(usize, bool),
}

/// What a convolution does beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Plain,
    /// A ReLU comes behind it.
    Activated,
    /// The image is enlarged first.
    Doubling,
    /// It takes every second pixel.
    Halving,
}

impl Sizes {
    /// Of weights under diffusers' names. Fails when they do not fit together, naming the tensor.
    pub fn of(weights: &Weights) -> Result<Self> {
        let decoder = kinds(weights, Half::Decoder)?.ok_or_else(|| {
            Error::model("the tiny autoencoder has no decoder: it can make no picture")
                .with_hint("give the file of the decoder, or one with both halves")
        })?;
        let encoder = kinds(weights, Half::Encoder)?;
        let latent_channels = channels_in(&decoder);
        let doublings = changes(&decoder);
        if channels_out(&decoder) != 3 {
            return Err(Error::model(
                "the tiny autoencoder makes no pictures of three colours",
            ));
        }
        if let Some(encoder) = &encoder {
            let own = (
                channels_in(encoder),
                channels_out(encoder),
                changes(encoder),
            );
            if own != (3, latent_channels, doublings) {
                return Err(Error::model(
                    "the encoder and the decoder of the tiny autoencoder are of two different ones",
                ));
            }
        }
        Ok(Self {
            latent_channels,
            scale_factor: 1 << doublings,
            widest_map: widest_map(&decoder, doublings),
            decoder,
            encoder,
        })
    }
}

fn channels_in(kinds: &[Numbered]) -> usize {
    kinds.first().map_or(0, |(_, kind)| kind.channels().0)
}

fn channels_out(kinds: &[Numbered]) -> usize {
    kinds.last().map_or(0, |(_, kind)| kind.channels().1)
}

/// How often the size changes.
fn changes(kinds: &[Numbered]) -> usize {
    let is_change =
        |kind: &Kind| matches!(kind, Kind::Conv(_, _, Role::Doubling | Role::Halving, _));
    kinds.iter().filter(|(_, kind)| is_change(kind)).count()
}

fn widest_map(decoder: &[Numbered], doublings: usize) -> u64 {
    let mut left = doublings;
    let mut widest = 1;
    for (_, kind) in decoder {
        if matches!(kind, Kind::Conv(_, _, Role::Doubling, _)) {
            left -= 1;
        }
        widest = widest.max(kind.channels().1 as u64 >> (2 * left));
    }
    widest
}

impl Kind {
    /// Of its input and its result.
    fn channels(self) -> (usize, usize) {
        match self {
            Self::Conv(from, to, ..) => (from, to),
            Self::Block(channels, _) => (channels, channels),
        }
    }
}

/// The layers of a half; `None` when the weights have none.
fn kinds(weights: &Weights, half: Half) -> Result<Option<Vec<Numbered>>> {
    let name = half.name();
    let numbers = numbers(weights, &format!("{name}.layers."));
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Ok(None);
    };
    let mut kinds: Vec<Numbered> = Vec::with_capacity(numbers.len());
    for number in numbers {
        let layer = format!("{name}.layers.{number}");
        let is_block = weights.has(&format!("{layer}.conv.0.weight"));
        let role = match half {
            Half::Decoder if number == first => Role::Activated,
            _ if number == first || number == last => Role::Plain,
            Half::Decoder => Role::Doubling,
            Half::Encoder => Role::Halving,
        };
        let tensor = if is_block {
            format!("{layer}.conv.0.weight")
        } else {
            format!("{layer}.weight")
        };
        let [to, from] = conv_channels(weights, &tensor)?;
        let kind = if is_block {
            Kind::Block(from, weights.has(&format!("{layer}.pool.0.weight")))
        } else {
            Kind::Conv(from, to, role, weights.has(&format!("{layer}.bias")))
        };
        let before = kinds.last().map(|(_, kind)| kind.channels().1);
        if before.is_some_and(|before| before != from) || (is_block && from != to) {
            return Err(Error::model(format!(
                "the tensor `{tensor}` is of {from} channels, and the layer before it has others: this is no tiny autoencoder that is known"
            )));
        }
        kinds.push((number, kind));
    }
    if changes(&kinds) > MOST_LEVELS || kinds.len() < 2 {
        return Err(Error::model(format!(
            "the {name} of the tiny autoencoder has layers that no such network is known to have"
        )));
    }
    Ok(Some(kinds))
}

/// Channels of a 3x3 convolution's result and input.
fn conv_channels(weights: &Weights, tensor: &str) -> Result<[usize; 2]> {
    match weights.shape(tensor) {
        Some([to, from, 3, 3])
            if (1..=MOST_CHANNELS).contains(to) && (1..=MOST_CHANNELS).contains(from) =>
        {
            Ok([*to, *from])
        }
        Some(shape) => Err(Error::model(format!(
            "the tensor `{tensor}` of a tiny autoencoder has the shape {shape:?}, which is no 3x3 convolution of at most {MOST_CHANNELS} channels"
        ))),
        None => Err(Error::model(format!(
            "the tensor `{tensor}` of a tiny autoencoder is missing"
        ))),
    }
}

/// A layer with its weights.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    Conv(Conv2d, Activation),
    Double(Double2D),
    Block(Box<ReluBlock2D>),
}

/// Reads the layers of a half.
pub(super) fn load(loader: &Loader, half: Half, kinds: &[Numbered]) -> Result<Vec<Layer>> {
    let loader = loader.pp(half.name()).pp("layers");
    let layer = |(number, kind): &Numbered| {
        let loader = loader.pp(number);
        Ok(match *kind {
            Kind::Block(channels, pooled) => {
                Layer::Block(Box::new(ReluBlock2D::load(&loader, channels, pooled)?))
            }
            Kind::Conv(from, to, Role::Doubling, bias) => Layer::Double(Double2D::of(
                DoublingConv2d::load_with(&loader, from, to, bias)?,
            )),
            Kind::Conv(from, to, role, bias) => {
                let config = Conv2dConfig {
                    stride: if role == Role::Halving { 2 } else { 1 },
                    ..Conv2dConfig::same(from, to, 3)
                };
                let activation = if role == Role::Activated {
                    Activation::Relu
                } else {
                    Activation::Identity
                };
                Layer::Conv(Conv2d::load_with(&loader, config, bias)?, activation)
            }
        })
    };
    kinds.iter().map(layer).collect()
}

impl Layer {
    pub(super) fn forward(&self, x: BandedImage) -> Result<BandedImage> {
        match self {
            Self::Conv(conv, Activation::Identity) => conv.forward_banded(x),
            Self::Conv(conv, activation) => activate_banded(conv.forward_banded(x)?, *activation),
            Self::Double(double) => double.forward_banded(x),
            Self::Block(block) => block.forward_banded(x),
        }
    }
}
