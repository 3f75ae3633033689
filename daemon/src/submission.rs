//! What a job makes, as it was asked for. It holds prompts, so its `Debug` output tells only how much there is.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use imgd_proto::v1;

use crate::{
    engine::{FileRequest, PictureRequest},
    picture_size,
    prompt::Prompt,
};

/// Quality of a JPEG when the request does not say.
const DEFAULT_JPEG_QUALITY: u32 = 95;

/// A checked request whose seed is filled in. Clones are the same.
#[derive(Clone)]
pub struct Submission {
    request: Arc<v1::SubmitJobRequest>,
    /// Whether its seed was asked for.
    has_own_seed: bool,
    /// Whether its variation seed was asked for, or there is no variation.
    has_own_variation: bool,
    /// Whether its pictures have prompts that were chosen here.
    has_chosen_prompts: bool,
}

impl Submission {
    /// Takes a checked request in; `seed` is for one that says none, and for variations.
    pub fn new(mut request: v1::SubmitJobRequest, seed: impl Fn() -> u64) -> Self {
        let generate = request.generate.get_or_insert_default();
        let has_own_seed = generate.seed.is_some();
        let has_own_variation = !varies(generate) || generate.variation_seed.is_some();
        generate.seed.get_or_insert_with(&seed);
        if !has_own_variation {
            generate.variation_seed = Some(seed());
        }
        Self {
            request: Arc::new(request),
            has_own_seed,
            has_own_variation,
            has_chosen_prompts: false,
        }
    }

    /// The same with what was chosen for each picture.
    pub fn with_prompts(mut self, images: Vec<v1::ImageVariation>) -> Self {
        Arc::make_mut(&mut self.request).images = images;
        self.has_chosen_prompts = true;
        self
    }

    /// The same with its request changed.
    pub fn changed<E>(
        mut self,
        change: impl FnOnce(&mut v1::SubmitJobRequest) -> Result<(), E>,
    ) -> Result<Self, E> {
        change(Arc::make_mut(&mut self.request))?;
        Ok(self)
    }

    /// The request, shared.
    pub fn shared(&self) -> Arc<v1::SubmitJobRequest> {
        Arc::clone(&self.request)
    }

    /// The request.
    pub fn request(&self) -> &v1::SubmitJobRequest {
        &self.request
    }

    /// What its pictures have in common.
    pub fn generate(&self) -> &v1::GenerateRequest {
        static NONE: LazyLock<v1::GenerateRequest> = LazyLock::new(v1::GenerateRequest::default);
        self.request.generate.as_ref().unwrap_or(&NONE)
    }

    /// Pictures it makes, at least 1.
    pub fn image_count(&self) -> u32 {
        match u32::try_from(self.request.images.len()).unwrap_or(u32::MAX) {
            0 => self.generate().num_images.unwrap_or(1),
            count => count,
        }
    }

    /// Width and height of the picture that is enlarged, before that; `None` where none is, or its file does not say.
    pub fn enlarged_size_px(&self) -> Option<(u32, u32)> {
        let common = self.generate();
        let input = common.upscale.as_ref().and(common.input.as_ref())?;
        picture_size::of(&input.init_image)
    }

    /// The denoising step after which pictures are held; `None` where none is.
    pub fn hold_after_steps(&self) -> Option<u32> {
        Some(self.request.hold_after_steps).filter(|steps| *steps > 0)
    }

    /// How urgent it is; never unspecified.
    pub fn priority(&self) -> v1::Priority {
        match self.generate().priority() {
            v1::Priority::Unspecified => v1::Priority::Interactive,
            priority => priority,
        }
    }

    /// Picture `index`, with its own prompts and seed.
    pub fn picture(&self, index: u32) -> PictureRequest {
        let common = self.generate();
        let own = usize::try_from(index)
            .ok()
            .and_then(|index| self.request.images.get(index));
        let prompt = own.and_then(|own| own.prompt.as_ref());
        let negative_prompt = own.and_then(|own| own.negative_prompt.as_ref());
        let varies = varies(common);
        let counted = |seed: u64| seed.wrapping_add(index.into());
        let seed = common.seed.unwrap_or_default();
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        PictureRequest {
            prompt: Prompt::new(prompt.unwrap_or(&common.prompt).clone()),
            negative_prompt: negative_prompt
                .or(common.negative_prompt.as_ref())
                .cloned()
                .map(Prompt::new),
            width_px: common.width_px,
            height_px: common.height_px,
            num_inference_steps: common.num_inference_steps,
            guidance_scale: common.guidance_scale,
            seed: own
                .and_then(|own| own.seed)
                .unwrap_or_else(|| if varies { seed } else { counted(seed) }),
            variation_seed: common.variation_seed.filter(|_| varies).map(counted),
            variation_strength: common.variation_strength.filter(|_| varies),
            sampler: named(&common.sampler),
            schedule: named(&common.schedule),
            clip_skip: common.clip_skip,
            max_sequence_length: common.max_sequence_length,
            prompt_syntax: common.prompt_syntax(),
            loras: common
                .loras
                .iter()
                .chain(own.iter().flat_map(|own| &own.loras))
                .cloned()
                .collect(),
            controls: common.controls.clone(),
            embeddings: common.embeddings.clone(),
            ref_images: common.ref_images.clone(),
            input: common.input.clone(),
            hires: common.hires,
            upscale: common.upscale.clone(),
        }
    }

