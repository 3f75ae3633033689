//! Upscalers and enlargements in the contract's words.

use imgd_engine::{UpscaleRequest, UpscaleSettings, UpscalerInfo};
use imgd_proto::v1;

use super::{
    backend::used_precision,
    wire::{ModelKey, Start},
};

/// Side of a picture whose memory is told where no picture is known.
const TYPICAL_SIDE_PX: u32 = 1024;

/// What the upscaler is to enlarge.
pub(super) fn request(start: Start) -> UpscaleRequest {
    UpscaleRequest {
        image: start
            .input
            .map(|input| input.init_image)
            .unwrap_or_default(),
        scale: start.upscale.and_then(|upscale| upscale.upscale_scale),
    }
}

/// The settings of an enlargement. What it has not stays 0 or empty.
pub(super) fn settings(settings: &UpscaleSettings) -> v1::Settings {
    v1::Settings {
        model: settings.upscaler.clone(),
        width_px: settings.width_px,
        height_px: settings.height_px,
        precision: used_precision(settings.precision).into(),
        prompt_syntax: v1::PromptSyntax::Plain.into(),
        upscale: Some(v1::UsedUpscale {
            upscaler: settings.upscaler.clone(),
            sha256: settings.sha256.clone(),
            scale: settings.scale,
            network_scale: settings.network_scale,
            image_sha256: settings.image_sha256.clone(),
            tile_width_px: settings.tile_width_px,
            tile_height_px: settings.tile_height_px,
        }),
        ..v1::Settings::default()
    }
}

/// An upscaler as a model is described.
pub(super) fn described(key: &ModelKey, info: UpscalerInfo) -> v1::Model {
    let pixels = u64::from(TYPICAL_SIDE_PX).pow(2);
    v1::Model {
        name: key.name.clone(),
        path: key.shown_path(),
        family: "upscaler".to_owned(),
        pipeline_class: info.network.to_owned(),
        parameter_count: info.parameter_count,
        weights_bytes: info.weights_bytes,
        memory_bytes: info.loaded_bytes + info.working_bytes_per_pixel * pixels,
        working_bytes_per_pixel: info.working_bytes_per_pixel,
        size_multiple_px: 1,
        prompt_positions: 0,
        defaults: Some(v1::Settings {
            model: key.name.clone(),
            width_px: TYPICAL_SIDE_PX,
            height_px: TYPICAL_SIDE_PX,
            precision: used_precision(info.precision).into(),
            ..v1::Settings::default()
        }),
        components: vec![v1::ModelComponent {
            name: "upscaler".to_owned(),
            class: info.network.to_owned(),
            parameter_count: info.parameter_count,
            dtype: info.dtype,
        }],
        // What its name says is not the engine's.
        ..v1::Model::default()
    }
}
