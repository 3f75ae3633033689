//! `unet/config.json`: what is read, and what is refused.

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
    pub(super) fn expand(&self, field: &str, count: usize) -> Result<Vec<T>> {
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
    pub(super) fn expand(&self, field: &str, count: usize) -> Result<Vec<OneOrMany<usize>>> {
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

impl Config {
    /// Fields of the format that this network does not have must say so.
    pub(super) fn refuse_unsupported(&self) -> Result<()> {
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

/// `field` says something that this network cannot do.
pub(super) fn refused(field: &str, value: &Value) -> Error {
    Error::model(format!("unet config: `{field}` = {value} is not supported"))
}
