//! Text encoders as llama.cpp calls their layers in GGUF files: T5's encoder, Qwen3 and Qwen2.5-VL's language model.
//!
//! Source: `gguf-py`'s `tensor_mapping.py`.

use crate::checkpoint::{Renaming, Weights};

/// The table of embeddings, by which such files are known.
const TOKENS: &str = "token_embd.weight";

/// Of a block of T5's encoder.
const T5_BLOCK: &[(&str, &str)] = &[
    ("attn_norm", "layer.0.layer_norm"),
    ("attn_q", "layer.0.SelfAttention.q"),
    ("attn_k", "layer.0.SelfAttention.k"),
    ("attn_v", "layer.0.SelfAttention.v"),
    ("attn_o", "layer.0.SelfAttention.o"),
    (
        "attn_rel_b",
        "layer.0.SelfAttention.relative_attention_bias",
    ),
    ("ffn_norm", "layer.1.layer_norm"),
    ("ffn_gate", "layer.1.DenseReluDense.wi_0"),
    ("ffn_up", "layer.1.DenseReluDense.wi_1"),
    ("ffn_down", "layer.1.DenseReluDense.wo"),
];
/// Of a layer of Qwen3, or of Qwen2.5, which has biases in place of the norms of heads.
const QWEN_LAYER: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The encoder under transformers' names; `None` where the names are not llama.cpp's.
pub(crate) fn rename(weights: &Weights) -> Option<Weights> {
    if !weights.has(TOKENS) {
        return None;
    }
    let mut to = Renaming::new(weights);
    if weights.has("enc.blk.0.attn_q.weight") {
        to.take(TOKENS, "shared.weight");
        to.layer("enc.output_norm", "encoder.final_layer_norm");
        blocks(&mut to, weights, "enc.blk", "encoder.block", T5_BLOCK);
    } else {
        to.take(TOKENS, "embed_tokens.weight");
        to.layer("output_norm", "norm");
        blocks(&mut to, weights, "blk", "layers", QWEN_LAYER);
    }
    Some(to.finish())
}

fn blocks(to: &mut Renaming<'_>, weights: &Weights, old: &str, new: &str, table: &[(&str, &str)]) {
    for block in 0..weights.count(old, "attn_q.weight") {
        to.layers(&format!("{old}.{block}"), &format!("{new}.{block}"), table);
    }
}
