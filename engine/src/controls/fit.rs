//! Whether a ControlNet is one of the model's kind, and what its configuration is where it comes without one.
//!
//! A ControlNet is a copy of half of its model's network, which says everything that the weights do not.

use crate::checkpoint::Weights;
use crate::denoise::controlnet::Config;
use crate::denoise::unet_2d_condition::{self, OneOrMany, TransformerLayers};
use crate::{Error, Result};

/// The configuration of a network whose weights came alone: the model's own, with what the weights say.
pub(super) fn config(weights: &Weights, unet: &unet_2d_condition::Config) -> Config {
    let size = |name: &str, dimension: usize| {
        let shape = weights.shape(name)?;
        shape.get(dimension).copied()
    };
    let depth = |place: &str| {
        (0..)
            .take_while(|layer| {
                weights.has(&format!("{place}.transformer_blocks.{layer}.norm1.weight"))
            })
            .count()
    };
    let levels = unet.block_out_channels.len();
    let mut depths: Vec<usize> = (0..levels)
        .map(|level| depth(&format!("down_blocks.{level}.attentions.0")))
        .collect();
    let types = depths.iter().map(|depth| match depth {
        0 => "DownBlock2D".to_owned(),
        _ => "CrossAttnDownBlock2D".to_owned(),
    });
    let mut copy = unet.clone();
    copy.down_block_types = types.collect();
    // The last level's is the middle's too.
    let middle = depth("mid_block.attentions.0");
    if let Some(last) = depths.last_mut().filter(|last| **last == 0) {
        *last = middle;
    }
    if middle == 0 {
        copy.mid_block_type = Some("UNetMidBlock2D".to_owned());
    }
    copy.transformer_layers_per_block =
        TransformerLayers::PerBlock(depths.into_iter().map(OneOrMany::One).collect());
    if let Some(channels) = size("conv_in.weight", 1) {
        copy.in_channels = channels;
    }
    let projection = weights
        .names()
        .find(|name| name.ends_with(".proj_in.weight"))
        .and_then(|name| weights.shape(name));
    if let Some(shape) = projection {
        copy.use_linear_projection = shape.len() == 2;
    }
    let mut config = Config::of(copy);
    let embedding = |name: &str| size(&format!("controlnet_cond_embedding.{name}.weight"), 0);
    let halving = (0..8).map_while(|pair| embedding(&format!("blocks.{}", 2 * pair + 1)));
    config.conditioning_embedding_out_channels =
        embedding("conv_in").into_iter().chain(halving).collect();
    config
}

/// Fails when the network is of another kind than the model's, naming what differs.
pub(super) fn check(
    name: &str,
    weights: &Weights,
    config: &Config,
    unet: &unet_2d_condition::Config,
) -> Result<()> {
    let last_of = |name: Option<&str>, dimension: usize| {
        let shape = name.and_then(|name| weights.shape(name))?;
        shape.get(dimension).copied()
    };
    let text = weights
        .names()
        .find(|name| name.ends_with(".attn2.to_k.weight"));
    let widths = match &unet.cross_attention_dim {
        OneOrMany::One(width) => vec![*width],
        OneOrMany::Many(widths) => widths.clone(),
    };
    let levels = |channels: &[usize]| {
        let list: Vec<String> = channels.iter().map(ToString::to_string).collect();
        list.join(", ")
    };
    let theirs = &config.unet;
    let sizes = [
        (
            "channels of latents",
            last_of(Some("conv_in.weight"), 1),
            vec![unet.out_channels],
        ),
        ("numbers of a token of text", last_of(text, 1), widths),
        (
            "channels of its first layer",
            last_of(Some("conv_in.weight"), 0),
            unet.block_out_channels
                .first()
                .copied()
                .into_iter()
                .collect(),
        ),
        (
            "numbers of the pooled text and sizes",
            last_of(Some("add_embedding.linear_1.weight"), 1),
            unet.projection_class_embeddings_input_dim
                .into_iter()
                .collect(),
        ),
    ];
    let differs = sizes.into_iter().find_map(|(what, found, known)| {
        let found = found.unwrap_or(0);
        let is_same = match known.as_slice() {
            [] => found == 0,
            _ => known.contains(&found) || (found == 0 && what.contains("token")),
        };
        (!is_same).then(|| {
            (
                what,
                found.to_string(),
                known.first().unwrap_or(&0).to_string(),
            )
        })
    });
    let differs = differs.or_else(|| {
        let is_same = theirs.block_out_channels == unet.block_out_channels;
        let of = |channels: &[usize]| levels(channels);
        (!is_same).then(|| {
            let (found, known) = (of(&theirs.block_out_channels), of(&unet.block_out_channels));
            ("channels of its levels", found, known)
        })
    });
    let Some((what, found, known)) = differs else {
        return Ok(());
    };
    let message = format!(
        "ControlNet `{name}` does not fit the model: {what}: {found}, and the model's {known}"
    );
    Err(Error::invalid("controls", message).with_hint(
        "a ControlNet works with the kind of model that it was trained for, and with no other",
    ))
}
