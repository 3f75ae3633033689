//! Single files of Stable Diffusion 3 and 3.5.

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
const VAE: &str = "first_stage_model.";
const CLIP: &str = "text_encoders.clip_l.transformer.";
const CLIP_2: &str = "text_encoders.clip_g.transformer.";
const T5: &str = "text_encoders.t5xxl.transformer.";

/// What stands once in the network.
const SINGLE: &[(&str, &str)] = &[
    ("x_embedder.proj", "pos_embed.proj"),
    (
        "t_embedder.mlp.0",
        "time_text_embed.timestep_embedder.linear_1",
    ),
    (
        "t_embedder.mlp.2",
        "time_text_embed.timestep_embedder.linear_2",
    ),
    ("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"),
    ("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"),
    ("context_embedder", "context_embedder"),
    ("final_layer.linear", "proj_out"),
];
/// Of the picture's side of a block.
const PICTURE: &[(&str, &str)] = &[
    ("x_block.adaLN_modulation.1", "norm1.linear"),
    ("x_block.attn.proj", "attn.to_out.0"),
    ("x_block.attn.ln_q", "attn.norm_q"),
    ("x_block.attn.ln_k", "attn.norm_k"),
    ("x_block.attn2.proj", "attn2.to_out.0"),
    ("x_block.attn2.ln_q", "attn2.norm_q"),
    ("x_block.attn2.ln_k", "attn2.norm_k"),
    ("x_block.mlp.fc1", "ff.net.0.proj"),
    ("x_block.mlp.fc2", "ff.net.2"),
];
/// Of the text's side.
const TEXT: &[(&str, &str)] = &[
    ("context_block.attn.proj", "attn.to_add_out"),
    ("context_block.attn.ln_q", "attn.norm_added_q"),
    ("context_block.attn.ln_k", "attn.norm_added_k"),
    ("context_block.mlp.fc1", "ff_context.net.0.proj"),
    ("context_block.mlp.fc2", "ff_context.net.2"),
];
/// Three layers that are stored as one.
const FUSED: &[(&str, [&str; 3])] = &[
    ("x_block.attn.qkv", ["attn.to_q", "attn.to_k", "attn.to_v"]),
    (
        "x_block.attn2.qkv",
        ["attn2.to_q", "attn2.to_k", "attn2.to_v"],
    ),
    (
        "context_block.attn.qkv",
        ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    ),
];

/// What the authors call the layers `names` of the transformer.
pub(super) fn originals(names: &[&str]) -> Vec<Original> {
    let table = keys::table(&[PICTURE, TEXT], FUSED);
    let mut all = keys::of_single(names, SINGLE);
    all.extend(keys::of_blocks(
        names,
        "joint_blocks",
        "transformer_blocks",
        &table,
    ));
    all
}

fn prefix(file: &Weights) -> Option<&'static str> {
    TRANSFORMER
        .into_iter()
        .find(|prefix| file.has(&format!("{prefix}joint_blocks.0.x_block.attn.qkv.weight")))
}

fn recognises(file: &Weights) -> bool {
    prefix(file).is_some()
}

fn blocks(file: &Weights, prefix: &str) -> usize {
    file.count(&format!("{prefix}joint_blocks"), "x_block.attn.qkv.weight")
}

fn parts(file: &Weights) -> Result<Parts> {
    Ok(vec![
        ("text_encoder", clip::rename(file, CLIP)),
        ("text_encoder_2", clip::rename(file, CLIP_2)),
        ("text_encoder_3", clip::rename(file, T5)),
        ("transformer", transformer(file)?),
        ("vae", vae::rename(file, VAE)),
    ])
}

fn transformer(file: &Weights) -> Result<Weights> {
    let prefix = prefix(file).unwrap_or_default();
    let mut to = Renaming::new(file);
    for (old, new) in SINGLE {
        to.layer(&format!("{prefix}{old}"), new);
    }
    to.take(&format!("{prefix}pos_embed"), "pos_embed.pos_embed");
    // The authors name shift before scale, diffusers the other way round.
    to.swapped_halves(
        &format!("{prefix}final_layer.adaLN_modulation.1"),
        "norm_out.linear",
    );
    let count = blocks(file, prefix);
    for block in 0..count {
        let old = format!("{prefix}joint_blocks.{block}");
        let new = format!("transformer_blocks.{block}");
        to.layers(&old, &new, PICTURE);
        to.layers(&old, &new, TEXT);
        let text = format!("{old}.context_block.adaLN_modulation.1");
        let new_text = format!("{new}.norm1_context.linear");
        if block + 1 == count {
            to.swapped_halves(&text, &new_text);
        } else {
            to.layer(&text, &new_text);
        }
        to.fused(&old, &new, FUSED)?;
    }
    Ok(to.finish())
}

fn convention(file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    let mut configs = BTreeMap::new();
    if let Some(transformer) = parts.get("transformer") {
        configs.insert("transformer", transformer_config(file, transformer));
    }
    for (part, constants) in [
        ("text_encoder", clip::OPENAI),
        ("text_encoder_2", clip::OPEN_CLIP),
    ] {
        if let Some(text) = parts.get(part) {
            configs.insert(part, clip::config(text, &constants));
        }
    }
    if let Some(autoencoder) = parts.get("vae") {
        configs.insert("vae", vae::config(autoencoder, 1.5305, Some(0.0609)));
    }
    Convention {
        pipeline_class: "StableDiffusion3Pipeline",
        index: json!({}),
        configs,
        scheduler: json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
        }),
        padding: BTreeMap::from([("tokenizer_2", "!")]),
    }
}

/// The configuration that follows from the weights, with heads of 64 numbers.
fn transformer_config(file: &Weights, transformer: &Weights) -> Value {
    let size = |name: &str, dimension| transformer.size(name, dimension);
    let count = blocks(file, prefix(file).unwrap_or_default());
    let dim = size("context_embedder.weight", 0);
    let positions = size("pos_embed.pos_embed", 1);
    let dual: Vec<usize> = (0..count)
        .filter(|block| transformer.has(&format!("transformer_blocks.{block}.attn2.to_q.weight")))
        .collect();
    let has_norms = transformer.has("transformer_blocks.0.attn.norm_q.weight");
    let patch = size("pos_embed.proj.weight", 2).max(1);
    json!({
        "_class_name": "SD3Transformer2DModel",
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": size("pos_embed.proj.weight", 1),
        "out_channels": size("proj_out.weight", 0) / patch.saturating_mul(patch),
        "num_layers": count,
        "attention_head_dim": 64,
        "num_attention_heads": dim / 64,
        "joint_attention_dim": size("context_embedder.weight", 1),
        "caption_projection_dim": dim,
        "pooled_projection_dim": size("time_text_embed.text_embedder.linear_1.weight", 1),
        "pos_embed_max_size": positions.isqrt(),
        "dual_attention_layers": dual,
        "qk_norm": has_norms.then_some("rms_norm"),
    })
}
