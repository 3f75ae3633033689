//! Autoencoders: `first_stage_model`.

use serde_json::{Value, json};

use crate::checkpoint::{Renaming, Weights};

/// Of a residual block.
const RESNET: &[(&str, &str)] = &[
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("nin_shortcut", "conv_shortcut"),
];
/// Of the attention in the middle; the last four are convolutions of one pixel.
const ATTENTION: &[(&str, &str)] = &[
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
];

/// Levels of the half `half` below `prefix`.
fn levels(weights: &Weights, prefix: &str, half: &str, level: &str) -> usize {
    (0..)
        .take_while(|index| {
            weights.has(&format!(
                "{prefix}{half}.{level}.{index}.block.0.norm1.weight"
            ))
        })
        .count()
}

/// Blocks of a level.
fn blocks(weights: &Weights, place: &str) -> usize {
    (0..)
        .take_while(|index| weights.has(&format!("{place}.block.{index}.norm1.weight")))
        .count()
}

/// The autoencoder below `prefix`, such as `first_stage_model.`; no tensors when there is none.
pub(crate) fn rename(weights: &Weights, prefix: &str) -> Weights {
    let mut to = Renaming::new(weights);
    for half in ["encoder", "decoder"] {
        let from = format!("{prefix}{half}");
        for (old, new) in [
            ("conv_in", "conv_in"),
            ("conv_out", "conv_out"),
            ("norm_out", "conv_norm_out"),
            ("mid.attn_1.norm", "mid_block.attentions.0.group_norm"),
        ] {
            to.layer(&format!("{from}.{old}"), &format!("{half}.{new}"));
        }
        for (old, new) in ATTENTION {
            to.pixel_layer(
                &format!("{from}.mid.attn_1.{old}"),
                &format!("{half}.mid_block.attentions.0.{new}"),
            );
        }
        for (old, new) in [("block_1", 0), ("block_2", 1)] {
            for (a, b) in RESNET {
                to.layer(
                    &format!("{from}.mid.{old}.{a}"),
                    &format!("{half}.mid_block.resnets.{new}.{b}"),
                );
            }
        }
    }
    for half in [Half::DOWN, Half::UP] {
        let count = levels(weights, prefix, half.name, half.level);
        for level in 0..count {
            let old = format!("{prefix}{}.{}.{level}", half.name, half.level);
            // The way up is counted from the picture there, from the latents here.
            let number = if half.is_up { count - 1 - level } else { level };
            let new = format!("{}.{}_blocks.{number}", half.name, half.level);
            for block in 0..blocks(weights, &old) {
                for (a, b) in RESNET {
                    to.layer(
                        &format!("{old}.block.{block}.{a}"),
                        &format!("{new}.resnets.{block}.{b}"),
                    );
                }
            }
            to.layer(
                &format!("{old}.{}sample.conv", half.level),
                &format!("{new}.{}samplers.0.conv", half.level),
            );
        }
    }
    for conv in ["quant_conv", "post_quant_conv"] {
        to.layer(&format!("{prefix}{conv}"), conv);
    }
    // Where patches of latents are normalised.
    for number in ["running_mean", "running_var"] {
        to.take(&format!("{prefix}bn.{number}"), &format!("bn.{number}"));
    }
    to.finish()
}

struct Half {
    name: &'static str,
    level: &'static str,
    is_up: bool,
}

impl Half {
    const DOWN: Self = Self {
        name: "encoder",
        level: "down",
        is_up: false,
    };
    const UP: Self = Self {
        name: "decoder",
        level: "up",
        is_up: true,
    };
}

/// The configuration that follows from renamed weights, with the conventional number of groups.
pub(crate) fn config(vae: &Weights, scaling_factor: f64, shift_factor: Option<f64>) -> Value {
    let size = |name: &str, dimension| vae.size(name, dimension);
    let channels: Vec<usize> = (0..)
        .map(|level| {
            size(
                &format!("encoder.down_blocks.{level}.resnets.0.conv1.weight"),
                0,
            )
        })
        .take_while(|channels| *channels > 0)
        .collect();
    let layers = (0..)
        .take_while(|block| {
            vae.has(&format!(
                "encoder.down_blocks.0.resnets.{block}.conv1.weight"
            ))
        })
        .count();
    json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; channels.len()],
        "up_block_types": vec!["UpDecoderBlock2D"; channels.len()],
        "in_channels": size("encoder.conv_in.weight", 1),
        "out_channels": size("decoder.conv_out.weight", 0),
        "latent_channels": size("decoder.conv_in.weight", 1),
        "layers_per_block": layers,
        "norm_num_groups": 32,
        "scaling_factor": scaling_factor,
        "shift_factor": shift_factor,
        "use_quant_conv": vae.has("quant_conv.weight"),
        "use_post_quant_conv": vae.has("post_quant_conv.weight"),
    })
}
