//! The layers that networks are made of, and the only way from a network to a kernel.
//!
//! Activations are channels-last: images `(batch, height, width, channels)`, tokens `(batch, tokens, channels)`,
//! vectors `(batch, channels)`; a token sequence and an image are the same memory. They are single precision, but for what goes from one layer into
//! the product of another: that has the format of products, which the policy ([`format`]) decides and nobody above these layers
//! needs to know. Weights are packed once at load for
//! the device that they are loaded for. A layer gives each element of a batch the same bits that it would get alone.
//!
//! On devices other than the CPU the layers say that they are not supported yet.

mod activation;
mod adapters;
mod attention;
mod banded;
mod conv;
mod dense;
mod embedding;
mod format;
mod gated;
mod heads;
mod leaky;
mod linear;
mod memory;
mod modulation;
mod norm;
mod pixel_resnet;
mod relu_block;
mod resnet;
#[cfg(test)]
mod tests;

pub use activation::{activate, add_gated, concat_channels, image_to_tokens, tokens_to_image};
pub use adapters::{Adapters, Change, Placed, with_adapters};
pub use attention::{biased_attention, scaled_dot_product_attention};
pub use banded::{BandedImage, normed_conv};
pub use conv::{Conv2d, Conv2dConfig, ConvExtras, DoublingConv2d};
pub use dense::{DenseFormat, DenseImage};
pub use embedding::{Embedding, timestep_embedding};
pub use gated::GatedLinear;
pub use heads::{HeadNorm, Heads, Pairs, Rope};
pub use leaky::LeakyRelu;
pub use linear::{Linear, LinearExtras};
pub use modulation::{EmbeddingMlp, Modulation};
pub use norm::{AdaLayerNorm, GroupNorm, LayerNorm, PixelNorm, RmsNorm};
pub use pixel_resnet::{PixelNormedConv, PixelResnet};
pub use relu_block::{ReluBlock2D, activate_banded};
pub use resnet::{BegunResnet, Double2D, Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D};

pub use crate::kernels::Activation;
pub use crate::kernels::cpu::{ChannelSums, InstructionSet, instruction_set};
