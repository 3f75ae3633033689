//! What a config means for each block, checked.

use serde_json::json;

use super::config::{Config, OneOrMany, refused};
use crate::{Error, Result};

/// Largest number of channels of anything; real models stay below 4096.
const MAX_CHANNELS: usize = 1 << 15;

/// What the middle block consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::denoise) enum MidBlockType {
    None,
    Resnet,
    CrossAttention,
}

/// One block, spelled out.
#[derive(Debug, Clone)]
pub(in crate::denoise) struct BlockPlan {
    /// Residual blocks.
    pub(in crate::denoise) layers: usize,
    /// Layers of the transformer after each residual block; empty without attention.
    pub(in crate::denoise) transformer_layers: Vec<usize>,
    pub(in crate::denoise) heads: usize,
    pub(in crate::denoise) cross_attention_dim: usize,
}

/// A checked config, spelled out for each block.
#[derive(Debug, Clone)]
pub(in crate::denoise) struct Plan {
    pub(in crate::denoise) block_out_channels: Vec<usize>,
    pub(in crate::denoise) down: Vec<BlockPlan>,
    pub(in crate::denoise) mid_type: MidBlockType,
    pub(in crate::denoise) mid: BlockPlan,
    pub(in crate::denoise) up: Vec<BlockPlan>,
    pub(in crate::denoise) groups: usize,
    pub(in crate::denoise) epsilon: f64,
    pub(in crate::denoise) time_embed_dim: usize,
    pub(in crate::denoise) use_linear_projection: bool,
    pub(in crate::denoise) downsample_padding: usize,
    /// `addition_time_embed_dim` and `projection_class_embeddings_input_dim`.
    pub(in crate::denoise) text_time: Option<(usize, usize)>,
}

impl Config {
    /// Checks everything that does not need the weights.
    pub(in crate::denoise) fn check(&self) -> Result<Plan> {
        self.refuse_unsupported()?;
        let channels = &self.block_out_channels;
        let count = channels.len();
        within("block_out_channels.len", count, 1, 8)?;
        for (field, types) in [
            ("down_block_types", &self.down_block_types),
            ("up_block_types", &self.up_block_types),
        ] {
            if types.len() != count {
                return Err(Error::model(format!(
                    "unet config: `{field}` has {} entries, `block_out_channels` has {count}",
                    types.len()
                )));
            }
        }
        within("in_channels", self.in_channels, 1, MAX_CHANNELS)?;
        within("out_channels", self.out_channels, 1, MAX_CHANNELS)?;
        within("norm_num_groups", self.norm_num_groups, 1, MAX_CHANNELS)?;
        within("downsample_padding", self.downsample_padding, 0, 1)?;
        for size in channels {
            within("block_out_channels", *size, 1, MAX_CHANNELS)?;
        }
        let time_embed_dim = self
            .time_embedding_dim
            .filter(|d| *d != 0)
            .unwrap_or(channels[0] * 4);
        within("time_embedding_dim", time_embed_dim, 1, 4 * MAX_CHANNELS)?;
        if self.freq_shift == f64::from(u32::try_from(channels[0] / 2).unwrap_or(0))
            || !self.freq_shift.is_finite()
        {
            return Err(refused("freq_shift", &json!(self.freq_shift)));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(refused("norm_eps", &json!(self.norm_eps)));
        }

        let layers = self.layers_per_block.expand("layers_per_block", count)?;
        let heads = self
            .attention_head_dim
            .expand("attention_head_dim", count)?;
        let cross_dims = self
            .cross_attention_dim
            .expand("cross_attention_dim", count)?;
        let depths = self
            .transformer_layers_per_block
            .expand("transformer_layers_per_block", count)?;
        let up_depths = match &self.reverse_transformer_layers_per_block {
            Some(depths) => OneOrMany::Many(depths.clone())
                .expand("reverse_transformer_layers_per_block", count)?,
            None => depths.iter().rev().cloned().collect(),
        };
        let block = |i: usize, layers: usize, attends: bool, depth: &OneOrMany<usize>| {
            within("layers_per_block", layers, 1, 16)?;
            if attends {
                within("attention_head_dim", heads[i], 1, channels[i])?;
                within("cross_attention_dim", cross_dims[i], 1, MAX_CHANNELS)?;
                if !channels[i].is_multiple_of(heads[i]) {
                    return Err(Error::model(format!(
                        "unet config: `attention_head_dim` gives {} heads to {} channels, which they do not divide",
                        heads[i], channels[i]
                    )));
                }
            }
            let transformer_layers = if attends {
                depth.expand("transformer_layers_per_block", layers)?
            } else {
                Vec::new()
            };
            for depth in &transformer_layers {
                within("transformer_layers_per_block", *depth, 0, 64)?;
            }
            Ok(BlockPlan {
                layers,
                transformer_layers,
                heads: heads[i],
                cross_attention_dim: cross_dims[i],
            })
        };
        let attends = |field, name: &str, plain, attending| match name {
            name if name == plain => Ok(false),
            name if name == attending => Ok(true),
            other => Err(refused(field, &json!(other))),
        };
        let mid_type = match self.mid_block_type.as_deref() {
            None => MidBlockType::None,
            Some("UNetMidBlock2D") => MidBlockType::Resnet,
            Some("UNetMidBlock2DCrossAttn") => MidBlockType::CrossAttention,
            Some(other) => return Err(refused("mid_block_type", &json!(other))),
        };
        let mut down = Vec::with_capacity(count);
        let mut up = Vec::with_capacity(count);
        for i in 0..count {
            let attends_down = attends(
                "down_block_types",
                &self.down_block_types[i],
                "DownBlock2D",
                "CrossAttnDownBlock2D",
            )?;
            down.push(block(i, layers[i], attends_down, &depths[i])?);
            let attends_up = attends(
                "up_block_types",
                &self.up_block_types[i],
                "UpBlock2D",
                "CrossAttnUpBlock2D",
            )?;
            let mirrored = count - 1 - i;
            up.push(block(
                mirrored,
                layers[mirrored].saturating_add(1),
                attends_up,
                &up_depths[i],
            )?);
        }
        let mid = block(
            count - 1,
            1,
            mid_type == MidBlockType::CrossAttention,
            &depths[count - 1],
        )?;
        Ok(Plan {
            block_out_channels: channels.clone(),
            down,
            mid_type,
            mid,
            up,
            groups: self.norm_num_groups,
            epsilon: self.norm_eps,
            time_embed_dim,
            use_linear_projection: self.use_linear_projection,
            downsample_padding: self.downsample_padding,
            text_time: self.text_time()?,
        })
    }

    fn text_time(&self) -> Result<Option<(usize, usize)>> {
        match self.addition_embed_type.as_deref() {
            None => Ok(None),
            Some("text_time") => {
                let needed = |field, value: Option<usize>| {
                    let missing = || {
                        Error::model(format!(
                            "unet config: `{field}` is missing (`addition_embed_type` needs it)"
                        ))
                    };
                    let value = value.ok_or_else(missing)?;
                    within(field, value, 1, 4 * MAX_CHANNELS)?;
                    Ok::<_, Error>(value)
                };
                let size_dim = needed("addition_time_embed_dim", self.addition_time_embed_dim)?;
                let in_dim = needed(
                    "projection_class_embeddings_input_dim",
                    self.projection_class_embeddings_input_dim,
                )?;
                Ok(Some((size_dim, in_dim)))
            }
            Some(other) => Err(refused("addition_embed_type", &json!(other))),
        }
    }
}

fn within(field: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::model(format!(
        "unet config: `{field}` is {value}, outside {least} to {most}"
    )))
}
