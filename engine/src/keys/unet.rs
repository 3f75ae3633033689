//! UNets: `model.diffusion_model`, whose blocks are counted one after the other, whatever they are.

use serde_json::{Value, json};

use crate::adapters::Original;
use crate::checkpoint::{Renaming, Weights};

/// Of a residual block.
const RESNET: &[(&str, &str)] = &[
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];
/// What stands once in the network.
const SINGLE: &[(&str, &str)] = &[
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("input_blocks.0.0", "conv_in"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
];

/// A level of the way down.
struct Level {
    channels: usize,
    resnets: usize,
    /// Transformer layers of each attention; 0 without.
    depth: usize,
}

/// Whether the block `place` begins with a residual block.
fn is_resnet(weights: &Weights, place: &str) -> bool {
    weights.has(&format!("{place}.0.in_layers.0.weight"))
}

/// Transformer layers of the attention `place`.
fn depth(weights: &Weights, place: &str) -> usize {
    (0..)
        .take_while(|layer| {
            weights.has(&format!("{place}.transformer_blocks.{layer}.norm1.weight"))
        })
        .count()
}

/// The levels of the way down, read off the blocks.
fn levels(weights: &Weights, prefix: &str) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut level: Option<Level> = None;
    for index in 1.. {
        let place = format!("{prefix}input_blocks.{index}");
        if is_resnet(weights, &place) {
            let shape = weights.shape(&format!("{place}.0.out_layers.3.weight"));
            let channels = shape.and_then(|shape| shape.first()).copied().unwrap_or(0);
            let depth = depth(weights, &format!("{place}.1"));
            let level = level.get_or_insert(Level {
                channels,
                resnets: 0,
                depth,
            });
            level.resnets += 1;
        } else if weights.has(&format!("{place}.0.op.weight")) {
            levels.extend(level.take());
        } else {
            break;
        }
    }
    levels.extend(level);
    levels
}

/// The UNet below `prefix`; no tensors when there is none.
pub(crate) fn rename(weights: &Weights, prefix: &str) -> Weights {
    let mut to = Renaming::new(weights);
    rename_into(&mut to, weights, prefix);
    to.finish()
}

/// Takes the UNet below `prefix`, or what there is of it.
pub(crate) fn rename_into(to: &mut Renaming<'_>, weights: &Weights, prefix: &str) {
    for (old, new) in SINGLE {
        to.layer(&format!("{prefix}{old}"), new);
    }
    let resnet = |to: &mut Renaming<'_>, old: &str, new: &str| {
        for (a, b) in RESNET {
            to.layer(&format!("{old}.{a}"), &format!("{new}.{b}"));
        }
    };
    let levels = levels(weights, prefix);
    let mut index = 1;
    for (number, level) in levels.iter().enumerate() {
        let new = format!("down_blocks.{number}");
        for block in 0..level.resnets {
            let old = format!("{prefix}input_blocks.{index}");
            resnet(to, &format!("{old}.0"), &format!("{new}.resnets.{block}"));
            if level.depth > 0 {
                to.prefix(&format!("{old}.1."), &format!("{new}.attentions.{block}."));
            }
            index += 1;
        }
        if number + 1 < levels.len() {
            to.layer(
                &format!("{prefix}input_blocks.{index}.0.op"),
                &format!("{new}.downsamplers.0.conv"),
            );
            index += 1;
        }
    }
    let middle = format!("{prefix}middle_block");
    resnet(to, &format!("{middle}.0"), "mid_block.resnets.0");
    to.prefix(&format!("{middle}.1."), "mid_block.attentions.0.");
    resnet(to, &format!("{middle}.2"), "mid_block.resnets.1");
    let mut index = 0;
    for (number, level) in levels.iter().rev().enumerate() {
        let new = format!("up_blocks.{number}");
        for block in 0..=level.resnets {
            let old = format!("{prefix}output_blocks.{index}");
            resnet(to, &format!("{old}.0"), &format!("{new}.resnets.{block}"));
            let attention = format!("{old}.1.");
            if depth(weights, attention.trim_end_matches('.')) > 0 {
                to.prefix(&attention, &format!("{new}.attentions.{block}."));
            }
            for place in [1, 2] {
                to.layer(
                    &format!("{old}.{place}.conv"),
                    &format!("{new}.upsamplers.0.conv"),
                );
            }
            index += 1;
        }
    }
}

