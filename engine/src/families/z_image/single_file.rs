//! Single files of Z-Image: the transformer alone.

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
/// Patches of two latents, which all models have.
const FIRST: &str = "all_x_embedder.2-1";
const LAST: &str = "all_final_layer.2-1";

/// What stands once in the network and has another name there.
const SINGLE: &[(&str, &str)] = &[
    ("x_embedder", FIRST),
    ("final_layer.linear", "all_final_layer.2-1.linear"),
    (
        "final_layer.adaLN_modulation.1",
        "all_final_layer.2-1.adaLN_modulation.1",
    ),
];
/// The same in both.
const KEPT: [&str; 4] = [
    "cap_embedder.0",
    "cap_embedder.1",
    "t_embedder.mlp.0",
    "t_embedder.mlp.2",
];
const PADDING: [&str; 2] = ["x_pad_token", "cap_pad_token"];
/// Rows of blocks.
const BLOCKS: [&str; 3] = ["noise_refiner", "context_refiner", "layers"];
/// Of a block.
const BLOCK: &[(&str, &str)] = &[
    ("attention.out", "attention.to_out.0"),
    ("attention.q_norm", "attention.norm_q"),
    ("attention.k_norm", "attention.norm_k"),
];
const BLOCK_KEPT: [&str; 8] = [
    "attention_norm1",
    "attention_norm2",
    "ffn_norm1",
    "ffn_norm2",
    "feed_forward.w1",
    "feed_forward.w2",
    "feed_forward.w3",
    "adaLN_modulation.0",
];
const FUSED: &[(&str, [&str; 3])] = &[(
    "attention.qkv",
    ["attention.to_q", "attention.to_k", "attention.to_v"],
)];

/// What the authors call the layers `names` of the transformer.
pub(super) fn originals(names: &[&str]) -> Vec<Original> {
    let kept = |names: &[&'static str]| -> Vec<(&'static str, &'static str)> {
        names.iter().map(|name| (*name, *name)).collect()
    };
    let block_kept = kept(&BLOCK_KEPT);
    let table = keys::table(&[BLOCK, &block_kept], FUSED);
    let mut all = keys::of_single(names, SINGLE);
    all.extend(keys::of_single(names, &kept(&KEPT)));
    for blocks in BLOCKS {
        all.extend(keys::of_blocks(names, blocks, blocks, &table));
    }
    all
}

fn prefix(file: &Weights) -> Option<&'static str> {
    TRANSFORMER.into_iter().find(|prefix| {
        file.has(&format!("{prefix}context_refiner.0.attention.qkv.weight"))
            && file.has(&format!("{prefix}cap_pad_token"))
    })
}

fn recognises(file: &Weights) -> bool {
    prefix(file).is_some()
}

fn count(file: &Weights, prefix: &str, blocks: &str) -> usize {
    file.count(&format!("{prefix}{blocks}"), "attention.qkv.weight")
}

fn parts(file: &Weights) -> Result<Parts> {
    let prefix = prefix(file).unwrap_or_default();
    let mut to = Renaming::new(file);
    for (old, new) in SINGLE {
        to.layer(&format!("{prefix}{old}"), new);
    }
    for name in KEPT {
        to.layer(&format!("{prefix}{name}"), name);
    }
    for name in PADDING {
        to.take(&format!("{prefix}{name}"), name);
    }
    for blocks in BLOCKS {
        for block in 0..count(file, prefix, blocks) {
            let old = format!("{prefix}{blocks}.{block}");
            let new = format!("{blocks}.{block}");
            to.layers(&old, &new, BLOCK);
            for name in BLOCK_KEPT {
                to.layer(&format!("{old}.{name}"), &format!("{new}.{name}"));
            }
            to.fused(&old, &new, FUSED)?;
        }
    }
    Ok(vec![("transformer", to.finish())])
}

fn convention(file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    let transformer = parts.get("transformer");
    let config = transformer.map(|transformer| transformer_config(file, transformer));
    Convention {
        pipeline_class: "ZImagePipeline",
        index: json!({}),
        configs: config
            .map(|config| ("transformer", config))
            .into_iter()
            .collect(),
        scheduler: json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": false,
        }),
        padding: BTreeMap::new(),
    }
}

/// The configuration that follows from the weights; the size of heads is the same in all of them.
fn transformer_config(file: &Weights, transformer: &Weights) -> Value {
    let prefix = prefix(file).unwrap_or_default();
    let size = |name: &str, dimension| transformer.size(name, dimension);
    let dim = size(&format!("{FIRST}.weight"), 0);
    json!({
        "_class_name": "ZImageTransformer2DModel",
        "all_patch_size": [2],
        "all_f_patch_size": [1],
        "in_channels": size(&format!("{LAST}.linear.weight"), 0) / 4,
        "dim": dim,
        "n_layers": count(file, prefix, "layers"),
        "n_refiner_layers": count(file, prefix, "noise_refiner"),
        "n_heads": dim / 128,
        "cap_feat_dim": size("cap_embedder.1.weight", 1),
        "axes_dims": [32, 48, 48],
        "axes_lens": [1536, 512, 512],
    })
}
