//! What the layers of [`crate::nn`] call on each device. Networks never come here themselves.
//!
//! Only the CPU has kernels of its own so far.

pub mod cpu;

/// A function of one number, applied where a kernel writes its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The number itself.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Phi(x)` with the exact normal distribution (erf), not its tanh approximation.
    Gelu,
    /// `x * sigmoid(1.702 x)`, as OpenAI's CLIP has it.
    QuickGelu,
    /// GELU with the normal distribution approximated by a tanh (torch's `approximate="tanh"`, transformers' `gelu_new`).
    GeluTanh,
}
