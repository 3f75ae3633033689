//! Keys and values as the products of an attention read them.

use super::super::aligned::Aligned;
use super::super::operand::Operand;
use super::super::output::Parts;
use super::super::panels::{PANEL, padded};
use super::super::parallel;
use super::super::simd::for_each_instruction_set;
use super::{AttentionShape, chunks};

/// Keys and values of every element and head in panels.
pub(super) struct Packed<T: Operand> {
    numbers: Aligned<T>,
    /// Of one head.
    len: usize,
    /// Numbers of the keys of one head; the values come after them.
    keys_len: usize,
    /// Of a head, filled up: the depth of the first product.
    pub(super) head_depth: usize,
    /// Length of the longest key of every element and head, squared.
    pub(super) longest: Vec<f32>,
}

impl<T: Operand> Packed<T> {
    pub(super) fn new(key: &[T], value: &[T], shape: AttentionShape) -> Self {
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
    pub(super) fn head(&self, index: usize) -> (&[T], &[T]) {
        self.numbers[index * self.len..][..self.len].split_at(self.keys_len)
    }
}

/// Some tokens of one head.
pub(in super::super) struct Tokens<'a, T> {
    pub(super) numbers: &'a [T],
    /// From one token to the next.
    pub(super) stride: usize,
    /// The first one.
    pub(super) from: usize,
    pub(in super::super) count: usize,
    /// Numbers of each.
    pub(in super::super) width: usize,
}

impl<T> Tokens<'_, T> {
    /// The numbers of a token.
    #[inline(always)]
    pub(in super::super) fn token(&self, index: usize) -> &[T] {
        &self.numbers[(self.from + index) * self.stride..][..self.width]
    }
}

for_each_instruction_set! {
    /// The greatest of the tokens' squared lengths; a NaN, if one is.
    pub(super) fn longest_of<T: Operand>(tokens: &Tokens<'_, T>) -> f32 {
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
