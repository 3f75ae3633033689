//! What to draw, as the fields of a request say it: OpenAI's words and ours, for the API and the page alike.

use imgd_client::{Client, GenerateRequest, ImageFormat};

use crate::{fields::Fields, models, problem::Problem};

/// Most pictures of one request, as OpenAI has it.
const MAX_IMAGES: u32 = 10;

/// How much work a picture is worth, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quality {
    /// Half the model's steps.
    Low,
    /// The model's own steps.
    Medium,
    /// Half as many steps again.
    High,
}

/// What to draw.
#[derive(Debug)]
pub(crate) struct Drawing {
    /// Everything but the model, which is looked up.
    pub(crate) request: GenerateRequest,
    /// The model's name as it was asked for.
    pub(crate) model: Option<String>,
    pub(crate) quality: Quality,
}

impl Drawing {
    /// Takes the fields that say what to draw.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let model = fields.text("model")?;
        let (width_px, height_px) = size(fields)?;
        let (format, jpeg_quality) = format(fields)?;
        let quality = match fields.choice(
            "quality",
            &["auto", "low", "medium", "high", "standard", "hd"],
        )? {
            Some("low") => Quality::Low,
            Some("high" | "hd") => Quality::High,
            _ => Quality::Medium,
        };
        let n = fields.small("n")?;
        if n.is_some_and(|n| !(1..=MAX_IMAGES).contains(&n)) {
            return Err(Problem::value("n", format!("n is 1 to {MAX_IMAGES}")));
        }
        if fields.choice("background", &["auto", "opaque", "transparent"])? == Some("transparent") {
            let message = "background cannot be `transparent`: the models draw opaque pictures";
            return Err(Problem::field("background", "unsupported_value", message));
        }
        // Taken so that programs work unchanged; nothing is done with them, and nobody is told who asked.
        fields.choice("moderation", &["auto", "low"])?;
        fields.choice("style", &["vivid", "natural"])?;
        fields.text("user")?;
        let request = GenerateRequest {
            negative_prompt: fields.text_or_empty("negative_prompt")?,
            width_px,
            height_px,
            num_inference_steps: either(
                fields.small("steps")?,
                fields.small("num_inference_steps")?,
                "steps",
            )?,
            guidance_scale: either(
                fields.number("cfg_scale")?,
                fields.number("guidance_scale")?,
                "cfg_scale",
            )?,
            seed: fields.whole("seed")?,
            variation_seed: fields.whole("variation_seed")?,
            variation_strength: fields.number("variation_strength")?,
            num_images: n,
            sampler: fields.text("sampler")?,
            schedule: fields.text("schedule")?,
            clip_skip: fields.small("clip_skip")?,
            styles: fields.list("styles")?,
            format,
            jpeg_quality,
            private: fields.flag("private")?,
            ..GenerateRequest::default()
        };
        Ok(Self {
            request,
            model,
            quality,
        })
    }

    /// The request for the daemon: the model looked up, steps counted, previews asked for.
    ///
    /// `previews`: how many of each picture are wanted.
    pub(crate) async fn resolve(
        self,
        client: &Client,
        previews: u32,
    ) -> Result<GenerateRequest, Problem> {
        let mut request = self.request;
        request.model = models::resolve(client, self.model.as_deref()).await?;
        let needs_steps = self.quality != Quality::Medium || previews > 0;
        if needs_steps && request.num_inference_steps.is_none() {
            let model = client.model(request.model.as_deref()).await?;
            let steps = model
                .defaults
                .unwrap_or_default()
                .num_inference_steps
                .max(1);
            request.num_inference_steps = match self.quality {
                Quality::Low => Some(steps.div_ceil(2)),
                Quality::Medium => None,
                Quality::High => Some(steps + steps / 2),
            };
            request.preview_every_n_steps =
                distance(request.num_inference_steps.unwrap_or(steps), previews);
        } else if previews > 0 {
            request.preview_every_n_steps =
                distance(request.num_inference_steps.unwrap_or(1), previews);
        }
        Ok(request)
    }
}

/// Steps between previews so that there are as many as are wanted; 0 for none.
fn distance(steps: u32, previews: u32) -> u32 {
    match previews {
        0 => 0,
        previews => (steps / (previews + 1)).max(1),
    }
}

/// The prompt, which is wanted.
pub(crate) fn prompt(fields: &mut Fields) -> Result<String, Problem> {
    fields.text("prompt")?.ok_or_else(|| {
        Problem::field(
            "prompt",
            "missing_required_parameter",
            "prompt is missing: say what to draw",
        )
    })
}

