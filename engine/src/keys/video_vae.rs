//! Autoencoders of videos, as Wan's authors called their layers; Qwen-Image's file for ComfyUI has the same names.
//!
//! Source: diffusers `convert_wan_vae_to_diffusers`.

use crate::checkpoint::{Renaming, Weights};

/// By which such files are known, below a prefix.
const KNOWN: &str = "decoder.middle.0.residual.0.gamma";

/// What stands once in the network.
const SINGLE: &[(&str, &str)] = &[
    ("conv1.", "quant_conv."),
    ("conv2.", "post_quant_conv."),
    ("encoder.conv1.", "encoder.conv_in."),
    ("decoder.conv1.", "decoder.conv_in."),
    ("encoder.head.0.", "encoder.norm_out."),
    ("decoder.head.0.", "decoder.norm_out."),
    ("encoder.head.2.", "encoder.conv_out."),
    ("decoder.head.2.", "decoder.conv_out."),
    ("encoder.middle.1.", "encoder.mid_block.attentions.0."),
    ("decoder.middle.1.", "decoder.mid_block.attentions.0."),
];
/// Of a residual block.
const RESNET: &[(&str, &str)] = &[
    ("residual.0.", "norm1."),
    ("residual.2.", "conv1."),
    ("residual.3.", "norm2."),
    ("residual.6.", "conv2."),
    ("shortcut.", "conv_shortcut."),
];
/// What every residual block has.
const IN_RESNET: &str = "residual.0.gamma";
/// What every layer that halves or doubles the sides has.
const IN_RESAMPLE: &str = "resample.1.weight";

/// Whether the autoencoder stands below `prefix`.
pub(crate) fn is_below(weights: &Weights, prefix: &str) -> bool {
    weights.has(&format!("{prefix}{KNOWN}"))
}

/// The autoencoder below `prefix` under diffusers' names.
pub(crate) fn rename(weights: &Weights, prefix: &str) -> Weights {
    let mut to = Renaming::new(weights);
    for (old, new) in SINGLE {
        to.prefix(&format!("{prefix}{old}"), new);
    }
    for half in ["encoder", "decoder"] {
        for (old, new) in [(0, 0), (2, 1)] {
            let old = format!("{prefix}{half}.middle.{old}");
            resnet(&mut to, &old, &format!("{half}.mid_block.resnets.{new}"));
        }
    }
    for index in 0.. {
        let old = format!("{prefix}encoder.downsamples.{index}");
        let new = format!("encoder.down_blocks.{index}");
        if weights.has(&format!("{old}.{IN_RESNET}")) {
            resnet(&mut to, &old, &new);
        } else if weights.has(&format!("{old}.{IN_RESAMPLE}")) {
            to.prefix(&format!("{old}."), &format!("{new}."));
        } else {
            break;
        }
    }
    let (mut level, mut block) = (0, 0);
    for index in 0.. {
        let old = format!("{prefix}decoder.upsamples.{index}");
        let new = format!("decoder.up_blocks.{level}");
        if weights.has(&format!("{old}.{IN_RESNET}")) {
            resnet(&mut to, &old, &format!("{new}.resnets.{block}"));
            block += 1;
        } else if weights.has(&format!("{old}.{IN_RESAMPLE}")) {
            to.prefix(&format!("{old}."), &format!("{new}.upsamplers.0."));
            (level, block) = (level + 1, 0);
        } else {
            break;
        }
    }
    to.finish()
}

fn resnet(to: &mut Renaming<'_>, old: &str, new: &str) {
    for (theirs, ours) in RESNET {
        to.prefix(&format!("{old}.{theirs}"), &format!("{new}.{ours}"));
    }
}
