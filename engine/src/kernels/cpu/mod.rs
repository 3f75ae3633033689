//! Kernels for the CPU on plain slices, channels-last.
//!
//! The law that all of them keep: an element's result depends on the shape and the numbers of that element alone, bit
//! for bit. Never on the batch it travels in, its place there, or the number of threads. It holds by construction:
//! every output of a matrix product is one chain of sums in the order of the inner dimension, whatever block or thread
//! computes it, and every other reduction is cut and ordered by one element's shape. So is the choice between kernels:
//! by one element's shape, the format and the instruction set.
//!
//! What may change the last bits is the instruction set ([`instruction_set`]). The table of kernels and its reasons are
//! in `docs/decisions/0014-cpu-kernels.md`.
#![expect(
    unsafe_code,
    reason = "vector instructions and outputs shared between threads; each block says why it is sound"
)]

mod ahead;
mod aligned;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod bands;
mod blocks;
mod channel_sums;
mod conv;
mod elementwise;
mod epilogue;
mod heads;
mod leaky;
mod math;
mod matmul;
mod norm;
mod operand;
mod output;
mod panels;
mod parallel;
mod peak;
mod pool;
mod seen;
mod simd;
mod tile;
mod tile_bf16;
#[cfg(target_arch = "x86_64")]
mod vectors;
mod winograd;

pub use attention::{AttentionShape, Bias, attention};
pub use blocks::{BlockFormat, BlockMatrix};
pub use channel_sums::{ChannelSums, map_channels};
pub use conv::{ConvGeometry, ConvInput, ImageBand, conv2d, conv2d_doubled, double_weights};
pub use elementwise::{activate, add_gated, concat_channels, gate};
pub use epilogue::Extras;
pub use heads::{HeadsPart, HeadsShape, Pairs, Rotation, heads};
pub use leaky::{leaky, place_leaky};
pub use matmul::{GateExtras, MatmulShape, gated, matmul};
pub use norm::{GroupNormShape, RowNorm, RowScales, group_norm, norm_rows};
pub use operand::{Buffer, Numbers};
pub use panels::{Format, Panels};
pub use peak::peak;
pub use pool::{PoolingAllocator, release};
pub use simd::{InstructionSet, instruction_set};
