//! Queries and keys on their way into an attention: norms of single heads, rotary positions, streams joined.

use candle_core::Tensor;

use super::format;
use super::memory::{internal, numbers, tensor_of, weight};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::cpu::{self, Format, HeadsPart, HeadsShape, Rotation};

pub use crate::kernels::cpu::Pairs;

/// Rotary positions of a sequence of tokens: an angle for each pair of numbers of a head (Su et al. 2021).
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    pairs: Pairs,
}

impl Rope {
    /// Positions with several coordinates, each of which turns its own part of a head.
    ///
    /// `positions`: for each token its coordinates, as many as `dims`; `dims`: numbers of a head that each coordinate
    /// turns, even. The angle of pair `i` of `d` numbers is `position * theta^(-2 i / d)`. Computed in `f64` as
    /// diffusers' `get_1d_rotary_pos_embed` does.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "positions and sizes are small; f32 is wanted"
    )]
    pub fn new(positions: &[Vec<f64>], dims: &[usize], theta: f64, pairs: Pairs) -> Self {
        let half: usize = dims.iter().map(|dim| dim / 2).sum();
        let mut rope = Self {
            cos: Vec::with_capacity(positions.len() * half),
            sin: Vec::with_capacity(positions.len() * half),
            half,
            pairs,
        };
        for position in positions {
            for (coordinate, dim) in position.iter().zip(dims) {
                for pair in 0..dim / 2 {
                    let frequency = 1.0 / theta.powf((2 * pair) as f64 / *dim as f64);
                    let angle = coordinate * frequency;
                    rope.cos.push(angle.cos() as f32);
                    rope.sin.push(angle.sin() as f32);
                }
            }
        }
        rope
    }

    fn rotation(&self) -> Rotation<'_> {
        Rotation {
            cos: &self.cos,
            sin: &self.sin,
            pairs: self.pairs,
        }
    }
}

/// A norm of each head to mean square 1, with a weight for each of its numbers; or none.
#[derive(Debug, Clone)]
pub struct HeadNorm {
    weight: Option<Vec<f32>>,
}

impl HeadNorm {
    /// Reads `weight (head_dim)`.
    pub fn load(loader: &Loader, head_dim: usize) -> Result<Self> {
        Ok(Self {
            weight: Some(weight(&loader.get(&[head_dim], "weight")?)?),
        })
    }

    /// No norm.
    pub fn none() -> Self {
        Self { weight: None }
    }
}

/// How the heads of an attention are prepared.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    heads: usize,
    head_dim: usize,
    epsilon: f64,
    products: Format,
}

impl Heads {
    /// `heads` heads of `head_dim` numbers; `epsilon` is added to their mean squares. `loader` says what products are
    /// made of.
    pub fn new(loader: &Loader, heads: usize, head_dim: usize, epsilon: f64) -> Self {
        Self {
            heads,
            head_dim,
            epsilon,
            products: format::of_products(loader, heads * head_dim),
        }
    }

    /// Streams one after the other, each head normalised and turned by its token's position; in the format of products.
    ///
    /// `streams`: tokens `(b, n, heads * head_dim)` in single precision with the norm of their heads; `rope`: positions
    /// of all tokens of all streams. Gives `(b, sum of n, heads * head_dim)`.
    pub fn join(&self, streams: &[(&Tensor, &HeadNorm)], rope: Option<&Rope>) -> Result<Tensor> {
        let width = self.heads * self.head_dim;
        let mut elements = None;
        let mut tokens = 0;
        for (stream, _) in streams {
            let (b, n, c) = stream.dims3()?;
            if c != width || elements.is_some_and(|elements| elements != b) {
                return Err(internal(format!(
                    "tokens of {:?} do not fit {} heads of {} beside others",
                    stream.dims(),
                    self.heads,
                    self.head_dim
                )));
            }
            elements = Some(b);
            tokens += n;
        }
        if let Some(rope) = rope
            && (rope.cos.len() != tokens * rope.half || 2 * rope.half != self.head_dim)
        {
            return Err(internal(format!(
                "positions of {} angles do not fit {tokens} tokens of heads of {}",
                rope.cos.len(),
                self.head_dim
            )));
        }
        let elements = elements.unwrap_or(0);
        let borrowed = streams
            .iter()
            .map(|(stream, _)| numbers(stream))
            .collect::<Result<Vec<_>>>()?;
        let parts: Vec<HeadsPart<'_>> = borrowed
            .iter()
            .zip(streams)
            .map(|(numbers, (stream, norm))| HeadsPart {
                numbers,
                tokens: stream.dims()[1],
                weight: norm.weight.as_deref(),
            })
            .collect();
        let shape = HeadsShape {
            elements,
            heads: self.heads,
            head_dim: self.head_dim,
            epsilon: self.epsilon,
        };
        let rotation = rope.map(Rope::rotation);
        tensor_of(
            cpu::heads(&parts, shape, rotation, self.products),
            &[elements, tokens, width],
        )
    }
}
