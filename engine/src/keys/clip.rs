//! CLIP's text encoders: as transformers calls them below a prefix, and as OpenCLIP does.

use serde_json::{Value, json};

use crate::Result;
use crate::checkpoint::{Renaming, Weights};

/// An encoder that has transformers' names below `prefix`.
pub(crate) fn rename(weights: &Weights, prefix: &str) -> Weights {
    let mut to = Renaming::new(weights);
    to.prefix(prefix, "");
    to.finish()
}

/// Of a layer of OpenCLIP.
const LAYER: &[(&str, &str)] = &[
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn.out_proj", "self_attn.out_proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];

/// Layers of OpenCLIP's encoder below `prefix`.
pub(crate) fn open_clip_layers(weights: &Weights, prefix: &str) -> usize {
    (0..)
        .take_while(|layer| {
            weights.has(&format!(
                "{prefix}transformer.resblocks.{layer}.ln_1.weight"
            ))
        })
        .count()
}

/// The first `layers` layers of OpenCLIP's encoder below `prefix`.
pub(crate) fn rename_open_clip(weights: &Weights, prefix: &str, layers: usize) -> Result<Weights> {
    let mut to = Renaming::new(weights);
    let embeddings = "text_model.embeddings";
    to.take(
        &format!("{prefix}positional_embedding"),
        &format!("{embeddings}.position_embedding.weight"),
    );
    to.layer(
        &format!("{prefix}token_embedding"),
        &format!("{embeddings}.token_embedding"),
    );
    to.layer(&format!("{prefix}ln_final"), "text_model.final_layer_norm");
    to.transposed(
        &format!("{prefix}text_projection"),
        "text_projection.weight",
    );
    for layer in 0..layers {
        let old = format!("{prefix}transformer.resblocks.{layer}");
        let new = format!("text_model.encoder.layers.{layer}");
        for (a, b) in LAYER {
            to.layer(&format!("{old}.{a}"), &format!("{new}.{b}"));
        }
        let fused = format!("{old}.attn.in_proj_weight");
        let dim = weights.shape(&fused).and_then(|shape| shape.first());
        let dim = dim.copied().unwrap_or(0) / 3;
        for (index, name) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
            let rows = index * dim..(index + 1) * dim;
            let new = format!("{new}.self_attn.{name}");
            to.tensor_rows(&fused, &format!("{new}.weight"), rows.clone())?;
            to.tensor_rows(
                &format!("{old}.attn.in_proj_bias"),
                &format!("{new}.bias"),
                rows,
            )?;
        }
    }
    Ok(to.finish())
}

/// What a configuration says beyond what the weights do.
pub(crate) struct Constants {
    /// Numbers of a head.
    pub(crate) head_dim: usize,
    pub(crate) hidden_act: &'static str,
    /// The token that ends a prompt, as the configuration has it.
    pub(crate) eos_token_id: u32,
}

/// Of OpenAI's encoder of 768 channels.
pub(crate) const OPENAI: Constants = Constants {
    head_dim: 64,
    hidden_act: "quick_gelu",
    eos_token_id: 49_407,
};
/// Of OpenCLIP's encoders.
pub(crate) const OPEN_CLIP: Constants = Constants {
    head_dim: 64,
    hidden_act: "gelu",
    eos_token_id: 49_407,
};

/// The configuration that follows from renamed weights.
pub(crate) fn config(encoder: &Weights, constants: &Constants) -> Value {
    let size = |name: &str, dimension: usize| {
        ["text_model.", ""]
            .iter()
            .find_map(|prefix| encoder.shape(&format!("{prefix}{name}")))
            .and_then(|shape| shape.get(dimension))
            .copied()
            .unwrap_or(0)
    };
    let token = "embeddings.token_embedding.weight";
    let layers = (0..)
        .take_while(|layer| size(&format!("encoder.layers.{layer}.layer_norm1.weight"), 0) > 0)
        .count();
    let hidden = size(token, 1);
    let projection = encoder
        .shape("text_projection.weight")
        .and_then(|shape| shape.first())
        .copied()
        .unwrap_or(hidden);
    json!({
        "vocab_size": size(token, 0),
        "hidden_size": hidden,
        "intermediate_size": size("encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": layers,
        "num_attention_heads": hidden / constants.head_dim,
        "max_position_embeddings": size("embeddings.position_embedding.weight", 0),
        "projection_dim": projection,
        "hidden_act": constants.hidden_act,
        "layer_norm_eps": 1e-5,
        "eos_token_id": constants.eos_token_id,
    })
}
