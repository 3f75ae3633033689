//! The multimodal transformer of Stable Diffusion 3 and 3.5.
//!
//! Source: diffusers `SD3Transformer2DModel`.

mod block;
mod config;

use candle_core::Tensor;

pub use config::Config;

use self::block::JointBlock;
use super::split::parts;
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, AdaLayerNorm, EmbeddingMlp, Linear, LinearExtras, Modulation, activate,
    timestep_embedding,
};
use crate::{Error, ErrorKind, Result};

/// Numbers that stand for a timestep.
const TIME_DIM: usize = 256;
/// Of the layer norms; fixed in the reference.
const EPSILON: f64 = 1e-6;

/// The network with its weights.
#[derive(Debug, Clone)]
pub struct Sd3Transformer2DModel {
    proj: Linear,
    /// `(pos_embed_max_size, pos_embed_max_size, dim)`.
    pos_embed: Tensor,
    timestep_embedder: EmbeddingMlp,
    text_embedder: EmbeddingMlp,
    context_embedder: Linear,
    transformer_blocks: Vec<JointBlock>,
    norm_out: (Modulation, AdaLayerNorm),
    proj_out: Linear,
    config: Config,
}

impl Sd3Transformer2DModel {
    /// Loads the network that `config` describes. Fails when it asks for something that is not supported or does not fit
    /// the weights.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        let (dim, size) = (config.dim(), config.pos_embed_max_size);
        let embed = loader.pp("time_text_embed");
        let mlp = |name, from| EmbeddingMlp::load(&embed.pp(name), from, dim, true);
        let blocks = loader.pp("transformer_blocks");
        let patch = loader.pp("pos_embed");
        Ok(Self {
            proj: Linear::load_patches(
                &patch.pp("proj"),
                config.in_channels,
                config.patch_size,
                dim,
            )?,
            pos_embed: patch
                .get(&[1, size * size, dim], "pos_embed")?
                .reshape((size, size, dim))?,
            timestep_embedder: mlp("timestep_embedder", TIME_DIM)?,
            text_embedder: mlp("text_embedder", config.pooled_projection_dim)?,
            context_embedder: Linear::load(
                &loader.pp("context_embedder"),
                config.joint_attention_dim,
                dim,
            )?,
            transformer_blocks: (0..config.num_layers)
                .map(|index| JointBlock::load(&blocks.pp(index), config, index))
                .collect::<Result<_>>()?,
            norm_out: (
                Modulation::load(&loader.pp("norm_out.linear"), dim, dim, 2, true)?,
                AdaLayerNorm::new(loader, dim, EPSILON),
            ),
            proj_out: Linear::load(
                &loader.pp("proj_out"),
                dim,
                config.patch_size * config.patch_size * config.out_channels,
            )?,
            config: config.clone(),
        })
    }

    /// One evaluation.
    ///
    /// `patches`: `(b, rows * columns, in_channels * patch * patch)`, row by row, the channels of a patch outermost.
    /// `timesteps`: 0 to 1000. `prompt_embeds`: `(b, m, joint_attention_dim)`; `pooled_prompt_embeds`:
    /// `(b, pooled_projection_dim)`. Gives `(b, rows * columns, patch * patch * out_channels)`, the channels innermost.
    pub fn forward(
        &self,
        patches: &Tensor,
        (rows, columns): (usize, usize),
        timesteps: &[f64],
        prompt_embeds: &Tensor,
        pooled_prompt_embeds: &Tensor,
    ) -> Result<Tensor> {
        let position = self.position(rows, columns, patches.dim(0)?)?;
        let mut hidden = self.proj.forward_with(
            patches,
            LinearExtras {
                residual: Some(&position),
                ..LinearExtras::NONE
            },
        )?;
        let time = timestep_embedding(timesteps, TIME_DIM, true, 0.0)?;
        let time = self.timestep_embedder.forward(&time, None)?;
        let time = self
            .text_embedder
            .forward(pooled_prompt_embeds, Some(&time))?;
        let time = activate(&time, Activation::Silu)?; // (b, dim)
        let mut text = self.context_embedder.forward(prompt_embeds)?;
        for block in &self.transformer_blocks {
            (hidden, text) = block.forward(&hidden, &text, &time)?;
        }
        let (modulation, norm) = &self.norm_out;
        let [scale, shift] = parts(modulation.forward(&time)?)?;
        self.proj_out
            .forward(&norm.forward(&hidden, &scale, Some(&shift))?)
    }

    /// The middle of the table of positions, for each element: `(b, rows * columns, dim)`.
    fn position(&self, rows: usize, columns: usize, elements: usize) -> Result<Tensor> {
        let size = self.config.pos_embed_max_size;
        if rows > size || columns > size {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the picture is larger than the model's {size} positions on a side"),
            )
            .with_field(if rows > size { "height_px" } else { "width_px" }));
        }
        let dim = self.config.dim();
        Ok(self
            .pos_embed
            .narrow(0, (size - rows) / 2, rows)?
            .narrow(1, (size - columns) / 2, columns)?
            .contiguous()?
            .reshape((1, rows * columns, dim))?
            .repeat((elements, 1, 1))?)
    }
}
