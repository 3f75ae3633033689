//! Attention: `softmax(query . key / sqrt(d)) . value`, a block of query rows and a chunk of keys at a time.
//!
//! The scores of all keys are never there at once: each chunk's are made, weighed against the greatest one so far, and
//! added to the sums (Dao et al. 2022, FlashAttention; Milakov and Gimelshein 2018 for the softmax). Where the chunks
//! are cut depends on the number of keys alone.
//!
//! A score is at most the product of the lengths of query and key. Where no product of a block's longest query with the
//! head's longest key is so large that its exponential leaves the range of f32, nothing is weighed against the greatest
//! score, which then need not be known: a panel's scores become weights while they are in the first-level cache.

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
pub(super) const BLOCK: usize = 96;
/// Keys whose scores are there at once: with a block of rows, they stay in the second-level cache.
pub(super) const CHUNK: usize = 256;

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
    /// Length of the longest key of every element and head, squared.
    longest: Vec<f32>,
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
        let mut longest = vec![0f32; elements * heads];
        let parts = Parts::new(&mut numbers);
        let longest_parts = Parts::new(&mut longest);
        parallel::for_each(elements * heads, |index| {
            // SAFETY: each head's part is one task's.
            let to = unsafe { parts.part(index * len, len) };
            // SAFETY: as above.
            let longest = unsafe { &mut longest_parts.part(index, 1)[0] };
            let (to_keys, to_values) = to.split_at_mut(keys_len);
            let first = index / heads * keys * shape.width() + index % heads * head_dim;
            let tokens = |from: usize, count: usize| Tokens {
                numbers: &key[first..],
                stride: shape.width(),
                from,
                count,
                width: head_dim,
            };
            *longest = longest_of(&tokens(0, keys));
            let panels = to_keys.chunks_exact_mut(PANEL * head_depth);
            for (panel, from) in panels.zip((0..keys).step_by(PANEL)) {
                T::put_columns(panel, &tokens(from, PANEL.min(keys - from)));
            }
            let mut to_values = to_values;
            for (from, count) in chunks(keys) {
                let len = padded::<T>(count) * PANEL;
                for p in 0..head_dim.div_ceil(PANEL) {
                    let (panel, rest) = to_values.split_at_mut(len);
                    to_values = rest;
                    let values = Tokens {
                        numbers: &value[first + p * PANEL..],
                        width: PANEL.min(head_dim - p * PANEL),
                        ..tokens(from, count)
                    };
                    T::put_rows(panel, &values);
                }
            }
        });
        Self {
            numbers,
            len,
            keys_len,
            head_depth,
            longest,
        }
    }

    /// Keys and values of a head.
    fn head(&self, index: usize) -> (&[T], &[T]) {
        self.numbers[index * self.len..][..self.len].split_at(self.keys_len)
    }
}

/// Some tokens of one head.
pub(super) struct Tokens<'a, T> {
    pub(super) numbers: &'a [T],
    /// From one token to the next.
    stride: usize,
    from: usize,
    pub(super) count: usize,
    /// Numbers of each.
    pub(super) width: usize,
}

