//! What a request gets that names nothing.
//!
//! Three sources, the first that speaks wins: `imgd.json` in the model's directory (settings that diffusers'
//! files have no place for), the rule for distilled Turbo models, the family's numbers.

use serde::Deserialize;
use serde_json::Value;

use super::{ModelFiles, preview::PreviewMap};
use crate::{Error, Result, checkpoint::Source};

/// Defaults of a model.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub(crate) num_inference_steps: u32,
    pub(crate) guidance_scale: f64,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) clip_skip: u32,
}

/// Most denoising steps: tables are as long, and no request may name more.
const MOST_STEPS: u32 = 1000;

/// `imgd.json`: what imgd knows of a model beyond diffusers' files. Every key is optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelNotes {
    /// Denoising steps.
    pub(crate) num_inference_steps: Option<u32>,
    /// Classifier-free guidance.
    pub(crate) guidance_scale: Option<f64>,
    /// Map from latents to colours.
    pub(crate) preview: Option<PreviewMap>,
}

impl ModelNotes {
    /// Reads `imgd.json`; without one, nothing is noted. Fails where it asks for steps that no sampler takes.
    pub(crate) fn read(source: &Source) -> Result<Self> {
        if source.read("imgd.json")?.is_none() {
            return Ok(Self::default());
        }
        let notes: Self = source.read_json("imgd.json")?;
        match notes.num_inference_steps {
            Some(steps) if !(1..=MOST_STEPS).contains(&steps) => Err(Error::model(format!(
                "imgd.json: `num_inference_steps` is {steps}, outside 1 to {MOST_STEPS}"
            ))),
            _ => Ok(notes),
        }
    }
}

/// Steps and guidance of a family's models.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// Denoising steps.
    pub(crate) steps: u32,
    /// Guidance scale.
    pub(crate) guidance: f64,
}

/// Of Stable Diffusion.
const DIFFUSION: Course = Course {
    steps: 20,
    guidance: 7.0,
};
/// Of what was distilled to one step.
const ONE_STEP: Course = Course {
    steps: 1,
    guidance: 0.0,
};

/// Fills in what a family of Stable Diffusion does not decide.
pub(crate) fn defaults(
    files: &ModelFiles,
    width_px: u32,
    height_px: u32,
    clip_skip: u32,
) -> Result<Defaults> {
    with_course(
        files,
        [DIFFUSION, ONE_STEP],
        [width_px, height_px],
        clip_skip,
    )
}

/// Fills in what the family does not decide. `full`, `turbo`: for the family's models and for those that are distilled.
pub(crate) fn with_course(
    files: &ModelFiles,
    [full, turbo]: [Course; 2],
    [width_px, height_px]: [u32; 2],
    clip_skip: u32,
) -> Result<Defaults> {
    let notes = ModelNotes::read(files.source())?;
    let Course { steps, guidance } = if is_turbo(files) { turbo } else { full };
    Ok(Defaults {
        num_inference_steps: notes.num_inference_steps.unwrap_or(steps),
        guidance_scale: notes.guidance_scale.unwrap_or(guidance),
        width_px,
        height_px,
        clip_skip,
    })
}

/// Whether the model is distilled to few steps without guidance: its name or its configuration says Turbo.
fn is_turbo(files: &ModelFiles) -> bool {
    let says_turbo = |text: &str| text.to_ascii_lowercase().contains("turbo");
    let last_part = |path: &str| {
        path.trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let noted = |config: &Value| {
        config
            .get("_name_or_path")
            .and_then(Value::as_str)
            .is_some_and(|path| says_turbo(&last_part(path)))
    };
    says_turbo(&last_part(files.name()))
        || directory_name(files.source()).is_some_and(says_turbo)
        || files
            .index_value("_name_or_path")
            .and_then(Value::as_str)
            .is_some_and(|path| says_turbo(&last_part(path)))
        || ["unet", "transformer"].iter().any(|network| {
            files
                .config::<Value>(network)
                .is_ok_and(|config| noted(&config))
        })
}

/// The last part of the model's own path.
fn directory_name(source: &Source) -> Option<&str> {
    match source {
        Source::Directory(path) => path.file_name()?.to_str(),
        Source::SingleFile { file, .. } => file.file_stem()?.to_str(),
        Source::WithParts { base, .. } => directory_name(base),
        Source::Embedded(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_no_request_may_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(folder.path().join("imgd.json"), text).unwrap();
            ModelNotes::read(&Source::Directory(folder.path().to_owned()))
        };
        let notes = read(r#"{"num_inference_steps": 4}"#).unwrap();
        assert_eq!(notes.num_inference_steps, Some(4));
        for steps in ["0", "1001", "4294967295"] {
            let error = read(&format!(r#"{{"num_inference_steps": {steps}}}"#)).unwrap_err();
            assert!(error.to_string().contains("num_inference_steps"), "{error}");
        }
    }
}
