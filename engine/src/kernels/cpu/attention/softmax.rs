//! How scores become weights, and what is kept of them from one chunk of keys to the next.

use super::super::math;
use super::super::operand::Operand;
use super::super::panels::PANEL;
use super::super::simd::for_each_instruction_set;
use super::{BLOCK, CHUNK};

/// The greatest score whose exponential, and the sum of very many of them, is well within f32.
pub(super) const BOUND: f32 = 40.0;

/// Some scores as a product left them: for each row those of `columns` keys.
#[derive(Clone, Copy)]
pub(in super::super) struct Scores {
    pub(in super::super) rows: usize,
    /// From one row to the next.
    pub(in super::super) stride: usize,
    pub(in super::super) columns: usize,
    /// Keys that the first row sees.
    pub(super) seen: isize,
    /// Each row sees one key more than the row before it.
    pub(super) causal: bool,
    /// What scores are multiplied by.
    pub(in super::super) scale: f32,
    /// No scaled score is beyond [`BOUND`], on either side.
    pub(in super::super) is_bounded: bool,
}

impl Scores {
    /// Keys that row `r` sees.
    #[inline(always)]
    pub(in super::super) fn seen_by(&self, r: usize) -> usize {
        if self.causal {
            let seen = self.seen + r.cast_signed();
            seen.clamp(0, self.columns.cast_signed()).cast_unsigned()
        } else {
            self.columns
        }
    }
}

/// What is known of the rows' softmax after some chunks.
pub(super) struct Softmax {
    /// The greatest score of a chunk, before it is scaled.
    pub(super) highest_of_chunk: [f32; BLOCK],
    /// The greatest score so far, scaled; 0 where the scores are bounded.
    highest: [f32; BLOCK],
    /// Of `e^(score - highest)`, in parts.
    pub(super) sums: [[f32; LANES]; BLOCK],
    /// What sums of earlier chunks must be multiplied by after the last chunk.
    pub(super) correction: [f32; BLOCK],
}

/// Parts of a row's sum.
pub(in super::super) const LANES: usize = 16;

impl Softmax {
    pub(super) fn new(is_bounded: bool) -> Self {
        Self {
            highest_of_chunk: [f32::NEG_INFINITY; BLOCK],
            // Not infinite: a distance from it is a number.
            highest: [if is_bounded { 0.0 } else { f32::MIN }; BLOCK],
            sums: [[0.0; LANES]; BLOCK],
            correction: [1.0; BLOCK],
        }
    }

    /// Takes the greatest scores of a chunk in.
    pub(super) fn raise(&mut self, scale: f32) {
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
    pub(super) fn weigh<T: Operand>(
        &mut self,
        of: &Scores,
        scores: &[f32],
        weights: &mut [T],
        width: usize,
    ) {
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
    pub(super) fn greatest(scores: &[f32]) -> f32 {
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
