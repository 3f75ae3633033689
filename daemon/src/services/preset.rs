//! What a request gets that it does not say, before the model's own files are asked: settings of the config's `[models]`, then of the
//! catalogue.

use imgd_models::Defaults;
use imgd_proto::v1;

/// Settings of a request. What is silent is left to whoever is asked next.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preset {
    /// The sampler.
    pub sampler: Option<String>,
    /// The schedule; one with the sampler.
    pub schedule: Option<String>,
    /// Steps.
    pub num_inference_steps: Option<u32>,
    /// Guidance scale.
    pub guidance_scale: Option<f64>,
    /// Width in pixels.
    pub width_px: Option<u32>,
    /// Height in pixels.
    pub height_px: Option<u32>,
    /// What to avoid.
    pub negative_prompt: Option<String>,
}

impl From<&Defaults> for Preset {
    fn from(defaults: &Defaults) -> Self {
        Self {
            sampler: defaults.sampler.clone(),
            schedule: defaults.schedule.clone(),
            num_inference_steps: Some(defaults.num_inference_steps),
            guidance_scale: Some(defaults.guidance_scale),
            width_px: Some(defaults.width_px),
            height_px: Some(defaults.height_px),
            negative_prompt: None,
        }
    }
}

impl Preset {
    /// These settings, and those of `other` where they are silent. A sampler and its schedule are one; so are width and height.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        let has_sampler = self.sampler.is_some() || self.schedule.is_some();
        let (sampler, schedule) = if has_sampler {
            (self.sampler, self.schedule)
        } else {
            (other.sampler, other.schedule)
        };
        Self {
            sampler,
            schedule,
            num_inference_steps: self.num_inference_steps.or(other.num_inference_steps),
            guidance_scale: self.guidance_scale.or(other.guidance_scale),
            width_px: self.width_px.or(other.width_px),
            height_px: self.height_px.or(other.height_px),
            negative_prompt: self.negative_prompt.or(other.negative_prompt),
        }
    }

    /// Fills in what a request does not say. A size follows from a picture to begin from, to be steered by or to look at.
    pub(super) fn fill(&self, request: &mut v1::GenerateRequest) {
        let fill = |said: &mut Option<u32>, own: Option<u32>| *said = said.or(own);
        fill(&mut request.num_inference_steps, self.num_inference_steps);
        request.guidance_scale = request.guidance_scale.or(self.guidance_scale);
        if request.negative_prompt.is_none() {
            request.negative_prompt.clone_from(&self.negative_prompt);
        }
        if request.sampler.is_empty() && request.schedule.is_empty() {
            request.sampler = self.sampler.clone().unwrap_or_default();
            request.schedule = self.schedule.clone().unwrap_or_default();
        }
        let begins = |input: &v1::ImageInput| !input.init_image.is_empty();
        let has_others = !request.controls.is_empty() || !request.ref_images.is_empty();
        if !request.input.as_ref().is_some_and(begins) && !has_others {
            fill(&mut request.width_px, self.width_px);
            fill(&mut request.height_px, self.height_px);
        }
    }

    /// Puts these settings in the place of the model's own, for those who ask what a request would get.
    pub(super) fn show(&self, settings: &mut v1::Settings) {
        let show = |shown: &mut u32, own: Option<u32>| *shown = own.unwrap_or(*shown);
        show(&mut settings.num_inference_steps, self.num_inference_steps);
        show(&mut settings.width_px, self.width_px);
        show(&mut settings.height_px, self.height_px);
        settings.guidance_scale = self.guidance_scale.unwrap_or(settings.guidance_scale);
        if let Some(sampler) = &self.sampler {
            settings.sampler.clone_from(sampler);
            settings.schedule = self.schedule.clone().unwrap_or_default();
        } else if let Some(schedule) = &self.schedule {
            settings.schedule.clone_from(schedule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdxl() -> Preset {
        Preset::from(&imgd_models::entry("sdxl").unwrap().defaults)
    }

    #[test]
    fn what_a_request_does_not_say_is_filled_in() {
        let filled = |mut request: v1::GenerateRequest| {
            sdxl().fill(&mut request);
            request
        };
        let silent = filled(v1::GenerateRequest::default());
        assert_eq!(silent.num_inference_steps, Some(30));
        assert_eq!(
            (silent.width_px, silent.height_px),
            (Some(1024), Some(1024))
        );
        assert_eq!(
            (silent.sampler.as_str(), silent.schedule.as_str()),
            ("dpmpp_2m", "karras")
        );
        let said = v1::GenerateRequest {
            sampler: "ddim".to_owned(),
            num_inference_steps: Some(3),
            guidance_scale: Some(1.5),
            width_px: Some(64),
            height_px: Some(64),
            ..v1::GenerateRequest::default()
        };
        assert_eq!(filled(said.clone()), said);
        let begun = filled(v1::GenerateRequest {
            input: Some(v1::ImageInput {
                init_image: vec![1].into(),
                ..v1::ImageInput::default()
            }),
            ..v1::GenerateRequest::default()
        });
        assert_eq!((begun.width_px, begun.height_px), (None, None));
    }

    #[test]
    fn the_users_settings_go_before_the_catalogues() {
        let own = Preset {
            sampler: Some("euler".to_owned()),
            num_inference_steps: Some(7),
            negative_prompt: Some("blurry".to_owned()),
            ..Preset::default()
        };
        let both = own.clone().or(sdxl());
        let mut request = v1::GenerateRequest::default();
        both.fill(&mut request);
        assert_eq!(request.num_inference_steps, Some(7));
        assert_eq!(request.width_px, Some(1024));
        // Karras' levels belong to the catalogue's sampler.
        assert_eq!(
            (request.sampler.as_str(), request.schedule.as_str()),
            ("euler", "")
        );
        assert_eq!(request.negative_prompt.as_deref(), Some("blurry"));
        let mut said = v1::GenerateRequest {
            negative_prompt: Some(String::new()),
            ..request
        };
        both.fill(&mut said);
        assert_eq!(said.negative_prompt.as_deref(), Some(""));
        let mut settings = v1::Settings {
            schedule: "x".to_owned(),
            ..v1::Settings::default()
        };
        both.show(&mut settings);
        assert_eq!(
            (settings.sampler.as_str(), settings.schedule.as_str()),
            ("euler", "")
        );
        assert_eq!(
            (settings.num_inference_steps, settings.height_px),
            (7, 1024)
        );
    }
}
