//! Attention: `softmax(query . key / sqrt(d)) . value`, a block of query rows and a chunk of keys at a time.
//!
//! The scores of all keys are never there at once: each chunk's are made, weighed against the greatest one so far, and
//! added to the sums (Dao et al. 2022, FlashAttention; Milakov and Gimelshein 2018 for the softmax). Where the chunks
//! are cut depends on the number of keys alone.

use super::aligned::Aligned;
use super::math;
use super::operand::{Buffer, Numbers, Operand};
use super::output::{Parts, Scratch, fill, with_scratch};
use super::panels::{PANEL, padded};
use super::parallel;
use super::simd::for_each_instruction_set;
use super::tile::Rows;

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

/// Query rows done together.
const BLOCK: usize = 96;
/// Keys whose scores are there at once: with a block of rows, they stay in the second-level cache.
const CHUNK: usize = 512;

/// `query (elements, queries, heads * head_dim)`, `key` and `value (elements, keys, heads * head_dim)` to
/// `(elements, queries, heads * head_dim)`.
///
/// All are in one format, in which the products are made and the result is. Panics when sizes or formats contradict
/// each other.
pub fn attention(
    query: Numbers<'_>,
    key: Numbers<'_>,
    value: Numbers<'_>,
    shape: AttentionShape,
) -> Buffer {
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
            Buffer::F32(run(query, key, value, shape))
        }
        (Numbers::Bf16(query), Numbers::Bf16(key), Numbers::Bf16(value)) => {
            Buffer::Bf16(run(query, key, value, shape))
        }
        _ => panic!("an attention of numbers in several formats"),
    }
}

fn run<T: Operand>(query: &[T], key: &[T], value: &[T], shape: AttentionShape) -> Vec<T> {
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
                    head: index / blocks,
                    from: index % blocks * BLOCK,
                    count: BLOCK.min(shape.queries - index % blocks * BLOCK),
                };
                with_scratch(|scratch| block.run(query, &packed, shape, scratch, output));
            });
        })
    }
}

/// Keys and values of every element and head in panels.
struct Packed<T: Operand> {
    numbers: Aligned<T>,
    /// Of one head.
    len: usize,
    /// Numbers of the keys of one head; the values come after them.
    keys_len: usize,
    /// Of a head, filled up: the depth of the first product.
    head_depth: usize,
}

impl<T: Operand> Packed<T> {
    fn new(key: &[T], value: &[T], shape: AttentionShape) -> Self {
        let AttentionShape {
            elements,
            keys,
            heads,
            head_dim,
            ..
        } = shape;
        let head_depth = padded::<T>(head_dim);
        let keys_len = keys.div_ceil(PANEL) * PANEL * head_depth;
        let values_len: usize = chunks(keys)
            .map(|(_, count)| padded::<T>(count) * head_dim.div_ceil(PANEL) * PANEL)
            .sum();
        let len = keys_len + values_len;
        let mut numbers = Aligned::zeroed(elements * heads * len);
        let parts = Parts::new(&mut numbers);
        parallel::for_each(elements * heads, |index| {
            // SAFETY: each head's part is one task's.
            let to = unsafe { parts.part(index * len, len) };
            let (to_keys, to_values) = to.split_at_mut(keys_len);
            let first = index / heads * keys * shape.width() + index % heads * head_dim;
            let row = |j: usize| first + j * shape.width()..first + j * shape.width() + head_dim;
            for j in 0..keys {
                let key = &key[row(j)];
                let panel = &mut to_keys[j / PANEL * PANEL * head_depth..][..PANEL * head_depth];
                T::put_column(panel, j % PANEL, key);
            }
            let mut at = 0;
            for (from, count) in chunks(keys) {
                let depth = padded::<T>(count);
                for p in 0..head_dim.div_ceil(PANEL) {
                    let columns = p * PANEL..head_dim.min((p + 1) * PANEL);
                    let panel = &mut to_values[at..][..depth * PANEL];
                    for j in 0..count {
                        let value = &value[row(from + j)];
                        T::put_row(panel, j, &value[columns.clone()]);
                    }
                    at += depth * PANEL;
                }
            }
        });
        Self {
            numbers,
            len,
            keys_len,
            head_depth,
        }
    }

    /// Keys and values of a head.
    fn head(&self, index: usize) -> (&[T], &[T]) {
        self.numbers[index * self.len..][..self.len].split_at(self.keys_len)
    }
}

/// First key and number of keys of each chunk.
fn chunks(keys: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..keys)
        .step_by(CHUNK)
        .map(move |from| (from, CHUNK.min(keys - from)))
}

/// Some query rows of one head.
struct Block {
    /// Number of the element times heads, plus head.
    head: usize,
    from: usize,
    count: usize,
}

impl Block {
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
        let scale = scale as f32;

