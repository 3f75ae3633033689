//! What an enlarged picture's file says of how it was made: what the picture before it said, and what was done to it.

use serde::Serialize;
use serde_json::Value;

use super::request::UpscaleSettings;
use crate::NUMERICS;
use crate::image::{Found, METADATA_VERSION, Texts, quoted};

/// The record of an enlarged picture. Nothing in it varies between runs.
#[derive(Serialize)]
struct Record<'a> {
    version: u32,
    imgd: &'static str,
    numerics: &'static str,
    upscaler: &'a str,
    upscaler_sha256: &'a str,
    upscale_scale: f64,
    image_sha256: &'a str,
    width_px: u32,
    height_px: u32,
    precision: &'static str,
    /// The record of the picture before it, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_of: Option<Value>,
}

/// Both texts of the new picture's file. `before`: those of the old one.
pub(super) fn texts(settings: &UpscaleSettings, before: &Found) -> Texts {
    let record = Record {
        version: METADATA_VERSION,
        imgd: env!("CARGO_PKG_VERSION"),
        numerics: NUMERICS,
        upscaler: &settings.upscaler,
        upscaler_sha256: &settings.sha256,
        upscale_scale: settings.scale,
        image_sha256: &settings.image_sha256,
        width_px: settings.width_px,
        height_px: settings.height_px,
        precision: settings.precision.name(),
        made_of: before
            .record
            .as_ref()
            .and_then(|record| serde_json::from_str(&record.to_json()).ok()),
    };
    Texts::new(&parameters(settings, before.parameters.as_deref()), &record)
}

/// The settings text: the old picture's, with A1111's names for what was done to it behind.
fn parameters(settings: &UpscaleSettings, before: Option<&str>) -> String {
    let own = format!(
        "Upscale by: {}, Upscaler: {}",
        settings.scale,
        quoted(settings.upscaler.clone())
    );
    match before
        .map(str::trim_end)
        .filter(|before| !before.is_empty())
    {
        Some(before) => format!("{before}, {own}"),
        None => format!(
            "{own}, Size: {}x{}, Version: imgd {}",
            settings.width_px,
            settings.height_px,
            env!("CARGO_PKG_VERSION")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;

    #[test]
    fn what_the_old_picture_said_is_kept() {
        let settings = UpscaleSettings {
            upscaler: "4x-UltraSharp".to_owned(),
            sha256: "ab".to_owned(),
            scale: 2.5,
            network_scale: 4,
            image_sha256: "cd".to_owned(),
            width_px: 40,
            height_px: 30,
            tile_width_px: 16,
            tile_height_px: 12,
            precision: Precision::F32,
        };
        let texts_of = |parameters: Option<&str>| {
            let found = Found {
                parameters: parameters.map(str::to_owned),
                record: None,
            };
            texts(&settings, &found)
        };
        let theirs = texts_of(Some("an apple\nSteps: 4, Sampler: Euler, Seed: 1\n"));
        assert_eq!(
            theirs.parameters,
            "an apple\nSteps: 4, Sampler: Euler, Seed: 1, Upscale by: 2.5, Upscaler: 4x-UltraSharp"
        );
        let none = texts_of(None);
        assert!(
            none.parameters
                .starts_with("Upscale by: 2.5, Upscaler: 4x-UltraSharp, Size: 40x30, ")
        );
        let record: Value = serde_json::from_str(&none.record).unwrap();
        assert_eq!(record["upscaler"], "4x-UltraSharp");
        assert_eq!(record["upscale_scale"], 2.5);
        assert!(record.get("made_of").is_none());
    }
}
