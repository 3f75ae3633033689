//! Single files of Qwen-Image: the transformer alone, whose authors call its layers as diffusers does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Convention, Parts, SingleFile};
use crate::{
    Result,
    checkpoint::{Renaming, Weights},
};

pub(super) const SINGLE_FILE: SingleFile = SingleFile {
    recognises,
    parts,
    convention,
};

/// The transformer stands below the first in checkpoints, and by itself in others.
const TRANSFORMER: [&str; 2] = ["model.diffusion_model.", ""];

fn prefix(file: &Weights) -> Option<&'static str> {
    TRANSFORMER.into_iter().find(|prefix| {
        file.has(&format!("{prefix}transformer_blocks.0.img_mod.1.weight"))
            && file.has(&format!("{prefix}txt_norm.weight"))
    })
}

fn recognises(file: &Weights) -> bool {
    prefix(file).is_some()
}

fn parts(file: &Weights) -> Result<Parts> {
    let mut to = Renaming::new(file);
    to.prefix(prefix(file).unwrap_or_default(), "");
    Ok(vec![("transformer", to.finish())])
}

fn convention(_file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    Convention {
        pipeline_class: "QwenImagePipeline",
        index: json!({}),
        configs: parts
            .get("transformer")
            .map(|transformer| ("transformer", transformer_config(transformer)))
            .into_iter()
            .collect(),
        scheduler: json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 1.0,
            "use_dynamic_shifting": true,
            "time_shift_type": "exponential",
            "base_shift": 0.5,
            "max_shift": 0.9,
            "base_image_seq_len": 256,
            "max_image_seq_len": 8192,
            "shift_terminal": 0.02,
        }),
        padding: BTreeMap::new(),
    }
}

/// The configuration that follows from the weights; heads and positions are the same in all of them.
fn transformer_config(transformer: &Weights) -> Value {
    let size = |name: &str, dimension| transformer.size(name, dimension);
    json!({
        "_class_name": "QwenImageTransformer2DModel",
        "patch_size": 2,
        "in_channels": size("img_in.weight", 1),
        "out_channels": size("proj_out.weight", 0) / 4,
        "num_layers": transformer.count("transformer_blocks", "img_mod.1.weight"),
        "attention_head_dim": 128,
        "num_attention_heads": size("img_in.weight", 0) / 128,
        "joint_attention_dim": size("txt_in.weight", 1),
        "axes_dims_rope": [16, 56, 56],
    })
}
