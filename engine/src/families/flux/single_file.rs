//! Single files of FLUX.1: most hold the transformer alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Convention, Parts, SingleFile};
use crate::{
    Result,
    adapters::Original,
    checkpoint::{Renaming, Weights},
    keys::{self, clip, vae},
};

pub(super) const SINGLE_FILE: SingleFile = SingleFile {
    recognises,
    parts,
    convention,
};

/// The transformer stands below the first in checkpoints, and by itself in others.
const TRANSFORMER: [&str; 2] = ["model.diffusion_model.", ""];
const VAE: [&str; 2] = ["vae.", "first_stage_model."];
const CLIP: &str = "text_encoders.clip_l.transformer.";
const T5: &str = "text_encoders.t5xxl.transformer.";

/// What stands once in the network.
const SINGLE: &[(&str, &str)] = &[
    ("img_in", "x_embedder"),
    ("txt_in", "context_embedder"),
    (
        "time_in.in_layer",
        "time_text_embed.timestep_embedder.linear_1",
    ),
    (
        "time_in.out_layer",
        "time_text_embed.timestep_embedder.linear_2",
    ),
    (
        "vector_in.in_layer",
        "time_text_embed.text_embedder.linear_1",
    ),
    (
        "vector_in.out_layer",
        "time_text_embed.text_embedder.linear_2",
    ),
    (
        "guidance_in.in_layer",
        "time_text_embed.guidance_embedder.linear_1",
    ),
    (
        "guidance_in.out_layer",
        "time_text_embed.guidance_embedder.linear_2",
    ),
    ("final_layer.linear", "proj_out"),
];
/// Of a block of two streams.
const DOUBLE: &[(&str, &str)] = &[
    ("img_mod.lin", "norm1.linear"),
    ("txt_mod.lin", "norm1_context.linear"),
    ("img_attn.proj", "attn.to_out.0"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("img_mlp.0", "ff.net.0.proj"),
    ("img_mlp.2", "ff.net.2"),
    ("txt_mlp.0", "ff_context.net.0.proj"),
    ("txt_mlp.2", "ff_context.net.2"),
];
/// Norms of heads, whose weight is called a scale.
const DOUBLE_NORMS: &[(&str, &str)] = &[
    ("img_attn.norm.query_norm.scale", "attn.norm_q.weight"),
    ("img_attn.norm.key_norm.scale", "attn.norm_k.weight"),
    ("txt_attn.norm.query_norm.scale", "attn.norm_added_q.weight"),
    ("txt_attn.norm.key_norm.scale", "attn.norm_added_k.weight"),
];
const DOUBLE_FUSED: &[(&str, [&str; 3])] = &[
    ("img_attn.qkv", ["attn.to_q", "attn.to_k", "attn.to_v"]),
    (
        "txt_attn.qkv",
        ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    ),
];
/// Of a block of one stream.
const ONE_STREAM: &[(&str, &str)] = &[("modulation.lin", "norm.linear"), ("linear2", "proj_out")];
const ONE_STREAM_NORMS: &[(&str, &str)] = &[
    ("norm.query_norm.scale", "attn.norm_q.weight"),
    ("norm.key_norm.scale", "attn.norm_k.weight"),
];

/// Query, key, value, and four times as much for the network beside them.
const ONE_STREAM_FUSED: &[(&str, [&str; 4])] = &[(
    "linear1",
    ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
)];

/// What the authors call the layers `names` of the transformer.
pub(super) fn originals(names: &[&str]) -> Vec<Original> {
    let double = keys::table(&[DOUBLE], DOUBLE_FUSED);
    let single = keys::table(&[ONE_STREAM], ONE_STREAM_FUSED);
    let mut all = keys::of_single(names, SINGLE);
    all.extend(keys::of_blocks(
        names,
        "double_blocks",
        "transformer_blocks",
        &double,
    ));
    all.extend(keys::of_blocks(
        names,
        "single_blocks",
        "single_transformer_blocks",
        &single,
    ));
    all
}

fn prefix(file: &Weights) -> Option<&'static str> {
    TRANSFORMER
        .into_iter()
        .find(|prefix| file.has(&format!("{prefix}double_blocks.0.img_attn.qkv.weight")))
}

fn recognises(file: &Weights) -> bool {
    // FLUX.2's blocks share their modulation, so that theirs is not here.
    prefix(file)
        .is_some_and(|prefix| file.has(&format!("{prefix}double_blocks.0.img_mod.lin.weight")))
}

