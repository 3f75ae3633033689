//! `unet/config.json`: what is read, what is refused, and what follows for each block.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Error, Result};

/// One value for all blocks, or one for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// For all.
    One(T),
    /// For each in turn.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    fn expand(&self, field: &str, count: usize) -> Result<Vec<T>> {
        match self {
            Self::One(value) => Ok(vec![value.clone(); count]),
            Self::Many(values) if values.len() == count => Ok(values.clone()),
            Self::Many(values) => Err(Error::model(format!(
                "unet config: `{field}` has {} entries where {count} are needed",
                values.len()
            ))),
        }
    }
}

/// Layers of the transformers: the same everywhere, or for each block one number or one for each of its transformers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum TransformerLayers {
    /// Everywhere.
    Same(usize),
    /// For each block.
    PerBlock(Vec<OneOrMany<usize>>),
}

impl TransformerLayers {
    fn expand(&self, field: &str, count: usize) -> Result<Vec<OneOrMany<usize>>> {
        match self {
            Self::Same(layers) => Ok(vec![OneOrMany::One(*layers); count]),
            Self::PerBlock(blocks) => OneOrMany::Many(blocks.clone()).expand(field, count),
        }
    }
}

/// The fields of `unet/config.json`, with diffusers' names and defaults.
///
/// Fields that only training uses are ignored. All other fields of diffusers' `UNet2DConditionModel` that are not here
/// must have the value that turns them off, or loading refuses the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    pub sample_size: Option<OneOrMany<usize>>,
    pub in_channels: usize,
    pub out_channels: usize,
    pub center_input_sample: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub down_block_types: Vec<String>,
    pub mid_block_type: Option<String>,
    pub up_block_types: Vec<String>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: OneOrMany<usize>,
    pub downsample_padding: usize,
    pub act_fn: String,
    pub norm_num_groups: usize,
    pub norm_eps: f64,
    pub cross_attention_dim: OneOrMany<usize>,
    pub transformer_layers_per_block: TransformerLayers,
    pub reverse_transformer_layers_per_block: Option<Vec<OneOrMany<usize>>>,
    /// Really the number of heads of each block; the field's name is an old mistake of the format.
    pub attention_head_dim: OneOrMany<usize>,
    pub use_linear_projection: bool,
    pub addition_embed_type: Option<String>,
    pub addition_time_embed_dim: Option<usize>,
    pub projection_class_embeddings_input_dim: Option<usize>,
    pub time_embedding_dim: Option<usize>,
    pub conv_in_kernel: usize,
    pub conv_out_kernel: usize,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

impl Default for Config {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (down, up) = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D");
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: names(&[down, down, down, "DownBlock2D"]),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            up_block_types: names(&["UpBlock2D", up, up, up]),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: OneOrMany::One(2),
            downsample_padding: 1,
            act_fn: "silu".to_owned(),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: OneOrMany::One(1280),
            transformer_layers_per_block: TransformerLayers::Same(1),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: OneOrMany::One(8),
            use_linear_projection: false,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_embedding_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            other: BTreeMap::new(),
        }
    }
}

/// Largest number of channels of anything; real models stay below 4096.
const MAX_CHANNELS: usize = 1 << 15;

/// What the middle block consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MidBlockType {
    None,
    Resnet,
    CrossAttention,
}

/// One block, spelled out.
#[derive(Debug, Clone)]
pub(super) struct BlockPlan {
    /// Residual blocks.
    pub(super) layers: usize,
    /// Layers of the transformer after each residual block; empty without attention.
    pub(super) transformer_layers: Vec<usize>,
    pub(super) heads: usize,
    pub(super) cross_attention_dim: usize,
}

/// A checked config, spelled out for each block.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) block_out_channels: Vec<usize>,
    pub(super) down: Vec<BlockPlan>,
    pub(super) mid_type: MidBlockType,
    pub(super) mid: BlockPlan,
    pub(super) up: Vec<BlockPlan>,
    pub(super) groups: usize,
    pub(super) epsilon: f64,
    pub(super) time_embed_dim: usize,
    pub(super) use_linear_projection: bool,
    pub(super) downsample_padding: usize,
    /// `addition_time_embed_dim` and `projection_class_embeddings_input_dim`.
    pub(super) text_time: Option<(usize, usize)>,
}

impl Config {
    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<Plan> {
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

    /// Fields of the format that this network does not have must say so.
    fn refuse_unsupported(&self) -> Result<()> {
        for (field, accepted) in MUST_BE_OFF {
            let Some(value) = self.other.get(*field) else {
                continue;
            };
            let off = match accepted {
                Off::Null => value.is_null(),
                Off::False => *value == Value::Bool(false),
                Off::NullOrFalse => value.is_null() || *value == Value::Bool(false),
                Off::One => value.as_f64() == Some(1.0),
                Off::Named(name) => value == name,
            };
            if !off {
                return Err(refused(field, value));
            }
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return Err(refused("act_fn", &json!(self.act_fn)));
        }
        for (field, kernel) in [
            ("conv_in_kernel", self.conv_in_kernel),
            ("conv_out_kernel", self.conv_out_kernel),
        ] {
            if kernel % 2 == 0 || kernel > 7 {
                return Err(refused(field, &json!(kernel)));
            }
        }
        Ok(())
    }
}

/// How a field says that it is off.
enum Off {
    Null,
    False,
    NullOrFalse,
    One,
    Named(&'static str),
}

/// Fields of the format that stand for something this network does not have.
const MUST_BE_OFF: &[(&str, Off)] = &[
    ("only_cross_attention", Off::False),
    ("mid_block_only_cross_attention", Off::NullOrFalse),
    ("mid_block_scale_factor", Off::One),
    ("dual_cross_attention", Off::False),
    ("encoder_hid_dim", Off::Null),
    ("encoder_hid_dim_type", Off::Null),
    ("num_attention_heads", Off::Null),
    ("class_embed_type", Off::Null),
    ("num_class_embeds", Off::Null),
    ("class_embeddings_concat", Off::False),
    ("resnet_time_scale_shift", Off::Named("default")),
    ("resnet_skip_time_act", Off::False),
    ("resnet_out_scale_factor", Off::One),
    ("time_embedding_type", Off::Named("positional")),
    ("time_embedding_act_fn", Off::Null),
    ("timestep_post_act", Off::Null),
    ("time_cond_proj_dim", Off::Null),
    ("attention_type", Off::Named("default")),
    ("cross_attention_norm", Off::Null),
];

fn within(field: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::model(format!(
        "unet config: `{field}` is {value}, outside {least} to {most}"
    )))
}

fn refused(field: &str, value: &Value) -> Error {
    Error::model(format!("unet config: `{field}` = {value} is not supported"))
}
