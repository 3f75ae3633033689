//! Single files of Stable Diffusion 1 and 2.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::{Convention, Parts, SingleFile};
use crate::{
    Result,
    checkpoint::Weights,
    keys::{clip, unet, vae},
};

pub(super) const SINGLE_FILE: SingleFile = SingleFile {
    recognises,
    parts,
    convention,
};

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
/// The text encoder of version 1, and of version 2.
const CLIP: &str = "cond_stage_model.transformer.";
const OPEN_CLIP: &str = "cond_stage_model.model.";

fn recognises(file: &Weights) -> bool {
    file.has(&format!("{UNET}input_blocks.0.0.weight"))
        && !file.has(&format!("{UNET}label_emb.0.0.weight"))
}

fn parts(file: &Weights) -> Result<Parts> {
    // Version 2 reads the last layer but one, so its last layer is not loaded.
    let layers = clip::open_clip_layers(file, OPEN_CLIP);
    let text = if layers > 0 {
        clip::rename_open_clip(file, OPEN_CLIP, layers - 1)?
    } else {
        clip::rename(file, CLIP)
    };
    Ok(vec![
        ("text_encoder", text),
        ("unet", unet::rename(file, UNET)),
        ("vae", vae::rename(file, VAE)),
    ])
}

fn convention(file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    let is_second = clip::open_clip_layers(file, OPEN_CLIP) > 0;
    let (heads, sample_size, constants, prediction) = if is_second {
        (unet::Heads::Dim(64), 96, clip::OPEN_CLIP, "v_prediction")
    } else {
        (unet::Heads::Count(8), 64, clip::OPENAI, "epsilon")
    };
    let mut configs = BTreeMap::from([("unet", unet::config(file, UNET, &heads, sample_size))]);
    if let Some(text) = parts.get("text_encoder") {
        configs.insert("text_encoder", clip::config(text, &constants));
    }
    if let Some(autoencoder) = parts.get("vae") {
        configs.insert("vae", vae::config(autoencoder, 0.18215, None));
    }
    Convention {
        pipeline_class: "StableDiffusionPipeline",
        index: json!({}),
        configs,
        scheduler: json!({
            "_class_name": "PNDMScheduler",
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": prediction,
            "skip_prk_steps": true,
            "set_alpha_to_one": false,
            "steps_offset": 1,
        }),
        padding: if is_second {
            BTreeMap::from([("tokenizer", "!")])
        } else {
            BTreeMap::new()
        },
    }
}
