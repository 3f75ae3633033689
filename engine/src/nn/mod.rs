//! The layers that networks are made of, and the only way from a network to a kernel.
//!
//! Activations are channels-last `f32`: images `(batch, height, width, channels)`, tokens `(batch, tokens, channels)`,
//! vectors `(batch, channels)`; a token sequence and an image are the same memory. Weights are packed once at load for
//! the device that they are loaded for. A layer gives each element of a batch the same bits that it would get alone.
//!
//! On devices other than the CPU the layers say that they are not supported yet.

mod activation;
mod attention;
mod conv;
mod embedding;
mod linear;
mod memory;
mod norm;
mod resnet;
#[cfg(test)]
mod tests;

pub use activation::{activate, concat_channels, image_to_tokens, tokens_to_image};
pub use attention::scaled_dot_product_attention;
pub use conv::{Conv2d, Conv2dConfig, ConvExtras};
pub use embedding::{Embedding, timestep_embedding};
pub use linear::{Geglu, Linear, LinearExtras};
pub use norm::{GroupNorm, LayerNorm};
pub use resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D};

pub use crate::kernels::Activation;
pub use crate::kernels::cpu::{InstructionSet, instruction_set};
