//! Attention: `softmax(query . key / sqrt(d)) . value`, a block of query rows and a chunk of keys at a time.
//!
//! The scores of all keys are never there at once: each chunk's are made, weighed against the greatest one so far, and
//! added to the sums (Dao et al. 2022, FlashAttention; Milakov and Gimelshein 2018 for the softmax). Where the chunks
//! are cut depends on the number of keys alone.
//!
//! A score is at most the product of the lengths of query and key. Where no product of a block's longest query with the
//! head's longest key is so large that its exponential leaves the range of f32, nothing is weighed against the greatest
//! score, which then need not be known: a panel's scores become weights while they are in the first-level cache.

mod packed;
mod softmax;
#[cfg(test)]
mod tests;

use super::operand::{Buffer, Numbers, Operand};
use super::output::{Parts, Scratch, fill, with_scratch};
use super::panels::{PANEL, padded};
use super::parallel;
use super::simd::for_each_instruction_set;
use super::tile::Rows;

use packed::{Packed, longest_of};
use softmax::{BOUND, Softmax, greatest};

pub(super) use packed::Tokens;
pub(super) use softmax::{LANES, Scores};

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

impl AttentionShape {
    /// Numbers of a token.
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }
}

/// Something added to the scores before the softmax, in place of their scale: T5's relative positions.
#[derive(Debug, Clone, Copy)]
pub struct Bias<'a> {
    /// `(heads, queries, keys)`, the same for every element.
    pub numbers: &'a [f32],
}

/// Query rows done together.
pub(super) const BLOCK: usize = 96;
/// Keys whose scores are there at once: with a block of rows, they stay in the second-level cache.
pub(super) const CHUNK: usize = 256;

/// `query (elements, queries, heads * head_dim)`, `key` and `value (elements, keys, heads * head_dim)` to
/// `(elements, queries, heads * head_dim)`.
///
/// All are in one format, in which the products are made and the result is. With a `bias`, scores are not scaled.
/// Panics when sizes or formats contradict each other.
pub fn attention(
    query: Numbers<'_>,
    key: Numbers<'_>,
    value: Numbers<'_>,
    shape: AttentionShape,
    bias: Option<Bias<'_>>,
) -> Buffer {
    assert!(
        bias.is_none_or(|bias| bias.numbers.len() == shape.heads * shape.queries * shape.keys),
        "one number for each score of a head"
    );
    let width = shape.width();
    assert_eq!(
        query.len(),
        shape.elements * shape.queries * width,
        "queries of an attention"
    );
    let keys = shape.elements * shape.keys * width;
    assert_eq!(
        (key.len(), value.len()),
        (keys, keys),
        "keys of an attention"
    );
    assert!(
        shape.keys > 0 || shape.queries == 0,
        "an attention has something to look at"
    );
    match (query, key, value) {
        (Numbers::F32(query), Numbers::F32(key), Numbers::F32(value)) => {
            Buffer::F32(run(query, key, value, shape, bias))
        }
        (Numbers::Bf16(query), Numbers::Bf16(key), Numbers::Bf16(value)) => {
            Buffer::Bf16(run(query, key, value, shape, bias))
        }
        _ => panic!("an attention of numbers in several formats"),
    }
}

fn run<T: Operand>(
    query: &[T],
    key: &[T],
    value: &[T],
    shape: AttentionShape,
    bias: Option<Bias<'_>>,
) -> Vec<T> {
    if query.is_empty() {
        return Vec::new();
    }
    let packed = Packed::new(key, value, shape);
    let blocks = shape.queries.div_ceil(BLOCK);
    // SAFETY: the blocks cover each element's queries and heads once, and each row of a head is written whole.
    unsafe {
        fill(query.len(), |output| {
            parallel::for_each(shape.elements * shape.heads * blocks, |index| {
                let block = Block {
                    bias: bias.map(|bias| {
                        let of_head = shape.queries * shape.keys;
                        &bias.numbers[index / blocks % shape.heads * of_head..][..of_head]
                    }),
                    head: index / blocks,
                    from: index % blocks * BLOCK,
                    count: BLOCK.min(shape.queries - index % blocks * BLOCK),
                };
                with_scratch(|scratch| block.run(query, &packed, shape, scratch, output));
            });
        })
    }
}

/// First key and number of keys of each chunk.
fn chunks(keys: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..keys)
        .step_by(CHUNK)
        .map(move |from| (from, CHUNK.min(keys - from)))
}

/// Some query rows of one head.
struct Block<'a> {
    /// `(queries, keys)` of this head.
    bias: Option<&'a [f32]>,
    /// Number of the element times heads, plus head.
    head: usize,
    from: usize,
    count: usize,
}

