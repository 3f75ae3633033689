//! The transformer of FLUX.2: as FLUX.1's, with one modulation for all blocks, gated networks and four coordinates.
//!
//! Source: diffusers `Flux2Transformer2DModel`.

mod config;
mod double;
mod single;

use candle_core::Tensor;

pub use config::Config;

use self::double::DoubleBlock;
use self::single::SingleBlock;
use super::split::{parts, split_tokens};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, AdaLayerNorm, EmbeddingMlp, Linear, Modulation, Pairs, Rope, activate,
    timestep_embedding,
};

/// What times between 0 and 1 are multiplied by.
const TIME_SCALE: f64 = 1000.0;

/// The network with its weights.
#[derive(Debug, Clone)]
pub struct Flux2Transformer2DModel {
    x_embedder: Linear,
    context_embedder: Linear,
    timestep_embedder: EmbeddingMlp,
    modulation_picture: Modulation,
    modulation_text: Modulation,
    modulation_single: Modulation,
    transformer_blocks: Vec<DoubleBlock>,
    single_transformer_blocks: Vec<SingleBlock>,
    norm_out: (Modulation, AdaLayerNorm),
    proj_out: Linear,
    config: Config,
}

/// Where a token of a picture is: number of the picture, row, column.
pub type Place = [usize; 3];

impl Flux2Transformer2DModel {
    /// Loads the network that `config` describes. Fails when it asks for something that is not supported or does not fit
    /// the weights.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        let dim = config.dim();
        let modulation = |name: &str, sets: usize| {
            Modulation::load(&loader.pp(name).pp("linear"), dim, dim, 3 * sets, false)
        };
        let blocks = loader.pp("transformer_blocks");
        let single = loader.pp("single_transformer_blocks");
        Ok(Self {
            x_embedder: Linear::load_no_bias(&loader.pp("x_embedder"), config.in_channels, dim)?,
            context_embedder: Linear::load_no_bias(
                &loader.pp("context_embedder"),
                config.joint_attention_dim,
                dim,
            )?,
            timestep_embedder: EmbeddingMlp::load(
                &loader.pp("time_guidance_embed.timestep_embedder"),
                config.timestep_guidance_channels,
                dim,
                false,
            )?,
            modulation_picture: modulation("double_stream_modulation_img", 2)?,
            modulation_text: modulation("double_stream_modulation_txt", 2)?,
            modulation_single: modulation("single_stream_modulation", 1)?,
            transformer_blocks: (0..config.num_layers)
                .map(|index| DoubleBlock::load(&blocks.pp(index), config))
                .collect::<Result<_>>()?,
            single_transformer_blocks: (0..config.num_single_layers)
                .map(|index| SingleBlock::load(&single.pp(index), config))
                .collect::<Result<_>>()?,
            norm_out: (
                Modulation::load(&loader.pp("norm_out.linear"), dim, dim, 2, false)?,
                AdaLayerNorm::new(loader, dim, config.eps),
            ),
            proj_out: Linear::load_no_bias(&loader.pp("proj_out"), dim, config.out_channels())?,
            config: config.clone(),
        })
    }

    /// One evaluation.
    ///
    /// `tokens`: `(b, n, in_channels)`, the picture's and then those of pictures to look at; `places`: where each of them
    /// is; `times`: 0 to 1; `prompt_embeds`: `(b, m, joint_attention_dim)`. Gives `(b, n, out_channels)`.
    pub fn forward(
        &self,
        tokens: &Tensor,
        places: &[Place],
        times: &[f64],
        prompt_embeds: &Tensor,
    ) -> Result<Tensor> {
        let scaled: Vec<f64> = times.iter().map(|time| time * TIME_SCALE).collect();
        let channels = self.config.timestep_guidance_channels;
        let time = timestep_embedding(&scaled, channels, true, 0.0)?;
        let time = self.timestep_embedder.forward(&time, None)?;
        let time = activate(&time, Activation::Silu)?; // (b, dim)
        let of_picture = self.modulation_picture.forward(&time)?;
        let of_text = self.modulation_text.forward(&time)?;
        let of_single = self.modulation_single.forward(&time)?;
        let mut hidden = self.x_embedder.forward(tokens)?;
        let mut text = self.context_embedder.forward(prompt_embeds)?;
        let words = text.dim(1)?;
        let rope = self.rope(words, places);
        for block in &self.transformer_blocks {
            (hidden, text) = block.forward((&hidden, &of_picture), (&text, &of_text), &rope)?;
        }
        let mut hidden = Tensor::cat(&[&text, &hidden], 1)?;
        for block in &self.single_transformer_blocks {
            hidden = block.forward(&hidden, &of_single, &rope)?;
        }
        let (_, hidden) = split_tokens(&hidden, words)?;
        let (modulation, norm) = &self.norm_out;
        let [scale, shift] = parts(modulation.forward(&time)?)?;
        self.proj_out
            .forward(&norm.forward(&hidden, &scale, Some(&shift))?)
    }

    /// Words are counted by the fourth coordinate; pictures, rows and columns by the first three.
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
    fn rope(&self, words: usize, places: &[Place]) -> Rope {
        let text = (0..words).map(|word| vec![0.0, 0.0, 0.0, word as f64]);
        let picture = places
            .iter()
            .map(|[picture, row, column]| vec![*picture as f64, *row as f64, *column as f64, 0.0]);
        let positions: Vec<Vec<f64>> = text.chain(picture).collect();
        let (axes, theta) = (&self.config.axes_dims_rope, self.config.rope_theta);
        Rope::new(&positions, axes, theta, Pairs::Neighbours)
    }
}
