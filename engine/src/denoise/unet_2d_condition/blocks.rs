//! The blocks of the UNet: down, middle, up.
//!
//! Source: diffusers `DownBlock2D`, `CrossAttnDownBlock2D`, `UNetMidBlock2D`, `UNetMidBlock2DCrossAttn`, `UpBlock2D`,
//! `CrossAttnUpBlock2D`. A block without attention is one whose list of transformers is empty.

use candle_core::Tensor;

use super::plan::{BlockPlan, MidBlockType, Plan};
use super::transformer::{Transformer2D, TransformerConfig};
use crate::checkpoint::Loader;
use crate::nn::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D, concat_channels};
use crate::{Error, ErrorKind, Result};

fn resnet(
    loader: &Loader,
    plan: &Plan,
    index: usize,
    in_channels: usize,
    out_channels: usize,
) -> Result<ResnetBlock2D> {
    let config = ResnetConfig {
        in_channels,
        out_channels,
        groups: plan.groups,
        epsilon: plan.epsilon,
        time_embed_dim: Some(plan.time_embed_dim),
    };
    ResnetBlock2D::load(&loader.pp("resnets").pp(index), config)
}

fn transformers(
    loader: &Loader,
    plan: &Plan,
    block: &BlockPlan,
    channels: usize,
) -> Result<Vec<Transformer2D>> {
    let load = |(index, layers): (usize, &usize)| {
        let config = TransformerConfig {
            channels,
            heads: block.heads,
            layers: *layers,
            cross_attention_dim: block.cross_attention_dim,
            groups: plan.groups,
            use_linear_projection: plan.use_linear_projection,
        };
        Transformer2D::load(&loader.pp("attentions").pp(index), config)
    };
    block
        .transformer_layers
        .iter()
        .enumerate()
        .map(load)
        .collect()
}

/// Residual blocks (with transformers), then half the size unless it is the last.
#[derive(Debug, Clone)]
pub(in crate::denoise) struct DownBlock {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2D>,
    downsampler: Option<Downsample2D>,
}

impl DownBlock {
    pub(in crate::denoise) fn load(loader: &Loader, plan: &Plan, index: usize) -> Result<Self> {
        let channels = plan.block_out_channels[index];
        let input = plan.block_out_channels[index.saturating_sub(1)];
        let block = &plan.down[index];
        let downsample = || {
            Downsample2D::load(
                &loader.pp("downsamplers").pp(0),
                channels,
                plan.downsample_padding,
            )
        };
        Ok(Self {
            resnets: (0..block.layers)
                .map(|i| {
                    resnet(
                        loader,
                        plan,
                        i,
                        if i == 0 { input } else { channels },
                        channels,
                    )
                })
                .collect::<Result<_>>()?,
            attentions: transformers(loader, plan, block, channels)?,
            downsampler: (index + 1 < plan.block_out_channels.len())
                .then(downsample)
                .transpose()?,
        })
    }

    /// Every result on the way is also pushed on `skips`.
    pub(in crate::denoise) fn forward(
        &self,
        mut hidden: Tensor,
        time: &Tensor,
        text: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            hidden = resnet.forward(&hidden, Some(time))?;
            if let Some(attention) = self.attentions.get(i) {
                hidden = attention.forward(&hidden, text)?;
            }
            skips.push(hidden.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            hidden = downsampler.forward(&hidden)?;
            skips.push(hidden.clone());
        }
        Ok(hidden)
    }
}

/// The narrowest place: a residual block and, with attention, a transformer and another residual block.
#[derive(Debug, Clone)]
pub(in crate::denoise) struct MidBlock {
    first: ResnetBlock2D,
    rest: Option<(Transformer2D, ResnetBlock2D)>,
}

impl MidBlock {
    /// None when the config says that there is no middle block.
    pub(in crate::denoise) fn load(loader: &Loader, plan: &Plan) -> Result<Option<Self>> {
        let channels = *plan.block_out_channels.last().unwrap_or(&0);
        let attends = match plan.mid_type {
            MidBlockType::None => return Ok(None),
            MidBlockType::Resnet => false,
            MidBlockType::CrossAttention => true,
        };
        let first = resnet(loader, plan, 0, channels, channels)?;
        let rest = if attends {
            let attention = transformers(loader, plan, &plan.mid, channels)?.pop();
            let attention = attention
                .ok_or_else(|| Error::model("unet config: the middle block has no transformer"))?;
            Some((attention, resnet(loader, plan, 1, channels, channels)?))
        } else {
            None
        };
        Ok(Some(Self { first, rest }))
    }

    pub(in crate::denoise) fn forward(
        &self,
        hidden: &Tensor,
        time: &Tensor,
        text: &Tensor,
    ) -> Result<Tensor> {
        let hidden = self.first.forward(hidden, Some(time))?;
        match &self.rest {
            Some((attention, resnet)) => {
                resnet.forward(&attention.forward(&hidden, text)?, Some(time))
            }
            None => Ok(hidden),
        }
    }
}

/// Residual blocks that each take a skip (with transformers), then twice the size unless it is the last.
#[derive(Debug, Clone)]
pub(in crate::denoise) struct UpBlock {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2D>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock {
    pub(in crate::denoise) fn load(loader: &Loader, plan: &Plan, index: usize) -> Result<Self> {
        let count = plan.block_out_channels.len();
        let reversed = |i: usize| plan.block_out_channels[count - 1 - i.min(count - 1)];
        let (previous, channels, next) = (
            reversed(index.saturating_sub(1)),
            reversed(index),
            reversed(index + 1),
        );
        let block = &plan.up[index];
        let load = |i| {
            let hidden = if i == 0 { previous } else { channels };
            let skip = if i + 1 == block.layers {
                next
            } else {
                channels
            };
            resnet(loader, plan, i, hidden + skip, channels)
        };
        let upsample = || Upsample2D::load(&loader.pp("upsamplers").pp(0), channels);
        Ok(Self {
            resnets: (0..block.layers).map(load).collect::<Result<_>>()?,
            attentions: transformers(loader, plan, block, channels)?,
            upsampler: (index + 1 < count).then(upsample).transpose()?,
        })
    }

    /// Pops one of `skips` for each residual block, and enlarges to the size of the next one that is left.
    pub(in crate::denoise) fn forward(
        &self,
        mut hidden: Tensor,
        time: &Tensor,
        text: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let missing = || {
            Error::new(
                ErrorKind::Internal,
                "the up blocks of this unet want more than the down blocks gave",
            )
        };
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().ok_or_else(missing)?;
            hidden = resnet.forward(&concat_channels(&hidden, &skip)?, Some(time))?;
            if let Some(attention) = self.attentions.get(i) {
                hidden = attention.forward(&hidden, text)?;
            }
        }
        match &self.upsampler {
            Some(upsampler) => {
                let (_, height, width, _) = skips.last().ok_or_else(missing)?.dims4()?;
                upsampler.forward(&hidden, (height, width))
            }
            None => Ok(hidden),
        }
    }
}