/// `1024x1536`, or `auto`.
fn size(fields: &mut Fields) -> Result<(Option<u32>, Option<u32>), Problem> {
    let Some(text) = fields.text("size")?.filter(|text| text != "auto") else {
        return Ok((None, None));
    };
    let sides = text
        .split_once('x')
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides
        .map(|(width, height)| (Some(width), Some(height)))
        .ok_or_else(|| {
            Problem::value(
                "size",
                "size is WIDTHxHEIGHT in pixels, as in `512x768`, or `auto`",
            )
        })
}

/// The file's format, and its quality where it is a JPEG.
fn format(fields: &mut Fields) -> Result<(ImageFormat, Option<u32>), Problem> {
    let format = match fields.choice("output_format", &["png", "jpeg", "webp"])? {
        Some("jpeg") => ImageFormat::Jpeg,
        Some("webp") => ImageFormat::Webp,
        _ => ImageFormat::Png,
    };
    let compression = fields.small("output_compression")?;
    if compression.is_some_and(|percent| percent > 100) {
        return Err(Problem::value(
            "output_compression",
            "output_compression is 0 to 100",
        ));
    }
    match (format, compression) {
        (ImageFormat::Jpeg, percent) => Ok((format, percent.map(|percent| percent.max(1)))),
        // both keep every pixel, which is what 100 asks for
        (_, None | Some(100)) => Ok((format, None)),
        (..) => Err(Problem::value(
            "output_compression",
            "output_compression is for `output_format` jpeg: png and webp lose nothing here",
        )),
    }
}

fn either<T>(ours: Option<T>, other: Option<T>, name: &str) -> Result<Option<T>, Problem> {
    match (ours, other) {
        (Some(_), Some(_)) => Err(Problem::value(
            name,
            format!("{name} is said twice, by two names"),
        )),
        (ours, other) => Ok(ours.or(other)),
    }
}

/// A format's name.
pub(crate) fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "jpeg",
        ImageFormat::Webp => "webp",
        ImageFormat::Png | ImageFormat::Unspecified => "png",
    }
}

/// A format's media type.
pub(crate) fn media_type(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "image/jpeg",
        ImageFormat::Webp => "image/webp",
        ImageFormat::Png | ImageFormat::Unspecified => "image/png",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn take(value: Value) -> Result<Drawing, Value> {
        let Value::Object(values) = value else {
            unreachable!("the tests give objects")
        };
        let mut fields = Fields::of_json(values);
        let drawing = Drawing::take(&mut fields).map_err(|problem| problem.json())?;
        fields.finish().map_err(|problem| problem.json())?;
        Ok(drawing)
    }

    #[test]
    fn openai_s_words_and_ours_become_one_request() {
        let drawing = take(json!({
            "model": "dall-e-3", "size": "512x768", "quality": "hd", "n": 2, "user": "someone", "style": "vivid",
            "background": "opaque", "moderation": "low", "output_format": "jpeg", "output_compression": 80,
            "negative_prompt": "", "steps": 7, "cfg_scale": 1.5, "seed": 18_446_744_073_709_551_615_u64,
            "sampler": "euler", "schedule": "karras", "styles": ["ink"], "private": true,
        }))
        .unwrap();
        assert_eq!(
            (drawing.model.as_deref(), drawing.quality),
            (Some("dall-e-3"), Quality::High)
        );
        let expected = GenerateRequest {
            negative_prompt: Some(String::new()),
            width_px: Some(512),
            height_px: Some(768),
            num_inference_steps: Some(7),
            guidance_scale: Some(1.5),
            seed: Some(u64::MAX),
            num_images: Some(2),
            sampler: Some("euler".into()),
            schedule: Some("karras".into()),
            styles: vec!["ink".into()],
            format: ImageFormat::Jpeg,
            jpeg_quality: Some(80),
            private: Some(true),
            ..GenerateRequest::default()
        };
        assert_eq!(drawing.request, expected);
    }

    #[test]
    fn what_cannot_be_names_its_field() {
        for (value, param) in [
            (json!({ "size": "big" }), "size"),
            (json!({ "size": "512" }), "size"),
            (json!({ "n": 0 }), "n"),
            (json!({ "n": 11 }), "n"),
            (json!({ "n": "1" }), "n"),
            (json!({ "background": "transparent" }), "background"),
            (json!({ "output_format": "gif" }), "output_format"),
            (json!({ "output_compression": 50 }), "output_compression"),
            (
                json!({ "output_format": "jpeg", "output_compression": 101 }),
                "output_compression",
            ),
            (json!({ "quality": "best" }), "quality"),
            (json!({ "steps": 4, "num_inference_steps": 4 }), "steps"),
            (json!({ "stepz": 4 }), "stepz"),
        ] {
            assert_eq!(take(value).unwrap_err()["error"]["param"], param);
        }
    }

    #[test]
    fn previews_are_spread_over_the_steps() {
        assert_eq!(
            [
                distance(20, 0),
                distance(20, 3),
                distance(20, 1),
                distance(2, 3)
            ],
            [0, 5, 10, 1]
        );
    }
}
