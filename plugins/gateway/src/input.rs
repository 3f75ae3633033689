//! Pictures that come with a request: to begin from, to repaint, to look at.

use bytes::Bytes;
use imgd_client::{ImageInput, ReferenceImage};

use crate::{body::Form, masks, problem::Problem};

/// Most pictures of a request.
const MAX_PICTURES: usize = 4;

/// What a form's pictures are for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pictures {
    pub(crate) input: Option<ImageInput>,
    pub(crate) ref_images: Vec<ReferenceImage>,
}

impl Pictures {
    /// Takes `image`, `mask`, `strength`, `mask_blur`, `input_fidelity` and `references` from a form.
    ///
    /// One picture is changed: where the mask, or without one the picture itself, is transparent, or as a whole. Several pictures, or
    /// with `references` one, are looked at, by models that can.
    pub(crate) async fn take(form: &mut Form) -> Result<Self, Problem> {
        let mut images = form.take("image");
        let mut masks = form.take("mask");
        let fields = &mut form.fields;
        let strength = fields.number("strength")?;
        let mask_blur_px = fields.small("mask_blur")?;
        let fidelity = fields.choice("input_fidelity", &["high", "low"])?;
        let references = fields.flag("references")?.unwrap_or(false);
        if let Some((name, _)) = form.files.iter().find(|(_, files)| !files.is_empty()) {
            let message = format!("unknown parameter: `{name}`");
            return Err(Problem::field(name.clone(), "unknown_parameter", message));
        }
        if images.len() > MAX_PICTURES || masks.len() > 1 {
            let message = format!(
                "there are 1 to {MAX_PICTURES} pictures as `image`, and one `mask` at most"
            );
            return Err(Problem::value("image", message));
        }
        if images.iter().any(Bytes::is_empty) {
            return Err(Problem::field(
                "image",
                "invalid_image",
                "image is an empty file",
            ));
        }
        let mask = masks.pop();
        if references || images.len() > 1 {
            if mask.is_some() {
                let message =
                    "mask is for one picture that is changed, not for pictures that are looked at";
                return Err(Problem::value("mask", message));
            }
            let ref_images = images
                .into_iter()
                .map(|ref_image| ReferenceImage { ref_image });
            return Ok(Self {
                input: None,
                ref_images: ref_images.collect(),
            });
        }
        let Some(image) = images.pop() else {
            return Err(Problem::field(
                "image",
                "missing_required_parameter",
                "image is missing: send the picture's file",
            ));
        };
        let copy = image.clone();
        let read = move || match mask {
            Some(mask) => masks::of_transparency(&mask, "mask").map(Some),
            None => masks::within(&copy, "image"),
        };
        // reading a picture takes a while
        let mask = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_panicked| Problem::value("image", "image cannot be read"))??;
        let has_mask = mask.is_some();
        let input = ImageInput {
            init_image: image,
            mask: mask.unwrap_or_default(),
            strength: strength.or_else(|| (fidelity == Some("high") && !has_mask).then_some(0.5)),
            mask_blur_px: mask_blur_px.filter(|_| has_mask),
            ..ImageInput::default()
        };
        Ok(Self {
            input: Some(input),
            ref_images: Vec::new(),
        })
    }
}
