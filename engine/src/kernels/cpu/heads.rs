//! What is done to queries and keys between their product and an attention: a norm of each head, a rotation by the
//! token's position, streams one after the other.
//!
//! Sources: Su et al. 2021 (RoPE); diffusers' `apply_rotary_emb`; transformers' `apply_rotary_pos_emb`.

use half::bf16;

use super::math;
use super::operand::{Buffer, Operand};
use super::output::fill;
use super::panels::Format;
use super::parallel;
use super::simd::for_each_instruction_set;

/// Which numbers of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Neighbours: numbers `2 i` and `2 i + 1`.
    Neighbours,
    /// Numbers `i` and `i + head_dim / 2`.
    Halves,
}

/// How each token's heads are rotated.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// `(tokens, head_dim / 2)`: cosines of all tokens, of every stream.
    pub cos: &'a [f32],
    /// Sines likewise.
    pub sin: &'a [f32],
    /// Which numbers belong together.
    pub pairs: Pairs,
}

/// One stream of tokens.
#[derive(Debug, Clone, Copy)]
pub struct HeadsPart<'a> {
    /// `(elements, tokens, heads * head_dim)`.
    pub numbers: &'a [f32],
    /// Tokens of an element.
    pub tokens: usize,
    /// `head_dim` numbers that a head is multiplied by after it was normalised to mean square 1; none: no norm.
    pub weight: Option<&'a [f32]>,
}

/// Sizes of [`heads`].
#[derive(Debug, Clone, Copy)]
pub struct HeadsShape {
    /// Elements of the batch.
    pub elements: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Numbers of a head; even where heads are rotated.
    pub head_dim: usize,
    /// Added to the mean square.
    pub epsilon: f64,
}

