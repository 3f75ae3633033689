//! The transformer of Z-Image: picture and text refined apart, then one stream of both.
//!
//! Source: diffusers `ZImageTransformer2DModel`. Both are filled up to a multiple of 32 tokens with a token of their own,
//! which is seen like any other.

mod block;
mod config;

use candle_core::Tensor;

pub use config::Config;

use self::block::Block;
use super::split::{parts, split_tokens};
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, AdaLayerNorm, Linear, LinearExtras, Modulation, Pairs, RmsNorm, Rope, activate,
    timestep_embedding,
};
use crate::{Error, ErrorKind, Result};

/// Numbers that stand for a time.
const TIME_DIM: usize = 256;
/// Channels of a time inside its embedding.
const TIME_HIDDEN: usize = 1024;
/// Sequences are filled up to a multiple of this.
const TOKENS_MULTIPLE: usize = 32;
/// Of the last norm; fixed in the reference.
const EPSILON: f64 = 1e-6;

/// For each token: number, row and column.
type Positions = Vec<Vec<f64>>;

/// The network with its weights.
#[derive(Debug, Clone)]
pub struct ZImageTransformer2DModel {
    x_embedder: Linear,
    x_pad_token: Tensor,
    cap_norm: RmsNorm,
    cap_embedder: Linear,
    cap_pad_token: Tensor,
    t_embedder: [Linear; 2],
    noise_refiner: Vec<Block>,
    context_refiner: Vec<Block>,
    layers: Vec<Block>,
    final_modulation: Modulation,
    final_norm: AdaLayerNorm,
    final_linear: Linear,
    config: Config,
}

