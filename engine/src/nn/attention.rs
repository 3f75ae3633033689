//! Attention between tokens.

use candle_core::Tensor;

use super::memory::{internal, operands, tensor_of};
use crate::Result;
use crate::kernels::cpu;

/// `softmax(query . key / sqrt(c / heads)) . value` for each of `heads` heads.
///
/// `query`: `(b, n, c)`; `key`, `value`: `(b, m, c)`; gives `(b, n, c)`. A head is `c / heads` neighbouring channels.
/// All are in one format, that of products, and so is the result.
/// `causal`: token `i` sees tokens up to `i` only.
pub fn scaled_dot_product_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    causal: bool,
) -> Result<Tensor> {
    let (elements, queries, channels) = query.dims3()?;
    let (key_elements, keys, key_channels) = key.dims3()?;
    if key.dims() != value.dims()
        || (query.dtype(), query.dtype()) != (key.dtype(), value.dtype())
        || (key_elements, key_channels) != (elements, channels)
        || keys == 0
    {
        return Err(internal(format!(
            "attention of {:?} on {:?} and {:?} does not fit",
            query.dims(),
            key.dims(),
            value.dims()
        )));
    }
    if heads == 0 || !channels.is_multiple_of(heads) {
        return Err(internal(format!(
            "{channels} channels cannot be cut into {heads} heads"
        )));
    }
    let shape = cpu::AttentionShape {
        elements,
        queries,
        keys,
        heads,
        head_dim: channels / heads,
        causal,
    };
    let (query_numbers, key, value) = (operands(query)?, operands(key)?, operands(value)?);
    tensor_of(
        cpu::attention(
            query_numbers.numbers(),
            key.numbers(),
            value.numbers(),
            shape,
        ),
        query.dims(),
    )
}
