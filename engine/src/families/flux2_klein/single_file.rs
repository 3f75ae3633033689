//! Single files of FLUX.2 klein: the transformer alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Convention, Parts, SingleFile};
use crate::{
    Result,
    adapters::Original,
    checkpoint::{Renaming, Weights},
    keys,
};

pub(super) const SINGLE_FILE: SingleFile = SingleFile {
    recognises,
    parts,
    convention,
};

/// The transformer stands below the first in checkpoints, and by itself in others.
const TRANSFORMER: [&str; 2] = ["model.diffusion_model.", ""];

/// What stands once in the network.
const SINGLE: &[(&str, &str)] = &[
    ("img_in", "x_embedder"),
    ("txt_in", "context_embedder"),
    (
        "time_in.in_layer",
        "time_guidance_embed.timestep_embedder.linear_1",
    ),
    (
        "time_in.out_layer",
        "time_guidance_embed.timestep_embedder.linear_2",
    ),
    (
        "double_stream_modulation_img.lin",
        "double_stream_modulation_img.linear",
    ),
    (
        "double_stream_modulation_txt.lin",
        "double_stream_modulation_txt.linear",
    ),
    (
        "single_stream_modulation.lin",
        "single_stream_modulation.linear",
    ),
    ("final_layer.linear", "proj_out"),
];
/// Of a block of two streams.
const DOUBLE: &[(&str, &str)] = &[
    ("img_attn.proj", "attn.to_out.0"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("img_mlp.0", "ff.linear_in"),
    ("img_mlp.2", "ff.linear_out"),
    ("txt_mlp.0", "ff_context.linear_in"),
    ("txt_mlp.2", "ff_context.linear_out"),
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
const ONE_STREAM: &[(&str, &str)] = &[
    ("linear1", "attn.to_qkv_mlp_proj"),
    ("linear2", "attn.to_out"),
];
const ONE_STREAM_NORMS: &[(&str, &str)] = &[
    ("norm.query_norm.scale", "attn.norm_q.weight"),
    ("norm.key_norm.scale", "attn.norm_k.weight"),
];

/// What the authors call the layers `names` of the transformer.
pub(super) fn originals(names: &[&str]) -> Vec<Original> {
    let none: &[(&str, [&str; 3])] = &[];
    let double = keys::table(&[DOUBLE], DOUBLE_FUSED);
    let single = keys::table(&[ONE_STREAM], none);
    let mut all = keys::of_single(names, SINGLE);
    let blocks = [
        ("double_blocks", "transformer_blocks", double),
        ("single_blocks", "single_transformer_blocks", single),
    ];
    for (theirs, ours, table) in &blocks {
        all.extend(keys::of_blocks(names, theirs, ours, table));
    }
    all
}

fn prefix(file: &Weights) -> Option<&'static str> {
    // FLUX.1's blocks have modulations of their own.
    TRANSFORMER
        .into_iter()
        .find(|prefix| file.has(&format!("{prefix}double_stream_modulation_img.lin.weight")))
}

fn recognises(file: &Weights) -> bool {
    prefix(file).is_some()
}

fn count(file: &Weights, prefix: &str, blocks: &str, layer: &str) -> usize {
    file.count(&format!("{prefix}{blocks}"), &format!("{layer}.weight"))
}

fn parts(file: &Weights) -> Result<Parts> {
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
    }
    Ok(vec![("transformer", to.finish())])
}

fn convention(file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    let transformer = parts.get("transformer");
    let config = transformer.map(|transformer| transformer_config(file, transformer));
    Convention {
        pipeline_class: "Flux2KleinPipeline",
        // Those that most people have; the weights do not tell.
        index: json!({"is_distilled": true}),
        configs: config
            .map(|config| ("transformer", config))
            .into_iter()
            .collect(),
        scheduler: json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": true,
        }),
        padding: BTreeMap::new(),
    }
}

/// The configuration that follows from the weights; heads and positions are the same in all of them.
fn transformer_config(file: &Weights, transformer: &Weights) -> Value {
    let prefix = prefix(file).unwrap_or_default();
    let size = |name: &str, dimension| transformer.size(name, dimension);
    json!({
        "_class_name": "Flux2Transformer2DModel",
        "in_channels": size("x_embedder.weight", 1),
        "num_layers": count(file, prefix, "double_blocks", "img_attn.qkv"),
        "num_single_layers": count(file, prefix, "single_blocks", "linear1"),
        "attention_head_dim": 128,
        "num_attention_heads": size("x_embedder.weight", 0) / 128,
        "joint_attention_dim": size("context_embedder.weight", 1),
        "guidance_embeds": false,
        "axes_dims_rope": [32, 32, 32, 32],
    })
}