impl<T> Tokens<'_, T> {
    /// The numbers of a token.
    #[inline(always)]
    pub(super) fn token(&self, index: usize) -> &[T] {
        &self.numbers[(self.from + index) * self.stride..][..self.width]
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
        let longest = longest_of(&Tokens {
            numbers: &*queries_copy,
            stride: depth,
            from: 0,
            count: self.count,
            width: head_dim,
        });
        let bound = (longest * packed.longest[self.head]).sqrt() * scale;
        let is_bounded = bound <= BOUND;
        let (scores, sums) = sums
            .room(self.count * (CHUNK + 2 * sums_width))
            .split_at_mut(self.count * CHUNK);
        let (totals, sums) = sums.split_at_mut(self.count * sums_width);
        let mut softmax = Softmax::new(is_bounded);
        let last_columns = head_dim - (value_panels - 1) * PANEL;

        let rows = Rows::matrix(queries_copy, self.count, depth, depth);
        for (from, count) in chunks(keys) {
            let panels = count.div_ceil(PANEL);
            let keys = &keys_packed[from * depth..][..panels * PANEL * depth];
            let chunk_depth = padded::<T>(count);
            // Scores of the chunk's keys from `at` on.
            let scores_from = |at: usize, stride: usize| Scores {
                rows: self.count,
                stride,
                columns: count - at,
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
                    let shape = Scores {
                        columns: PANEL.min(count - at),
                        ..scores_from(at, PANEL)
                    };
                    T::multiply(rows, panel, 1, scores, PANEL, shape.columns);
                    softmax.weigh(&shape, scores, &mut weights[at..], chunk_depth - at);
                }
            } else {
                let last = count - (panels - 1) * PANEL;
                T::multiply(rows, keys, panels, scores, CHUNK, last);
                let shape = scores_from(0, CHUNK);
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

/// The greatest score whose exponential, and the sum of very many of them, is well within f32.
const BOUND: f32 = 40.0;

/// Some scores as a product left them: for each row those of `columns` keys.
#[derive(Clone, Copy)]
pub(super) struct Scores {
    pub(super) rows: usize,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) columns: usize,
    /// Keys that the first row sees.
    seen: isize,
    /// Each row sees one key more than the row before it.
    causal: bool,
    /// What scores are multiplied by.
    pub(super) scale: f32,
    /// No scaled score is beyond [`BOUND`], on either side.
    pub(super) is_bounded: bool,
}

impl Scores {
    /// Keys that row `r` sees.
    #[inline(always)]
    pub(super) fn seen_by(&self, r: usize) -> usize {
        if self.causal {
            let seen = self.seen + r.cast_signed();
            seen.clamp(0, self.columns.cast_signed()).cast_unsigned()
        } else {
            self.columns
        }
    }
}

/// What is known of the rows' softmax after some chunks.
struct Softmax {
    /// The greatest score of a chunk, before it is scaled.
    highest_of_chunk: [f32; BLOCK],
    /// The greatest score so far, scaled; 0 where the scores are bounded.
    highest: [f32; BLOCK],
    /// Of `e^(score - highest)`, in parts.
    sums: [[f32; LANES]; BLOCK],
    /// What sums of earlier chunks must be multiplied by after the last chunk.
    correction: [f32; BLOCK],
}

/// Parts of a row's sum.
pub(super) const LANES: usize = 16;

impl Softmax {
    fn new(is_bounded: bool) -> Self {
        Self {
            highest_of_chunk: [f32::NEG_INFINITY; BLOCK],
            // Not infinite: a distance from it is a number.
            highest: [if is_bounded { 0.0 } else { f32::MIN }; BLOCK],
            sums: [[0.0; LANES]; BLOCK],
            correction: [1.0; BLOCK],
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
        for (sums, correction) in self.sums.iter_mut().zip(self.correction) {
            sums.iter_mut().for_each(|sum| *sum *= correction);
        }
    }

    /// `weights = e^(scores * scale - highest)` in rows of [`CHUNK`], of which `width` numbers are written: 0 for what a
    /// row does not see. Their sums before they are rounded go to `sums`.
    fn weigh<T: Operand>(&mut self, of: &Scores, scores: &[f32], weights: &mut [T], width: usize) {
        let width = width.min(of.columns.next_multiple_of(PANEL));
        let is_done = T::weigh_vectors(of, scores, weights, width, &self.highest, &mut self.sums);
        if is_done {
            return;
        }
        for r in 0..of.rows {
            let scores = &scores[r * of.stride..][..of.seen_by(r)];
            let (weights, unseen) = weights[r * CHUNK..][..width].split_at_mut(scores.len());
            unseen.fill(T::ZERO);
            let (highest, sums) = (self.highest[r], &mut self.sums[r]);
            exponentials(scores, weights, of.scale, highest, sums);
        }
    }
}

for_each_instruction_set! {
    /// The greatest of the tokens' squared lengths; a NaN, if one is.
    fn longest_of<T: Operand>(tokens: &Tokens<'_, T>) -> f32 {
        let mut longest = 0.0;
        for index in 0..tokens.count {
            let mut lanes = [0f32; 8];
            let (whole, rest) = tokens.token(index).as_chunks::<8>();
            for chunk in whole {
                for i in 0..8 {
                    let x = chunk[i].to_f32();
                    lanes[i] += x * x;
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rest) {
                *lane += x.to_f32() * x.to_f32();
            }
            let mut sum = 0.0;
            for lane in lanes {
                sum += lane;
            }
            // A comparison with a NaN is false.
            longest = if sum <= longest { longest } else { sum };
        }
        longest
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
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = scores.as_chunks::<LANES>();
        for chunk in whole {
            for i in 0..LANES {
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
    /// `weights = e^(scores * scale - highest)`; adds them to `sums` before they are rounded.
    fn exponentials<T: Operand>(scores: &[f32], weights: &mut [T], scale: f32, highest: f32, sums: &mut [f32; LANES]) {
        let (whole, rest) = scores.as_chunks::<LANES>();
        let (to, to_rest) = weights.as_chunks_mut::<LANES>();
        for (from, to) in whole.iter().zip(to) {
            for i in 0..LANES {
                let weight = T::exp(from[i] * scale - highest);
                sums[i] += weight;
                to[i] = T::from_f32(weight);
            }
        }
        for ((from, to), sum) in rest.iter().zip(to_rest).zip(sums) {
            let weight = T::exp(from * scale - highest);
            *sum += weight;
            *to = T::from_f32(weight);
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

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    /// Numbers between `-size` and `size`.
    fn numbers<T: Operand>(count: usize, size: f32, seed: usize) -> Vec<T> {
        (0..count)
            .map(|i| {
                let digit = (i * 7919 + seed * 104_729) % 2003;
                T::from_f32((digit as f32 / 1001.0 - 1.0) * size)
            })
            .collect()
    }

    /// The result in `f64`, from the numbers as they are.
    fn exact<T: Operand>(query: &[T], key: &[T], value: &[T], shape: AttentionShape) -> Vec<f64> {
        let (width, dim) = (shape.width(), shape.head_dim);
        let number = |of: &[T], at: usize| f64::from(of[at].to_f32());
        let mut result = Vec::new();
        for row in 0..shape.elements * shape.queries {
            let (element, q) = (row / shape.queries, row % shape.queries);
            let seen = if shape.causal {
                shape.keys.min(q + 1)
            } else {
                shape.keys
            };
            for head in 0..shape.heads {
                let at = |token: usize, d: usize| token * width + head * dim + d;
                let key_row = |k: usize| element * shape.keys + k;
                let scores: Vec<f64> = (0..seen)
                    .map(|k| {
                        let products = (0..dim)
                            .map(|d| number(query, at(row, d)) * number(key, at(key_row(k), d)));
                        products.sum::<f64>() / (dim as f64).sqrt()
                    })
                    .collect();
                let highest = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                result.extend((0..dim).map(|d| {
                    let products = weights.iter().enumerate();
                    products
                        .map(|(k, w)| w * number(value, at(key_row(k), d)))
                        .sum::<f64>()
                        / sum
                }));
            }
        }
        result
    }

    fn check<T: Operand>(shape: AttentionShape, size: f32, within: f64) {
        let width = shape.width();
        let query = numbers::<T>(shape.elements * shape.queries * width, size, 1);
        let key = numbers::<T>(shape.elements * shape.keys * width, size, 2);
        let value = numbers::<T>(shape.elements * shape.keys * width, 1.0, 3);
        let got = run(&query, &key, &value, shape);
        let expected = exact(&query, &key, &value, shape);
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = (f64::from(got.to_f32()) - expected).abs();
            assert!(error < within, "{shape:?} of {size}, {i}: {error}");
        }
    }

    /// Odd numbers of everything; scores so small that they are bounded, and so large that the greatest must be known.
    #[test]
    fn results_are_right_in_both_formats_whatever_the_scores() {
        for (queries, keys, heads, head_dim, causal) in [
            (1, 1, 1, 1, false),
            (5, 77, 3, 40, false),
            (97, 300, 2, 24, false),
            (77, 77, 2, 64, true),
            (130, 130, 1, 160, true),
            (300, 300, 1, 33, true),
            (16, 515, 2, 80, false),
        ] {
            let shape = AttentionShape {
                elements: 2,
                queries,
                keys,
                heads,
                head_dim,
                causal,
            };
            for size in [1.0, 10.0] {
                check::<f32>(shape, size, 2e-4);
                check::<bf16>(shape, size, 1e-2);
            }
        }
    }

    /// A token that is no number spoils the rows that see it and no other.
    #[test]
    fn no_number_stays_none() {
        let shape = AttentionShape {
            elements: 1,
            queries: 2,
            keys: 40,
            heads: 1,
            head_dim: 16,
            causal: true,
        };
        for size in [1.0, 10.0] {
            let query = numbers::<f32>(32, size, 1);
            let mut key = numbers::<f32>(640, size, 2);
            key[16] = f32::NAN;
            let result = run(&query, &key, &numbers::<f32>(640, 1.0, 3), shape);
            assert!(result[..16].iter().all(|x| x.is_finite()), "{size}");
            assert!(result[16..].iter().all(|x| x.is_nan()), "{size}");
        }
    }
}
