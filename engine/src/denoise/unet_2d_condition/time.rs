//! The timestep, and for SDXL the picture's sizes and the pooled prompt, as one vector for every residual block.

use candle_core::Tensor;

use super::config::Config;
use super::plan::Plan;
use super::{AddedConditioning, activated};
use crate::checkpoint::Loader;
use crate::nn::{Activation, Linear, LinearExtras, timestep_embedding};
use crate::{Error, ErrorKind, Result};

/// Two linear layers with SiLU between them.
#[derive(Debug, Clone)]
struct Mlp {
    linear_1: Linear,
    linear_2: Linear,
}

impl Mlp {
    fn load(loader: &Loader, in_dim: usize, dim: usize) -> Result<Self> {
        Ok(Self {
            linear_1: Linear::load(&loader.pp("linear_1"), in_dim, dim)?,
            linear_2: Linear::load(&loader.pp("linear_2"), dim, dim)?,
        })
    }

    fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let hidden = self.linear_1.forward_activate(x, Activation::Silu)?;
        self.linear_2.forward_with(
            &hidden,
            LinearExtras {
                activation: Activation::Identity,
                residual,
            },
        )
    }
}

/// `time_embedding` and, with `addition_embed_type: text_time`, `add_embedding`.
#[derive(Debug, Clone)]
pub(in crate::denoise) struct TimeEmbedding {
    time_embedding: Mlp,
    /// With the length of one embedded size, and of the pooled prompt.
    add_embedding: Option<(Mlp, usize, usize)>,
    dim: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
}

/// Numbers that tell SDXL about a picture's sizes.
const TIME_IDS: usize = 6;

impl TimeEmbedding {
    pub(in crate::denoise) fn load(loader: &Loader, config: &Config, plan: &Plan) -> Result<Self> {
        let dim = plan.block_out_channels[0];
        let add_embedding = plan
            .text_time
            .map(|(size_dim, in_dim)| {
                let text_dim = in_dim.checked_sub(TIME_IDS * size_dim).filter(|dim| *dim > 0).ok_or_else(|| {
                    Error::model(format!(
                        "unet config: `projection_class_embeddings_input_dim` {in_dim} leaves no room for the prompt \
                         beside {TIME_IDS} sizes of `addition_time_embed_dim` {size_dim}"
                    ))
                })?;
                let mlp = Mlp::load(&loader.pp("add_embedding"), in_dim, plan.time_embed_dim)?;
                Ok::<_, Error>((mlp, size_dim, text_dim))
            })
            .transpose()?;
        Ok(Self {
            time_embedding: Mlp::load(&loader.pp("time_embedding"), dim, plan.time_embed_dim)?,
            add_embedding,
            dim,
            flip_sin_to_cos: config.flip_sin_to_cos,
            freq_shift: config.freq_shift,
        })
    }

    /// Gives `(b, time_embed_dim)` after SiLU.
    pub(in crate::denoise) fn forward(
        &self,
        timesteps: &[f64],
        added: Option<&AddedConditioning>,
    ) -> Result<Tensor> {
        let time = self.embed(timesteps, self.dim)?;
        let time = self.time_embedding.forward(&time, None)?;
        let time = match (&self.add_embedding, added) {
            (Some((mlp, size_dim, text_dim)), Some(added)) => {
                let (batch, text) = added.text_embeds.dims2()?;
                if batch != timesteps.len()
                    || text != *text_dim
                    || added.time_ids.dims() != [batch, TIME_IDS]
                {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        format!(
                            "added conditioning of {:?} and {:?} for {} elements of {text_dim} and {TIME_IDS} numbers",
                            added.text_embeds.dims(),
                            added.time_ids.dims(),
                            timesteps.len()
                        ),
                    ));
                }
                let ids = added.time_ids.flatten_all()?.to_vec1::<f32>()?;
                let ids: Vec<f64> = ids.into_iter().map(f64::from).collect();
                let sizes = self
                    .embed(&ids, *size_dim)?
                    .reshape((batch, TIME_IDS * size_dim))?;
                let both = Tensor::cat(&[&added.text_embeds, &sizes], 1)?.contiguous()?;
                mlp.forward(&both, Some(&time))?
            }
            (None, _) => time,
            (Some(_), None) => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "this unet needs the pooled prompt and the picture's sizes",
                ));
            }
        };
        activated(&time)
    }

    fn embed(&self, values: &[f64], dim: usize) -> Result<Tensor> {
        timestep_embedding(values, dim, self.flip_sin_to_cos, self.freq_shift)
    }
}