        let (input, sums) = T::scratch(scratch);
        let (queries_copy, weights) = input
            .room(self.count * (depth + CHUNK))
            .split_at_mut(self.count * depth);
        for (r, to) in queries_copy.chunks_exact_mut(depth).enumerate() {
            let (numbers, filling) = to.split_at_mut(head_dim);
            numbers.copy_from_slice(&query[first + r * width..][..head_dim]);
            filling.fill(T::ZERO);
        }
        let (scores, sums) = sums
            .room(self.count * (CHUNK + 2 * sums_width))
            .split_at_mut(self.count * CHUNK);
        let (totals, sums) = sums.split_at_mut(self.count * sums_width);
        let mut softmax = Softmax::new();
        let last_columns = head_dim - (value_panels - 1) * PANEL;

        let rows = Rows::matrix(queries_copy, self.count, depth, depth);
        for (from, count) in chunks(keys) {
            let panels = count.div_ceil(PANEL);
            let keys = &keys_packed[from * depth..][..panels * PANEL * depth];
            T::multiply(rows, keys, panels, scores, CHUNK, PANEL);
            let seen = |r: usize| {
                if causal {
                    (self.from + r + 1).saturating_sub(from).min(count)
                } else {
                    count
                }
            };
            for r in 0..self.count {
                softmax.highest_of_chunk[r] = greatest(&scores[r * CHUNK..][..seen(r)]);
            }
            softmax.raise(scale);
            let chunk_depth = padded::<T>(count);
            for r in 0..self.count {
                let scores = &scores[r * CHUNK..][..seen(r)];
                let weights = &mut weights[r * CHUNK..][..chunk_depth];
                let (weights, unseen) = weights.split_at_mut(scores.len());
                unseen.fill(T::ZERO);
                let highest = softmax.highest[r];
                let sum = T::weigh_vectors(scores, weights, scale, highest)
                    .unwrap_or_else(|| exponentials(scores, weights, scale, highest));
                softmax.sum[r] = softmax.sum[r] * softmax.correction[r] + sum;
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
            divide(&totals[r * sums_width..][..head_dim], softmax.sum[r], to);
        }
    }
}

/// What is known of the rows' softmax after some chunks.
struct Softmax {
    /// The greatest score of a chunk, before it is scaled.
    highest_of_chunk: [f32; BLOCK],
    /// The greatest score so far, scaled.
    highest: [f32; BLOCK],
    /// Of `e^(score - highest)`.
    sum: [f32; BLOCK],
    /// What sums of earlier chunks must be multiplied by after the last chunk.
    correction: [f32; BLOCK],
}

impl Softmax {
    fn new() -> Self {
        Self {
            highest_of_chunk: [f32::NEG_INFINITY; BLOCK],
            // Not infinite: a distance from it is a number.
            highest: [f32::MIN; BLOCK],
            sum: [0.0; BLOCK],
            correction: [0.0; BLOCK],
        }
    }

    /// Takes the greatest scores of a chunk in.
    fn raise(&mut self, scale: f32) {
        raise(
            &self.highest_of_chunk,
            &mut self.highest,
            &mut self.correction,
            scale,
        );
    }
}

for_each_instruction_set! {
    fn raise(of_chunk: &[f32; BLOCK], highest: &mut [f32; BLOCK], correction: &mut [f32; BLOCK], scale: f32) {
        for r in 0..BLOCK {
            let old = highest[r];
            let new = of_chunk[r] * scale;
            let new = if new > old { new } else { old };
            highest[r] = new;
            correction[r] = math::exp(old - new);
        }
    }
}

for_each_instruction_set! {
    /// The greatest of `scores`; a NaN is passed over, and comes out of the exponential.
    fn greatest(scores: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let (whole, rest) = scores.as_chunks::<16>();
        for chunk in whole {
            for i in 0..16 {
                lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane = if *x > *lane { *x } else { *lane };
        }
        let mut highest = f32::NEG_INFINITY;
        for lane in lanes {
            highest = if lane > highest { lane } else { highest };
        }
        highest
    }
}

for_each_instruction_set! {
    /// `weights = e^(scores * scale - highest)`; gives their sum before they are rounded.
    fn exponentials<T: Operand>(scores: &[f32], weights: &mut [T], scale: f32, highest: f32) -> f32 {
        let mut sums = [0f32; 16];
        let (whole, rest) = scores.as_chunks::<16>();
        let (to, to_rest) = weights.as_chunks_mut::<16>();
        for (from, to) in whole.iter().zip(to) {
            for i in 0..16 {
                let weight = T::exp(from[i] * scale - highest);
                sums[i] += weight;
                to[i] = T::from_f32(weight);
            }
        }
        for ((from, to), sum) in rest.iter().zip(to_rest).zip(&mut sums) {
            let weight = T::exp(from * scale - highest);
            *sum += weight;
            *to = T::from_f32(weight);
        }
        let mut total = 0.0;
        for sum in sums {
            total += sum;
        }
        total
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
