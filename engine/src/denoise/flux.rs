//! The transformer of FLUX.1: blocks with a stream each for text and picture, then blocks of one stream.
//!
//! Source: diffusers `FluxTransformer2DModel`.

mod config;
mod single;

use candle_core::Tensor;

pub use config::Config;

use self::single::SingleBlock;
use super::double_block::{DoubleBlock, DoubleBlockConfig, StreamNames};
use super::split::{parts, split_tokens};
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, AdaLayerNorm, EmbeddingMlp, Linear, Modulation, Pairs, Rope, activate,
    timestep_embedding,
};
use crate::{Error, Result};

/// Numbers that stand for a timestep.
const TIME_DIM: usize = 256;
/// What times between 0 and 1 are multiplied by.
const TIME_SCALE: f64 = 1000.0;
/// Of the layer norms; fixed in the reference.
const EPSILON: f64 = 1e-6;
/// Base of the positions' frequencies; fixed in the reference.
const ROPE_THETA: f64 = 10_000.0;

/// The network with its weights.
#[derive(Debug, Clone)]
pub struct FluxTransformer2DModel {
    x_embedder: Linear,
    context_embedder: Linear,
    timestep_embedder: EmbeddingMlp,
    guidance_embedder: Option<EmbeddingMlp>,
    text_embedder: EmbeddingMlp,
    transformer_blocks: Vec<DoubleBlock>,
    single_transformer_blocks: Vec<SingleBlock>,
    norm_out: (Modulation, AdaLayerNorm),
    proj_out: Linear,
    config: Config,
}

/// What the network is asked about, beside the latents.
#[derive(Debug, Clone, Copy)]
pub struct FluxConditioning<'a> {
    /// Time of each element, 0 to 1.
    pub times: &'a [f64],
    /// Guidance of each element, where [`Config::guidance_embeds`].
    pub guidance: &'a [f64],
    /// `(b, m, joint_attention_dim)`.
    pub prompt_embeds: &'a Tensor,
    /// `(b, pooled_projection_dim)`.
    pub pooled_prompt_embeds: &'a Tensor,
}

impl FluxTransformer2DModel {
    /// Loads the network that `config` describes. Fails when it asks for something that is not supported or does not fit
    /// the weights.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        let dim = config.dim();
        let embed = loader.pp("time_text_embed");
        let mlp = |name, from| EmbeddingMlp::load(&embed.pp(name), from, dim, true);
        let blocks = loader.pp("transformer_blocks");
        let single = loader.pp("single_transformer_blocks");
        let double = DoubleBlockConfig {
            heads: config.num_attention_heads,
            head_dim: config.attention_head_dim,
            picture: StreamNames {
                modulation: "norm1.linear",
                feed_forward: "ff",
            },
            text: StreamNames {
                modulation: "norm1_context.linear",
                feed_forward: "ff_context",
            },
        };
        Ok(Self {
            x_embedder: Linear::load(&loader.pp("x_embedder"), config.in_channels, dim)?,
            context_embedder: Linear::load(
                &loader.pp("context_embedder"),
                config.joint_attention_dim,
                dim,
            )?,
            timestep_embedder: mlp("timestep_embedder", TIME_DIM)?,
            guidance_embedder: config
                .guidance_embeds
                .then(|| mlp("guidance_embedder", TIME_DIM))
                .transpose()?,
            text_embedder: mlp("text_embedder", config.pooled_projection_dim)?,
            transformer_blocks: (0..config.num_layers)
                .map(|index| DoubleBlock::load(&blocks.pp(index), double))
                .collect::<Result<_>>()?,
            single_transformer_blocks: (0..config.num_single_layers)
                .map(|index| SingleBlock::load(&single.pp(index), config))
                .collect::<Result<_>>()?,
            norm_out: (
                Modulation::load(&loader.pp("norm_out.linear"), dim, dim, 2, true)?,
                AdaLayerNorm::new(loader, dim, EPSILON),
            ),
            proj_out: Linear::load(&loader.pp("proj_out"), dim, config.out_channels())?,
            config: config.clone(),
        })
    }

    /// One evaluation.
    ///
    /// `tokens`: `(b, rows * columns, in_channels)`, the picture's patches row by row. Gives
    /// `(b, rows * columns, out_channels)`.
    pub fn forward(
        &self,
        tokens: &Tensor,
        (rows, columns): (usize, usize),
        conditioning: FluxConditioning<'_>,
    ) -> Result<Tensor> {
        let time = self.time(&conditioning)?; // (b, dim), after SiLU
        let mut hidden = self.x_embedder.forward(tokens)?;
        let mut text = self.context_embedder.forward(conditioning.prompt_embeds)?;
        let words = text.dim(1)?;
        let rope = self.rope(words, rows, columns);
        for block in &self.transformer_blocks {
            (hidden, text) = block.forward(&hidden, &text, &time, &rope)?;
        }
        let mut hidden = Tensor::cat(&[&text, &hidden], 1)?;
        for block in &self.single_transformer_blocks {
            hidden = block.forward(&hidden, &time, &rope)?;
        }
        let (_, hidden) = split_tokens(&hidden, words)?;
        let (modulation, norm) = &self.norm_out;
        let [scale, shift] = parts(modulation.forward(&time)?)?;
        self.proj_out
            .forward(&norm.forward(&hidden, &scale, Some(&shift))?)
    }

    /// Time, guidance and pooled text as one vector for each element, after SiLU.
    fn time(&self, conditioning: &FluxConditioning<'_>) -> Result<Tensor> {
        let embed = |values: &[f64]| {
            let scaled: Vec<f64> = values.iter().map(|value| value * TIME_SCALE).collect();
            timestep_embedding(&scaled, TIME_DIM, true, 0.0)
        };
        let mut time = self
            .timestep_embedder
            .forward(&embed(conditioning.times)?, None)?;
        if let Some(embedder) = &self.guidance_embedder {
            if conditioning.guidance.len() != conditioning.times.len() {
                return Err(Error::internal("this transformer needs a guidance scale"));
            }
            time = embedder.forward(&embed(conditioning.guidance)?, Some(&time))?;
        }
        let pooled = conditioning.pooled_prompt_embeds;
        let time = self.text_embedder.forward(pooled, Some(&time))?;
        activate(&time, Activation::Silu)
    }

    /// Text has no position; a patch has its row and column.
    fn rope(&self, words: usize, rows: usize, columns: usize) -> Rope {
        let text = std::iter::repeat_n(vec![0.0; 3], words);
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
        let picture =
            (0..rows * columns).map(|at| vec![0.0, (at / columns) as f64, (at % columns) as f64]);
        let positions: Vec<Vec<f64>> = text.chain(picture).collect();
        let axes = &self.config.axes_dims_rope;
        Rope::new(&positions, axes, ROPE_THETA, Pairs::Neighbours)
    }
}