    /// The file to make of each picture.
    pub fn file(&self) -> FileRequest {
        let common = self.generate();
        let format = match common.format() {
            v1::ImageFormat::Unspecified => v1::ImageFormat::Png,
            format => format,
        };
        let quality = common.jpeg_quality.unwrap_or(DEFAULT_JPEG_QUALITY);
        FileRequest {
            format,
            jpeg_quality: u8::try_from(quality).unwrap_or(u8::MAX),
            omit_metadata: common.omit_metadata,
        }
    }

    /// Whether `earlier` asked for the same; a seed that this one left open is any seed, and what was chosen by it is any choice.
    pub fn is_as(&self, earlier: &v1::SubmitJobRequest) -> bool {
        let mut own = v1::SubmitJobRequest::clone(&self.request);
        if let (Some(own), Some(earlier)) = (&mut own.generate, &earlier.generate) {
            if !self.has_own_seed {
                own.seed = earlier.seed;
            }
            if !self.has_own_variation {
                own.variation_seed = earlier.variation_seed;
            }
        }
        if self.has_chosen_prompts && own.images.len() == earlier.images.len() {
            for (own, earlier) in own.images.iter_mut().zip(&earlier.images) {
                own.prompt.clone_from(&earlier.prompt);
                own.negative_prompt.clone_from(&earlier.negative_prompt);
                own.loras.clone_from(&earlier.loras);
            }
        }
        own == *earlier
    }
}

/// Whether its pictures are variations of one.
fn varies(request: &v1::GenerateRequest) -> bool {
    request.variation_strength.unwrap_or_default() > 0.0
}

/// One whose seeds were filled in before.
impl From<Arc<v1::SubmitJobRequest>> for Submission {
    fn from(request: Arc<v1::SubmitJobRequest>) -> Self {
        Self {
            request,
            has_own_seed: true,
            has_own_variation: true,
            has_chosen_prompts: false,
        }
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Submission")
            .field("image_count", &self.image_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use imgd_proto::v1;

    use super::Submission;

    fn request() -> v1::SubmitJobRequest {
        v1::SubmitJobRequest {
            generate: Some(v1::GenerateRequest {
                prompt: "a canary".to_owned(),
                negative_prompt: Some("blur".to_owned()),
                num_images: Some(3),
                ..v1::GenerateRequest::default()
            }),
            ..v1::SubmitJobRequest::default()
        }
    }

    #[test]
    fn picture_i_uses_the_seed_plus_i_and_seeds_wrap() {
        let submission = Submission::new(request(), || u64::MAX);
        let seeds: Vec<_> = (0..3).map(|index| submission.picture(index).seed).collect();
        assert_eq!(seeds, [u64::MAX, 0, 1]);
        assert_eq!(
            submission.request().generate.as_ref().unwrap().seed,
            Some(u64::MAX)
        );
    }

    #[test]
    fn variations_share_the_seed_and_count_their_own() {
        let with = |strength, variation_seed| {
            let mut request = request();
            let generate = request.generate.as_mut().unwrap();
            (generate.seed, generate.variation_seed) = (Some(5), variation_seed);
            generate.variation_strength = strength;
            Submission::new(request, || 70)
        };
        let seeds = |submission: &Submission| -> Vec<_> {
            (0..3)
                .map(|index| submission.picture(index))
                .map(|picture| (picture.seed, picture.variation_seed))
                .collect()
        };
        let varied = with(Some(0.1), Some(9));
        assert_eq!(seeds(&varied), [(5, Some(9)), (5, Some(10)), (5, Some(11))]);
        assert_eq!(varied.picture(0).variation_strength, Some(0.1));
        let open = with(Some(0.1), None);
        assert_eq!(seeds(&open)[1], (5, Some(71)));
        assert!(with(Some(0.1), None).is_as(open.request()));
        assert!(!with(Some(0.1), Some(9)).is_as(open.request()));
        // A strength of 0 changes nothing.
        let none = with(Some(0.0), Some(9));
        assert_eq!(seeds(&none), [(5, None), (6, None), (7, None)]);
        assert_eq!(none.picture(0).variation_strength, None);
    }

    #[test]
    fn variations_override_what_they_say_and_nothing_else() {
        let mut request = request();
        request.images = vec![
            v1::ImageVariation::default(),
            v1::ImageVariation {
                prompt: Some("another".to_owned()),
                negative_prompt: Some(String::new()),
                seed: Some(99),
                loras: Vec::new(),
            },
        ];
        let submission = Submission::new(request, || 5);
        assert_eq!(submission.image_count(), 2);
        let first = submission.picture(0);
        assert_eq!((first.prompt.reveal(), first.seed), ("a canary", 5));
        assert_eq!(first.negative_prompt.unwrap().reveal(), "blur");
        let second = submission.picture(1);
        assert_eq!((second.prompt.reveal(), second.seed), ("another", 99));
        assert_eq!(second.negative_prompt.unwrap().reveal(), "");
    }

    #[test]
    fn the_same_request_is_recognised_with_the_seed_left_open() {
        let earlier = Submission::new(request(), || 5);
        assert!(Submission::new(request(), || 6).is_as(earlier.request()));
        let other = |change: fn(&mut v1::SubmitJobRequest)| {
            let mut request = request();
            change(&mut request);
            Submission::new(request, || 6).is_as(earlier.request())
        };
        assert!(other(
            |request| request.generate.as_mut().unwrap().seed = Some(5)
        ));
        assert!(!other(
            |request| request.generate.as_mut().unwrap().seed = Some(6)
        ));
        assert!(!other(|request| request.hold_after_steps = 2));
    }

    #[test]
    fn debug_output_holds_no_word_of_a_prompt() {
        let shown = format!("{:?}", Submission::new(request(), || 1));
        assert!(
            !shown.contains("canary") && !shown.contains("blur"),
            "{shown}"
        );
    }
}
