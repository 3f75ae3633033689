//! Tokens of text and picture in one sequence, and apart again.

use candle_core::Tensor;

use crate::Result;

/// `(b, n, c)` to its first `at` tokens and the rest.
pub(super) fn split_tokens(x: &Tensor, at: usize) -> Result<(Tensor, Tensor)> {
    let tokens = x.dim(1)?;
    Ok((
        x.narrow(1, 0, at)?.contiguous()?,
        x.narrow(1, at, tokens - at)?.contiguous()?,
    ))
}

/// Takes the parts of a modulation out, as many as the caller names.
pub(super) fn parts<const N: usize>(parts: Vec<Tensor>) -> Result<[Tensor; N]> {
    parts.try_into().map_err(|parts: Vec<Tensor>| {
        crate::Error::internal(format!("{} parts of a modulation, not {N}", parts.len()))
    })
}
