//! Kernels for the CPU on plain `f32` slices, channels-last.
//!
//! The law that all of them keep: an element's result depends on the shape and the numbers of that element alone, bit
//! for bit. Never on the batch it travels in, its place there, or the number of threads. It holds by construction:
//! every output of a matrix product is one chain of multiply-adds in the order of the inner dimension, whatever block
//! or thread computes it, and every other reduction is cut and ordered by one element's shape.
//!
//! What may change the last bits is the instruction set ([`instruction_set`]): with and without fused multiply-add.
#![expect(
    unsafe_code,
    reason = "vector instructions and outputs shared between threads; each block says why it is sound"
)]

mod attention;
mod conv;
mod elementwise;
mod math;
mod matmul;
mod norm;
mod output;
mod panels;
mod simd;
mod tile;

pub use attention::{AttentionShape, attention};
pub use conv::{ConvGeometry, ConvInput, conv2d};
pub use elementwise::{activate, concat_channels};
pub use matmul::{Extras, MatmulShape, geglu, matmul};
pub use norm::{GroupNormShape, group_norm, layer_norm};
pub use panels::Panels;
pub use simd::{InstructionSet, instruction_set};