impl Block<'_> {
    fn run<T: Operand>(
        &self,
        query: &[T],
        packed: &Packed<T>,
        shape: AttentionShape,
        scratch: &mut Scratch,
        output: &Parts<T>,
    ) {
        let AttentionShape {
            queries,
            keys,
            heads,
            head_dim,
            causal,
            ..
        } = shape;
        let (width, depth) = (shape.width(), packed.head_depth);
        let (keys_packed, mut values_packed) = packed.head(self.head);
        let first =
            (self.head / heads * queries + self.from) * width + self.head % heads * head_dim;
        let value_panels = head_dim.div_ceil(PANEL);
        let sums_width = value_panels * PANEL;
        let scale = 1.0 / (f64::from(u32::try_from(head_dim).unwrap_or(u32::MAX))).sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "f32 is wanted")]
        let scale = if self.bias.is_some() {
            1.0
        } else {
            scale as f32
        };

        let (input, sums) = T::scratch(scratch);
        let (queries_copy, weights) = input
            .room(self.count * (depth + CHUNK))
            .split_at_mut(self.count * depth);
        for (r, to) in queries_copy.chunks_exact_mut(depth).enumerate() {
            let (numbers, filling) = to.split_at_mut(head_dim);
            numbers.copy_from_slice(&query[first + r * width..][..head_dim]);
            filling.fill(T::ZERO);
        }
        let longest = longest_of(&Tokens {
            numbers: &*queries_copy,
            stride: depth,
            from: 0,
            count: self.count,
            width: head_dim,
        });
        let bound = (longest * packed.longest[self.head]).sqrt() * scale;
        let is_bounded = bound <= BOUND && self.bias.is_none();
        let (scores, sums) = sums
            .room(self.count * (CHUNK + 2 * sums_width))
            .split_at_mut(self.count * CHUNK);
        let (totals, sums) = sums.split_at_mut(self.count * sums_width);
        let mut softmax = Softmax::new(is_bounded);
        let last_columns = head_dim - (value_panels - 1) * PANEL;

        let rows = Rows::matrix(queries_copy, self.count, depth, depth);
        let all_keys = keys;
        for (from, count) in chunks(keys) {
            let panels = count.div_ceil(PANEL);
            let keys = &keys_packed[from * depth..][..panels * PANEL * depth];
            let chunk_depth = padded::<T>(count);
            // Scores of some of the chunk's keys.
            let scores_of = |at: usize, columns: usize, stride: usize| Scores {
                rows: self.count,
                stride,
                columns,
                seen: if causal {
                    // Negative while the first row sees none of them.
                    self.from.cast_signed() + 1 - (from + at).cast_signed()
                } else {
                    isize::MAX
                },
                causal,
                scale,
                is_bounded,
            };
            if is_bounded {
                let panels = keys.chunks_exact(PANEL * depth);
                for (panel, at) in panels.zip((0..count).step_by(PANEL)) {
                    let shape = scores_of(at, PANEL.min(count - at), PANEL);
                    T::multiply(rows, panel, 1, scores, PANEL, shape.columns);
                    softmax.weigh(&shape, scores, &mut weights[at..], chunk_depth - at);
                }
            } else {
                let last = count - (panels - 1) * PANEL;
                T::multiply(rows, keys, panels, scores, CHUNK, last);
                let shape = scores_of(0, count, CHUNK);
                if let Some(bias) = self.bias {
                    for (r, scores) in scores.chunks_exact_mut(CHUNK).enumerate() {
                        let bias = &bias[(self.from + r) * all_keys + from..][..count];
                        scores.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
                    }
                }
                for r in 0..self.count {
                    let seen = &scores[r * CHUNK..][..shape.seen_by(r)];
                    softmax.highest_of_chunk[r] = greatest(seen);
                }
                softmax.raise(scale);
                softmax.weigh(&shape, scores, weights, chunk_depth);
            }
            let rows = Rows::matrix(&*weights, self.count, CHUNK, chunk_depth);
            let (values, rest) = values_packed.split_at(value_panels * chunk_depth * PANEL);
            values_packed = rest;
            if from == 0 {
                T::multiply(rows, values, value_panels, totals, sums_width, last_columns);
            } else {
                T::multiply(rows, values, value_panels, sums, sums_width, last_columns);
                for (r, (totals, sums)) in totals
                    .chunks_exact_mut(sums_width)
                    .zip(sums.chunks_exact(sums_width))
                    .enumerate()
                {
                    add(totals, softmax.correction[r], sums);
                }
            }
        }
        for r in 0..self.count {
            // SAFETY: these rows of this head are this block's.
            let to = unsafe { output.part(first + r * width, head_dim) };
            let sum = softmax.sums[r].iter().sum();
            divide(&totals[r * sums_width..][..head_dim], sum, to);
        }
    }
}

for_each_instruction_set! {
    fn add(totals: &mut [f32], correction: f32, sums: &[f32]) {
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total = *total * correction + sum);
    }
}

for_each_instruction_set! {
    fn divide<T: Operand>(totals: &[f32], sum: f32, to: &mut [T]) {
        let factor = 1.0 / sum;
        totals.iter().zip(to).for_each(|(total, to)| *to = T::from_f32(total * factor));
    }
}