/// The streams one after the other, `(elements, all tokens, heads * head_dim)` in the format `to`, each head normalised
/// and rotated as asked.
///
/// Panics when sizes contradict each other.
pub fn heads(
    parts: &[HeadsPart<'_>],
    shape: HeadsShape,
    rotation: Option<Rotation<'_>>,
    to: Format,
) -> Buffer {
    let width = shape.heads * shape.head_dim;
    let tokens: usize = parts.iter().map(|part| part.tokens).sum();
    for part in parts {
        assert_eq!(
            part.numbers.len(),
            shape.elements * part.tokens * width,
            "tokens of a stream"
        );
        assert!(
            part.weight.is_none_or(|w| w.len() == shape.head_dim),
            "one weight for each number of a head"
        );
    }
    if let Some(rotation) = rotation {
        let angles = tokens * (shape.head_dim / 2);
        assert_eq!(
            (rotation.cos.len(), rotation.sin.len()),
            (angles, angles),
            "one angle for each pair of a token"
        );
        assert!(
            shape.head_dim.is_multiple_of(2),
            "a head's numbers are rotated in pairs"
        );
    }
    match to {
        Format::F32 => f32::buffer(run(parts, shape, tokens, rotation)),
        Format::Bf16 => bf16::buffer(run(parts, shape, tokens, rotation)),
    }
}

fn run<U: Operand>(
    parts: &[HeadsPart<'_>],
    shape: HeadsShape,
    tokens: usize,
    rotation: Option<Rotation<'_>>,
) -> Vec<U> {
    let width = shape.heads * shape.head_dim;
    // SAFETY: each token of the result is one task's, and is written whole.
    unsafe {
        fill(shape.elements * tokens * width, |output| {
            parallel::for_each(shape.elements * tokens, |index| {
                let (element, token) = (index / tokens, index % tokens);
                let mut at = token;
                for part in parts {
                    if at >= part.tokens {
                        at -= part.tokens;
                        continue;
                    }
                    let from = (element * part.tokens + at) * width;
                    let of_token = OfToken {
                        numbers: &part.numbers[from..][..width],
                        head_dim: shape.head_dim,
                        weight: part.weight,
                        epsilon: shape.epsilon,
                        angles: rotation.map(|rotation| {
                            let half = shape.head_dim / 2;
                            let range = token * half..(token + 1) * half;
                            (
                                &rotation.cos[range.clone()],
                                &rotation.sin[range],
                                rotation.pairs,
                            )
                        }),
                    };
                    of_each_head(&of_token, output.part(index * width, width));
                    break;
                }
            });
        })
    }
}

/// One token, and what is done to it.
struct OfToken<'a> {
    numbers: &'a [f32],
    head_dim: usize,
    weight: Option<&'a [f32]>,
    epsilon: f64,
    angles: Option<(&'a [f32], &'a [f32], Pairs)>,
}

/// Longest head.
const HEAD_LIMIT: usize = 512;

for_each_instruction_set! {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "heads are short; f32 is wanted")]
    fn of_each_head<U: Operand>(token: &OfToken<'_>, to: &mut [U]) {
        let dim = token.head_dim;
        let mut room = [0f32; HEAD_LIMIT];
        let mut long = Vec::new();
        let head = if dim <= HEAD_LIMIT {
            &mut room[..dim]
        } else {
            long.resize(dim, 0.0);
            &mut long[..]
        };
        for (numbers, to) in token.numbers.chunks_exact(dim).zip(to.chunks_exact_mut(dim)) {
            match token.weight {
                Some(weight) => {
                    let square = math::sum(numbers, |x| x * x) / dim as f64;
                    let factor = (1.0 / (square + token.epsilon).sqrt()) as f32;
                    for ((to, x), weight) in head.iter_mut().zip(numbers).zip(weight) {
                        *to = x * factor * weight;
                    }
                }
                None => head.copy_from_slice(numbers),
            }
            match token.angles {
                None => {
                    for (to, x) in to.iter_mut().zip(head.iter()) {
                        *to = U::from_f32(*x);
                    }
                }
                Some((cos, sin, Pairs::Neighbours)) => {
                    let pairs = head.as_chunks::<2>().0.iter().zip(to.as_chunks_mut::<2>().0);
                    for ((x, to), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                        to[0] = U::from_f32(x[0] * cos - x[1] * sin);
                        to[1] = U::from_f32(x[1] * cos + x[0] * sin);
                    }
                }
                Some((cos, sin, Pairs::Halves)) => {
                    let (first, second) = head.split_at(dim / 2);
                    let (to_first, to_second) = to.split_at_mut(dim / 2);
                    let to = to_first.iter_mut().zip(to_second);
                    for (((x, y), (to_x, to_y)), (cos, sin)) in first.iter().zip(second).zip(to).zip(cos.iter().zip(sin)) {
                        *to_x = U::from_f32(x * cos - y * sin);
                        *to_y = U::from_f32(y * cos + x * sin);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(head_dim: usize) -> HeadsShape {
        HeadsShape {
            elements: 2,
            heads: 2,
            head_dim,
            epsilon: 0.0,
        }
    }

    fn numbers(result: Buffer) -> Vec<f32> {
        match result {
            Buffer::F32(numbers) => numbers,
            Buffer::Bf16(numbers) => numbers.into_iter().map(bf16::to_f32).collect(),
        }
    }

    #[test]
    fn streams_stand_one_after_the_other_in_every_element() {
        let (first, second): (Vec<f32>, Vec<f32>) = (
            (0..2 * 3 * 4).map(|i| i as f32).collect(),
            (0..2 * 4).map(|i| 100.0 + i as f32).collect(),
        );
        let part = |numbers, tokens| HeadsPart {
            numbers,
            tokens,
            weight: None,
        };
        let parts = [part(&first[..], 3), part(&second[..], 1)];
        for format in [Format::F32, Format::Bf16] {
            let result = numbers(heads(&parts, shape(2), None, format));
            assert_eq!(result[..12], first[..12]);
            assert_eq!(result[12..16], second[..4]);
            assert_eq!(result[16..28], first[12..]);
            assert_eq!(result[28..], second[4..]);
        }
    }

    #[test]
    fn heads_are_normalised_and_turned() {
        let x = [
            3.0, 4.0, 3.0, 4.0, 0.0, 5.0, 0.0, 5.0, 3.0, 4.0, 3.0, 4.0, 0.0, 5.0, 0.0, 5.0,
        ];
        let weight = [2.0, 2.0, 2.0, 2.0];
        let part = HeadsPart {
            numbers: &x,
            tokens: 1,
            weight: Some(&weight),
        };
        // a quarter turn of the first pair, none of the second
        let rotation = |pairs| {
            Some(Rotation {
                cos: &[0.0, 1.0],
                sin: &[1.0, 0.0],
                pairs,
            })
        };
        let root = 12.5f32.sqrt();
        let close = |got: &[f32], wanted: [f32; 4]| {
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted * 2.0 / root).abs() < 1e-6, "{got} {wanted}");
            }
        };
        let neighbours = heads(&[part], shape(4), rotation(Pairs::Neighbours), Format::F32);
        close(&numbers(neighbours)[..4], [-4.0, 3.0, 3.0, 4.0]);
        let halves = heads(&[part], shape(4), rotation(Pairs::Halves), Format::F32);
        close(&numbers(halves)[4..8], [0.0, 5.0, 0.0, 5.0]);
    }
}
