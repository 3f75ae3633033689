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
const BLOCK: usize = 128;
/// Keys whose scores are there at once: with a block of rows, they stay in the second-level cache.
const CHUNK: usize = 256;

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
        let mut states = [State::EMPTY; BLOCK];

        let rows = Rows::matrix(queries_copy, self.count, depth, depth);
        for (from, count) in chunks(keys) {
            for p in 0..count.div_ceil(PANEL) {
                let panel = &keys_packed[(from + p * PANEL) * depth..][..PANEL * depth];
                T::multiply(rows, panel, &mut scores[p * PANEL..], CHUNK, PANEL);
            }
            let chunk_depth = padded::<T>(count);
            for (r, state) in states[..self.count].iter_mut().enumerate() {
                let seen = if causal {
                    (self.from + r + 1).saturating_sub(from).min(count)
                } else {
                    count
                };
                let weights = &mut weights[r * CHUNK..][..chunk_depth];
                weigh(&scores[r * CHUNK..][..seen], weights, state, scale);
            }
            let rows = Rows::matrix(&*weights, self.count, CHUNK, chunk_depth);
            for p in 0..value_panels {
                let (panel, rest) = values_packed.split_at(chunk_depth * PANEL);
                values_packed = rest;
                let columns = PANEL.min(head_dim - p * PANEL);
                T::multiply(rows, panel, &mut sums[p * PANEL..], sums_width, columns);
            }
            if from == 0 {
                totals.copy_from_slice(sums);
            } else {
                for (r, state) in states[..self.count].iter().enumerate() {
                    let range = r * sums_width..(r + 1) * sums_width;
                    add(&mut totals[range.clone()], state.correction, &sums[range]);
                }
            }
        }
        for (r, state) in states[..self.count].iter().enumerate() {
            // SAFETY: these rows of this head are this block's.
            let to = unsafe { output.part(first + r * width, head_dim) };
            divide(&totals[r * sums_width..][..head_dim], state.sum, to);
        }
    }
}

/// What is known of a row's softmax after some chunks.
#[derive(Clone, Copy)]
struct State {
    /// The greatest score times `scale`.
    highest: f32,
    /// Of `e^(score - highest)`.
    sum: f32,
    /// What sums of earlier chunks must be multiplied by after the last chunk.
    correction: f32,
}

impl State {
    const EMPTY: Self = Self {
        highest: f32::NEG_INFINITY,
        sum: 0.0,
        correction: 1.0,
    };
}

for_each_instruction_set! {
    /// Weights `e^(score * scale - highest)` of the scores of a chunk; the rest of `weights` becomes 0.
    fn weigh<T: Operand>(scores: &[f32], weights: &mut [T], state: &mut State, scale: f32) {
        let (weights, unseen) = weights.split_at_mut(scores.len());
        unseen.fill(T::ZERO);
        if scores.is_empty() {
            state.correction = 1.0;
            return;
        }
        let mut lanes = [f32::NEG_INFINITY; 16];
        let (whole, rest) = scores.as_chunks::<16>();
        for chunk in whole.iter().map(|chunk| &chunk[..]).chain([rest]) {
            // A NaN never wins here; it comes out of the exponential below.
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = if *x > *lane { *x } else { *lane });
        }
        let highest = lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a }) * scale;
        let highest = if highest > state.highest { highest } else { state.highest };
        state.correction = if state.sum == 0.0 { 0.0 } else { math::exp(state.highest - highest) };
        let mut sums = [0f32; 16];
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
        state.highest = highest;
        state.sum = state.sum * state.correction + sums.iter().sum::<f32>();
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