/// What single files call the layers `names` of a UNet.
pub(crate) fn originals(names: &[&str]) -> Vec<Original> {
    /// One more than the number that follows `prefix` in any of the names.
    fn count(names: &[&str], prefix: &str) -> usize {
        let numbers = names.iter().filter_map(|name| {
            let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
            number.parse::<usize>().ok()
        });
        numbers.max().map_or(0, |last| last + 1)
    }
    /// The first block of each level, on one side.
    fn firsts(names: &[&str], side: &str, begin: usize, between: usize) -> Vec<usize> {
        let mut at = begin;
        (0..count(names, side))
            .map(|level| {
                let first = at;
                at += count(names, &format!("{side}{level}.resnets.")) + between;
                first
            })
            .collect()
    }
    let down = firsts(names, "down_blocks.", 1, 1);
    let up = firsts(names, "up_blocks.", 0, 0);
    let place = |name: &str| -> Option<String> {
        if let Some((old, _)) = SINGLE.iter().find(|(_, new)| *new == name) {
            return Some((*old).to_owned());
        }
        let (side, rest) = name.split_once('.')?;
        let (level, rest) = match side {
            "mid_block" => (0, rest),
            _ => {
                let (level, rest) = rest.split_once('.')?;
                (level.parse::<usize>().ok()?, rest)
            }
        };
        let (kind, rest) = rest.split_once('.')?;
        let (number, rest) = rest.split_once('.')?;
        let number = number.parse::<usize>().ok()?;
        let within = match kind {
            "resnets" => {
                let (old, _) = RESNET.iter().find(|(_, new)| *new == rest)?;
                (*old).to_owned()
            }
            _ => rest.to_owned(),
        };
        let attends = |level: usize| {
            let prefix = format!("{side}.{level}.attentions.");
            names.iter().any(|name| name.starts_with(&prefix))
        };
        Some(match (side, kind) {
            ("mid_block", "resnets") => format!("middle_block.{}.{within}", 2 * number),
            ("mid_block", _) => format!("middle_block.1.{within}"),
            ("down_blocks", "resnets") => {
                format!("input_blocks.{}.0.{within}", down.get(level)? + number)
            }
            ("down_blocks", "attentions") => {
                format!("input_blocks.{}.1.{within}", down.get(level)? + number)
            }
            ("down_blocks", "downsamplers") => {
                format!("input_blocks.{}.0.op", down.get(level + 1)? - 1)
            }
            ("up_blocks", "resnets") => {
                format!("output_blocks.{}.0.{within}", up.get(level)? + number)
            }
            ("up_blocks", "attentions") => {
                format!("output_blocks.{}.1.{within}", up.get(level)? + number)
            }
            ("up_blocks", "upsamplers") => format!(
                "output_blocks.{}.{}.conv",
                up.get(level + 1)? - 1,
                if attends(level) { 2 } else { 1 }
            ),
            _ => return None,
        })
    };
    names
        .iter()
        .filter_map(|name| {
            Some(Original {
                name: place(name)?,
                layers: vec![(*name).to_owned()],
            })
        })
        .collect()
}

/// What a configuration says beyond what the weights do.
pub(crate) enum Heads {
    /// So many in every level.
    Count(usize),
    /// Of so many numbers in every level.
    Dim(usize),
}

/// The configuration that follows from the file, with the conventional constants.
pub(crate) fn config(weights: &Weights, prefix: &str, heads: &Heads, sample_size: u32) -> Value {
    let size = |name: &str, dimension| weights.size(&format!("{prefix}{name}"), dimension);
    let levels = levels(weights, prefix);
    let attends = |level: &Level| level.depth > 0;
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let heads: Vec<usize> = channels
        .iter()
        .map(|channels| match heads {
            Heads::Count(count) => *count,
            Heads::Dim(dim) => channels / dim,
        })
        .collect();
    let named = |with: &'static str, without: &'static str| {
        levels
            .iter()
            .map(|level| if attends(level) { with } else { without })
            .collect::<Vec<_>>()
    };
    let mut up = named("CrossAttnUpBlock2D", "UpBlock2D");
    up.reverse();
    let depths: Vec<usize> = levels.iter().map(|level| level.depth.max(1)).collect();
    let attention = weights
        .names()
        .find(|name| name.starts_with(prefix) && name.ends_with(".proj_in.weight"));
    let is_linear = attention
        .and_then(|name| weights.shape(name))
        .is_some_and(|shape| shape.len() == 2);
    let cross_attention_dim = weights
        .names()
        .find(|name| name.starts_with(prefix) && name.ends_with(".attn2.to_k.weight"))
        .and_then(|name| weights.shape(name))
        .and_then(|shape| shape.get(1))
        .copied();
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "sample_size": sample_size,
        "in_channels": size("input_blocks.0.0.weight", 1),
        "out_channels": size("out.2.weight", 0),
        "block_out_channels": channels,
        "layers_per_block": levels.first().map_or(0, |level| level.resnets),
        "down_block_types": named("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": up,
        "cross_attention_dim": cross_attention_dim,
        "attention_head_dim": heads,
        "transformer_layers_per_block": depths,
        "use_linear_projection": is_linear,
        "norm_num_groups": 32,
    });
    let added = size("label_emb.0.0.weight", 1);
    if added > 0 {
        config["addition_embed_type"] = json!("text_time");
        config["addition_time_embed_dim"] = json!(256);
        config["projection_class_embeddings_input_dim"] = json!(added);
    }
    config
}
