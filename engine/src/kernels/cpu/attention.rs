//! Attention: `softmax(query . key / sqrt(d)) . value`, one block of query rows at a time.

use rayon::prelude::*;

use super::math;
use super::output::{Output, Scratch, room, with_scratch};
use super::panels::PANEL;
use super::simd::for_each_instruction_set;
use super::tile::{Rows, multiply};

/// Sizes of an attention. A token's numbers are its heads one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Elements of the batch.
    pub elements: usize,
    /// Tokens that ask.
    pub queries: usize,
    /// Tokens that are asked; at least 1.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// A token sees only itself and those before it.
    pub causal: bool,
}

/// `query (elements, queries, heads * head_dim)`, `key` and `value (elements, keys, heads * head_dim)` to
/// `(elements, queries, heads * head_dim)`. Panics when sizes contradict each other.
pub fn attention(query: &[f32], key: &[f32], value: &[f32], shape: AttentionShape) -> Vec<f32> {
    let AttentionShape {
        elements,
        queries,
        keys,
        heads,
        head_dim,
        causal,
    } = shape;
    let width = heads * head_dim;
    assert_eq!(
        query.len(),
        elements * queries * width,
        "queries of an attention"
    );
    assert_eq!(
        (key.len(), value.len()),
        (elements * keys * width, elements * keys * width),
        "keys of an attention"
    );
    assert!(
        keys > 0 || queries == 0,
        "an attention has something to look at"
    );
    if query.is_empty() {
        return Vec::new();
    }
    let key_panels = keys.div_ceil(PANEL);
    let value_panels = head_dim.div_ceil(PANEL);
    let packed_keys = key_panels * head_dim * PANEL;
    let packed_values = value_panels * keys * PANEL;

    // Keys transposed and values as they are, in panels, for each element and head.
    let mut packed = vec![0.0; elements * heads * (packed_keys + packed_values)];
    packed
        .par_chunks_exact_mut(packed_keys + packed_values)
        .enumerate()
        .for_each(|(index, packed)| {
            let first = index / heads * keys * width + index % heads * head_dim;
            let (to_keys, to_values) = packed.split_at_mut(packed_keys);
            for j in 0..keys {
                let (key, value) = (
                    &key[first + j * width..][..head_dim],
                    &value[first + j * width..][..head_dim],
                );
                let column = &mut to_keys[j / PANEL * head_dim * PANEL + j % PANEL..];
                for (i, number) in key.iter().enumerate() {
                    column[i * PANEL] = *number;
                }
                for (p, value) in value.chunks(PANEL).enumerate() {
                    to_values[(p * keys + j) * PANEL..][..value.len()].copy_from_slice(value);
                }
            }
        });

    let pitch = key_panels * PANEL;
    // Scores of a block: at most about a megabyte.
    let rows_per_block = (256 * 1024 / pitch).clamp(14, 126) / 14 * 14;
    let blocks = queries.div_ceil(rows_per_block);
    let scale = 1.0 / (f64::from(u32::try_from(head_dim).unwrap_or(u32::MAX))).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "f32 is wanted")]
    let scale = scale as f32;
    // SAFETY: the blocks cover each element's queries and heads once, and each row of a head is written whole.
    unsafe {
        Output::fill(query.len(), |output| {
            (0..elements * heads * blocks)
                .into_par_iter()
                .for_each(|index| {
                    let (element, head, block) = (
                        index / (heads * blocks),
                        index / blocks % heads,
                        index % blocks,
                    );
                    let packed =
                        &packed[(element * heads + head) * (packed_keys + packed_values)..];
                    let (keys_packed, values_packed) = packed.split_at(packed_keys);
                    let from = block * rows_per_block;
                    let count = rows_per_block.min(queries - from);
                    let first = (element * queries + from) * width + head * head_dim;
                    with_scratch(|Scratch { input, sums }| {
                        let scores = room(input, count * pitch);
                        let rows = Rows {
                            numbers: &query[first..],
                            stride: width,
                            count,
                            taps: &[0],
                            depth: head_dim,
                        };
                        for p in 0..key_panels {
                            multiply(
                                rows,
                                &keys_packed[p * head_dim * PANEL..],
                                &mut scores[p * PANEL..],
                                pitch,
                            );
                        }
                        for (r, scores) in scores.chunks_exact_mut(pitch).enumerate() {
                            softmax(
                                scores,
                                if causal { keys.min(from + r + 1) } else { keys },
                                scale,
                            );
                        }
                        let rows = Rows {
                            numbers: scores,
                            stride: pitch,
                            count,
                            taps: &[0],
                            depth: keys,
                        };
                        let sums = room(sums, count * PANEL);
                        for p in 0..value_panels {
                            multiply(rows, &values_packed[p * keys * PANEL..], sums, PANEL);
                            let columns = PANEL.min(head_dim - p * PANEL);
                            for (r, sums) in sums.chunks_exact(PANEL).enumerate() {
                                output.write(first + r * width + p * PANEL, &sums[..columns]);
                            }
                        }
                    });
                });
        })
    }
}

for_each_instruction_set! {
    /// Softmax of the first `seen` scores times `scale`; the others become 0.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is wanted")]
    fn softmax(scores: &mut [f32], seen: usize, scale: f32) {
        let (scores, unseen) = scores.split_at_mut(seen);
        unseen.fill(0.0);
        let mut lanes = [f32::NEG_INFINITY; 16];
        for chunk in scores.chunks(16) {
            // A NaN never wins here; it comes out of the exponential below.
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| if *x > *lane { *lane = *x });
        }
        let highest = lanes.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)) * scale;
        scores.iter_mut().for_each(|x| *x = math::exp(*x * scale - highest));
        let factor = (1.0 / math::sum(scores, |x| x)) as f32;
        scores.iter_mut().for_each(|x| *x *= factor);
    }
}
