//! Attention between tokens.

use candle_core::Tensor;

use super::memory::{internal, numbers, operands, tensor_of};
use crate::Result;
use crate::kernels::cpu::{self, Bias};

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
    run([query, key, value], heads, causal, None)
}

/// `softmax(query . key + bias) . value` for each of `heads` heads: scores are not scaled.
///
/// As [`scaled_dot_product_attention`]; `bias`: `(heads, n, m)`, the same for every element.
pub fn biased_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    bias: &Tensor,
) -> Result<Tensor> {
    run([query, key, value], heads, false, Some(bias))
}

fn run(
    [query, key, value]: [&Tensor; 3],
    heads: usize,
    causal: bool,
    bias: Option<&Tensor>,
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
    if let Some(bias) = bias.filter(|bias| bias.dims() != [heads, queries, keys]) {
        return Err(internal(format!(
            "a bias of {:?} does not fit {heads} heads of {queries} and {keys} tokens",
            bias.dims()
        )));
    }
    let bias = bias.map(numbers).transpose()?;
    let bias = bias.as_deref().map(|numbers| Bias { numbers });
    let (query_numbers, key, value) = (operands(query)?, operands(key)?, operands(value)?);
    tensor_of(
        cpu::attention(
            query_numbers.numbers(),
            key.numbers(),
            value.numbers(),
            shape,
            bias,
        ),
        query.dims(),
    )
}
