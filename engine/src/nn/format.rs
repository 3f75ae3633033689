//! The one place that says which products are made of which numbers.
//!
//! Residual streams, normalisations, softmax, guidance and samplers are single precision whatever stands here; what a
//! policy changes is the two sides of the products, whose sums are single precision too.

use crate::checkpoint::Loader;
use crate::kernels::cpu::Format;
use crate::request::Precision;

/// Inputs below which a product has too few numbers for the instructions that make bf16 fast. Latents and pictures
/// come in as they are.
const FEW_INPUTS: usize = 16;

/// What the products of a layer of `inputs` channels that `loader` loads are made of.
pub(super) fn of_products(loader: &Loader, inputs: usize) -> Format {
    with(loader.precision(), inputs)
}

/// What the products of a layer of `inputs` channels that computes with `precision` are made of.
pub(super) fn with(precision: Precision, inputs: usize) -> Format {
    match precision.resolved() {
        Precision::Bf16 if inputs >= FEW_INPUTS => Format::Bf16,
        Precision::Bf16 | Precision::F32 | Precision::Auto => Format::F32,
    }
}