fn count(file: &Weights, prefix: &str, blocks: &str, layer: &str) -> usize {
    file.count(&format!("{prefix}{blocks}"), &format!("{layer}.weight"))
}

fn parts(file: &Weights) -> Result<Parts> {
    let vae_prefix = VAE
        .into_iter()
        .find(|prefix| file.has(&format!("{prefix}decoder.conv_in.weight")));
    let mut parts = vec![
        ("text_encoder", clip::rename(file, CLIP)),
        ("text_encoder_2", clip::rename(file, T5)),
        ("transformer", transformer(file)?),
    ];
    if let Some(prefix) = vae_prefix {
        parts.push(("vae", vae::rename(file, prefix)));
    }
    Ok(parts)
}

fn transformer(file: &Weights) -> Result<Weights> {
    let prefix = prefix(file).unwrap_or_default();
    let mut to = Renaming::new(file);
    for (old, new) in SINGLE {
        to.layer(&format!("{prefix}{old}"), new);
    }
    // The authors name shift before scale, diffusers the other way round.
    to.swapped_halves(
        &format!("{prefix}final_layer.adaLN_modulation.1"),
        "norm_out.linear",
    );
    for block in 0..count(file, prefix, "double_blocks", "img_attn.qkv") {
        let old = format!("{prefix}double_blocks.{block}");
        let new = format!("transformer_blocks.{block}");
        to.layers(&old, &new, DOUBLE);
        to.tensors(&old, &new, DOUBLE_NORMS);
        to.fused(&old, &new, DOUBLE_FUSED)?;
    }
    for block in 0..count(file, prefix, "single_blocks", "linear1") {
        let old = format!("{prefix}single_blocks.{block}");
        let new = format!("single_transformer_blocks.{block}");
        to.layers(&old, &new, ONE_STREAM);
        to.tensors(&old, &new, ONE_STREAM_NORMS);
        // Query, key, value, and four times as much for the network beside them.
        let fused = format!("{old}.linear1");
        let dim = file.size(&format!("{fused}.weight"), 0) / 7;
        for (index, name) in ["attn.to_q", "attn.to_k", "attn.to_v"].iter().enumerate() {
            to.rows(
                &fused,
                &format!("{new}.{name}"),
                index * dim..(index + 1) * dim,
            )?;
        }
        to.rows(&fused, &format!("{new}.proj_mlp"), 3 * dim..7 * dim)?;
    }
    Ok(to.finish())
}

fn convention(file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    let mut configs = BTreeMap::new();
    let mut is_dev = false;
    if let Some(transformer) = parts.get("transformer") {
        is_dev = transformer.has("time_text_embed.guidance_embedder.linear_1.weight");
        configs.insert("transformer", transformer_config(file, transformer, is_dev));
    }
    if let Some(text) = parts.get("text_encoder") {
        configs.insert("text_encoder", clip::config(text, &clip::OPENAI));
    }
    if let Some(autoencoder) = parts.get("vae") {
        configs.insert("vae", vae::config(autoencoder, 0.3611, Some(0.1159)));
    }
    Convention {
        pipeline_class: "FluxPipeline",
        index: json!({}),
        configs,
        scheduler: json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": if is_dev { 3.0 } else { 1.0 },
            "use_dynamic_shifting": is_dev,
        }),
        padding: BTreeMap::new(),
    }
}

/// The configuration that follows from the weights; heads and positions are the same in all of them.
fn transformer_config(file: &Weights, transformer: &Weights, is_dev: bool) -> Value {
    let prefix = prefix(file).unwrap_or_default();
    let size = |name: &str, dimension| transformer.size(name, dimension);
    json!({
        "_class_name": "FluxTransformer2DModel",
        "patch_size": 1,
        "in_channels": size("x_embedder.weight", 1),
        "num_layers": count(file, prefix, "double_blocks", "img_attn.qkv"),
        "num_single_layers": count(file, prefix, "single_blocks", "linear1"),
        "attention_head_dim": 128,
        "num_attention_heads": size("x_embedder.weight", 0) / 128,
        "joint_attention_dim": size("context_embedder.weight", 1),
        "pooled_projection_dim": size("time_text_embed.text_embedder.linear_1.weight", 1),
        "guidance_embeds": is_dev,
        "axes_dims_rope": [16, 56, 56],
    })
}
