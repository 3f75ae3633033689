//! The transformer of Qwen-Image: blocks with a stream each for text and picture, with positions around the picture's middle.
//!
//! Source: diffusers `QwenImageTransformer2DModel`.

mod config;

use candle_core::Tensor;

pub use config::Config;

use super::double_block::{DoubleBlock, DoubleBlockConfig, StreamNames};
use super::split::parts;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, AdaLayerNorm, EmbeddingMlp, Linear, Modulation, Pairs, RmsNorm, Rope, activate,
    timestep_embedding,
};

/// Numbers that stand for a timestep.
const TIME_DIM: usize = 256;
/// What times between 0 and 1 are multiplied by.
const TIME_SCALE: f64 = 1000.0;
/// Of the norms; fixed in the reference.
const EPSILON: f64 = 1e-6;
/// Base of the positions' frequencies; fixed in the reference.
const ROPE_THETA: f64 = 10_000.0;

/// The network with its weights.
#[derive(Debug, Clone)]
pub struct QwenImageTransformer2DModel {
    img_in: Linear,
    txt_norm: RmsNorm,
    txt_in: Linear,
    timestep_embedder: EmbeddingMlp,
    transformer_blocks: Vec<DoubleBlock>,
    norm_out: (Modulation, AdaLayerNorm),
    proj_out: Linear,
    config: Config,
}

impl QwenImageTransformer2DModel {
    /// Loads the network that `config` describes. Fails when it asks for something that is not supported or does not fit
    /// the weights.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        let dim = config.dim();
        let text_dim = config.joint_attention_dim;
        let blocks = loader.pp("transformer_blocks");
        let block = DoubleBlockConfig {
            heads: config.num_attention_heads,
            head_dim: config.attention_head_dim,
            picture: StreamNames {
                modulation: "img_mod.1",
                feed_forward: "img_mlp",
            },
            text: StreamNames {
                modulation: "txt_mod.1",
                feed_forward: "txt_mlp",
            },
        };
        Ok(Self {
            img_in: Linear::load(&loader.pp("img_in"), config.in_channels, dim)?,
            txt_norm: RmsNorm::load(&loader.pp("txt_norm"), text_dim, EPSILON)?,
            txt_in: Linear::load(&loader.pp("txt_in"), text_dim, dim)?,
            timestep_embedder: EmbeddingMlp::load(
                &loader.pp("time_text_embed.timestep_embedder"),
                TIME_DIM,
                dim,
                true,
            )?,
            transformer_blocks: (0..config.num_layers)
                .map(|index| DoubleBlock::load(&blocks.pp(index), block))
                .collect::<Result<_>>()?,
            norm_out: (
                Modulation::load(&loader.pp("norm_out.linear"), dim, dim, 2, true)?,
                AdaLayerNorm::new(loader, dim, EPSILON),
            ),
            proj_out: Linear::load(&loader.pp("proj_out"), dim, config.patch_channels())?,
            config: config.clone(),
        })
    }

    /// One evaluation for elements whose prompts have the same number of tokens.
    ///
    /// `tokens`: `(b, rows * columns, in_channels)`, the picture's patches row by row; `times`: 0 to 1 (noise);
    /// `prompt_embeds`: `(b, m, joint_attention_dim)` without padding. Gives `(b, rows * columns, patch_channels)`.
    pub fn forward(
        &self,
        tokens: &Tensor,
        (rows, columns): (usize, usize),
        times: &[f64],
        prompt_embeds: &Tensor,
    ) -> Result<Tensor> {
        let time = self.time(times)?; // (b, dim), after SiLU
        let mut hidden = self.img_in.forward(tokens)?;
        let text = self.txt_norm.forward(&prompt_embeds.contiguous()?)?;
        let mut text = self.txt_in.forward(&text)?;
        let rope = self.rope(text.dim(1)?, rows, columns);
        for block in &self.transformer_blocks {
            (hidden, text) = block.forward(&hidden, &text, &time, &rope)?;
        }
        let (modulation, norm) = &self.norm_out;
        let [scale, shift] = parts(modulation.forward(&time)?)?;
        self.proj_out
            .forward(&norm.forward(&hidden, &scale, Some(&shift))?)
    }

    fn time(&self, times: &[f64]) -> Result<Tensor> {
        let scaled: Vec<f64> = times.iter().map(|time| time * TIME_SCALE).collect();
        let embedded = timestep_embedding(&scaled, TIME_DIM, true, 0.0)?;
        let time = self.timestep_embedder.forward(&embedded, None)?;
        activate(&time, Activation::Silu)
    }

    /// A patch has its row and column counted from the middle; words stand on the diagonal behind the picture's last.
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
    fn rope(&self, words: usize, rows: usize, columns: usize) -> Rope {
        let behind = (rows / 2).max(columns / 2);
        let text = (behind..behind + words).map(|at| vec![at as f64; 3]);
        let from_middle = |at: usize, count: usize| at as f64 - (count - count / 2) as f64;
        let picture = (0..rows * columns).map(|at| {
            vec![
                0.0,
                from_middle(at / columns, rows),
                from_middle(at % columns, columns),
            ]
        });
        let positions: Vec<Vec<f64>> = text.chain(picture).collect();
        let axes = &self.config.axes_dims_rope;
        Rope::new(&positions, axes, ROPE_THETA, Pairs::Neighbours)
    }
}