impl ZImageTransformer2DModel {
    /// Loads the network that `config` describes. Fails when it asks for something that is not supported or does not fit
    /// the weights.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        let dim = config.dim;
        let time_dim = config.time_dim();
        let patch_channels = config.patch_channels();
        let key = config.patch_key();
        let last = loader.pp("all_final_layer").pp(&key);
        let cap = loader.pp("cap_embedder");
        let time = loader.pp("t_embedder.mlp");
        let refiner = |name: &str, has_time| {
            let loader = loader.pp(name);
            (0..config.n_refiner_layers)
                .map(|index| Block::load(&loader.pp(index), config, has_time))
                .collect::<Result<_>>()
        };
        Ok(Self {
            x_embedder: Linear::load(&loader.pp("all_x_embedder").pp(&key), patch_channels, dim)?,
            x_pad_token: loader.get(&[1, dim], "x_pad_token")?,
            cap_norm: RmsNorm::load(&cap.pp(0), config.cap_feat_dim, config.norm_eps)?,
            cap_embedder: Linear::load(&cap.pp(1), config.cap_feat_dim, dim)?,
            cap_pad_token: loader.get(&[1, dim], "cap_pad_token")?,
            t_embedder: [
                Linear::load(&time.pp(0), TIME_DIM, TIME_HIDDEN)?,
                Linear::load(&time.pp(2), TIME_HIDDEN, time_dim)?,
            ],
            noise_refiner: refiner("noise_refiner", true)?,
            context_refiner: refiner("context_refiner", false)?,
            layers: (0..config.n_layers)
                .map(|index| Block::load(&loader.pp("layers").pp(index), config, true))
                .collect::<Result<_>>()?,
            final_modulation: Modulation::load(
                &last.pp("adaLN_modulation.1"),
                time_dim,
                dim,
                1,
                true,
            )?,
            final_norm: AdaLayerNorm::new(loader, dim, EPSILON),
            final_linear: Linear::load(&last.pp("linear"), dim, patch_channels)?,
            config: config.clone(),
        })
    }

    /// One evaluation for elements whose prompts have the same number of tokens.
    ///
    /// `patches`: `(b, rows * columns, patch * patch * channels)`, row by row, the channels of a patch innermost; `times`:
    /// 0 (noise) to 1; `prompt_embeds`: `(b, m, cap_feat_dim)` without padding. Gives the shape of `patches`.
    pub fn forward(
        &self,
        patches: &Tensor,
        (rows, columns): (usize, usize),
        times: &[f64],
        prompt_embeds: &Tensor,
    ) -> Result<Tensor> {
        let time = self.time(times)?; // (b, time_dim)
        let words = prompt_embeds.dim(1)?.next_multiple_of(TOKENS_MULTIPLE);
        let (of_text, of_picture) = self.positions(words, rows, columns)?;
        let text_rope = self.rope(&of_text);
        let picture_rope = self.rope(&of_picture);
        let mut picture = fill_up(&self.x_embedder.forward(patches)?, &self.x_pad_token)?;
        for block in &self.noise_refiner {
            picture = block.forward(&picture, &picture_rope, Some(&time))?;
        }
        let text = self
            .cap_embedder
            .forward(&self.cap_norm.forward(&prompt_embeds.contiguous()?)?)?;
        let mut text = fill_up(&text, &self.cap_pad_token)?;
        for block in &self.context_refiner {
            text = block.forward(&text, &text_rope, None)?;
        }
        let rope = self.rope(&[of_picture, of_text].concat());
        let mut hidden = Tensor::cat(&[&picture, &text], 1)?;
        for block in &self.layers {
            hidden = block.forward(&hidden, &rope, Some(&time))?;
        }
        let (hidden, _) = split_tokens(&hidden, rows * columns)?;
        let time = activate(&time, Activation::Silu)?;
        let [scale] = parts(self.final_modulation.forward(&time)?)?;
        self.final_linear
            .forward(&self.final_norm.forward(&hidden, &scale, None)?)
    }

    fn time(&self, times: &[f64]) -> Result<Tensor> {
        let scaled: Vec<f64> = times
            .iter()
            .map(|time| time * self.config.t_scale)
            .collect();
        let [first, second] = &self.t_embedder;
        let embedded = timestep_embedding(&scaled, TIME_DIM, true, 0.0)?;
        let hidden = first.forward_activate(&embedded, Activation::Silu)?;
        second.forward_with(&hidden, LinearExtras::NONE)
    }

    /// Positions of the text's tokens, padding among them, and of the picture's, whose padding is nowhere.
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
    fn positions(
        &self,
        words: usize,
        rows: usize,
        columns: usize,
    ) -> Result<(Positions, Positions)> {
        for (field, needed, most) in [
            ("prompt", words + 2, self.config.axes_lens[0]),
            ("height_px", rows, self.config.axes_lens[1]),
            ("width_px", columns, self.config.axes_lens[2]),
        ] {
            if needed > most {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("`{field}` needs {needed} positions, and the model has {most}"),
                )
                .with_field(field));
            }
        }
        let text = (1..=words).map(|word| vec![word as f64, 0.0, 0.0]);
        let tokens = rows * columns;
        let picture = (0..tokens).map(|at| {
            vec![
                (words + 1) as f64,
                (at / columns) as f64,
                (at % columns) as f64,
            ]
        });
        let padding = tokens.next_multiple_of(TOKENS_MULTIPLE) - tokens;
        let padding = std::iter::repeat_n(vec![0.0; 3], padding);
        Ok((text.collect(), picture.chain(padding).collect()))
    }

    fn rope(&self, positions: &[Vec<f64>]) -> Rope {
        let (axes, theta) = (&self.config.axes_dims, self.config.rope_theta);
        Rope::new(positions, axes, theta, Pairs::Neighbours)
    }
}

/// `(b, n, dim)` with as many of `token (1, dim)` after it as make `n` a multiple.
fn fill_up(x: &Tensor, token: &Tensor) -> Result<Tensor> {
    let (elements, tokens, dim) = x.dims3()?;
    let missing = tokens.next_multiple_of(TOKENS_MULTIPLE) - tokens;
    if missing == 0 {
        return Ok(x.clone());
    }
    let padding = token.reshape((1, 1, dim))?.repeat((elements, missing, 1))?;
    Ok(Tensor::cat(&[x, &padding], 1)?)
}
