//! Single files of Stable Diffusion XL.

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
const CLIP: &str = "conditioner.embedders.0.transformer.";
const OPEN_CLIP: &str = "conditioner.embedders.1.model.";

fn recognises(file: &Weights) -> bool {
    file.has(&format!("{UNET}label_emb.0.0.weight"))
}

fn parts(file: &Weights) -> Result<Parts> {
    let layers = clip::open_clip_layers(file, OPEN_CLIP);
    Ok(vec![
        ("text_encoder", clip::rename(file, CLIP)),
        (
            "text_encoder_2",
            clip::rename_open_clip(file, OPEN_CLIP, layers)?,
        ),
        ("unet", unet::rename(file, UNET)),
        ("vae", vae::rename(file, VAE)),
    ])
}

fn convention(file: &Weights, parts: &BTreeMap<&'static str, Weights>) -> Convention {
    let heads = unet::Heads::Dim(64);
    let mut configs = BTreeMap::from([("unet", unet::config(file, UNET, &heads, 128))]);
    for (part, constants) in [
        ("text_encoder", clip::OPENAI),
        ("text_encoder_2", clip::OPEN_CLIP),
    ] {
        if let Some(text) = parts.get(part) {
            configs.insert(part, clip::config(text, &constants));
        }
    }
    if let Some(autoencoder) = parts.get("vae") {
        configs.insert("vae", vae::config(autoencoder, 0.13025, None));
    }
    // Trainers mark a file whose network predicts velocity with an empty tensor.
    let is_velocity = file.has("v_pred");
    Convention {
        pipeline_class: "StableDiffusionXLPipeline",
        index: json!({"force_zeros_for_empty_prompt": true}),
        configs,
        scheduler: json!({
            "_class_name": "EulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": if is_velocity { "v_prediction" } else { "epsilon" },
            "rescale_betas_zero_snr": file.has("ztsnr"),
            "timestep_spacing": "leading",
            "steps_offset": 1,
        }),
        padding: BTreeMap::from([("tokenizer_2", "!")]),
    }
}
