//! A tiny picture of the default model: the proof that request, queue, worker, model and encoder work together.

use std::time::{Duration, Instant};

use imgd_client::{Client, GenerateRequest, Image};
use tokio::time::timeout;

use super::finding::Finding;
use crate::{Context, durations, failure::Failure};

/// A large model on a slow disk may take minutes to load.
const LIMIT: Duration = Duration::from_secs(600);
/// Each side of it, where the model can do that.
const SIDE_PX: u32 = 128;
const STEPS: u32 = 2;

/// Draws one, keeps nothing of it, and looks at it.
pub(super) async fn draw(client: &Client, context: &Context) -> Finding {
    if !context.quiet && !context.json {
        context
            .terminal
            .note("drawing a tiny picture; a large model takes its time to load");
    }
    let began = Instant::now();
    let drawn = timeout(LIMIT, drawn(client)).await;
    let failure = match drawn {
        Ok(Ok(image)) => return judged(&image, began.elapsed()),
        Ok(Err(failure)) => failure,
        Err(_elapsed) => {
            let found = format!("not finished within {}", durations::short(LIMIT));
            return Finding::problem("drawn", found)
                .advice("`imgctl jobs` shows what goes before it");
        }
    };
    Finding::failed("drawn", failure)
}

async fn drawn(client: &Client) -> Result<Image, Failure> {
    let multiple = client.model(None).await?.size_multiple_px.max(1);
    let side = SIDE_PX.div_ceil(multiple) * multiple;
    let mut request = GenerateRequest::new("a red apple");
    request.width_px = Some(side);
    request.height_px = Some(side);
    request.num_inference_steps = Some(STEPS);
    request.private = Some(true);
    let mut images = client.generate_images(request).await?;
    images
        .pop()
        .ok_or_else(|| Failure::new(crate::failure::exit::FAILED, "no picture came"))
}

/// Whether its file is a picture of the size that was asked for, and more than one colour.
fn judged(image: &Image, took: Duration) -> Finding {
    let settings = &image.settings;
    let pixels = match image::load_from_memory(&image.bytes) {
        Ok(pixels) => pixels.to_rgb8(),
        Err(error) => {
            return Finding::problem("drawn", format!("what came is no picture: {error}"))
                .advice("this is a defect of imgd: please report it");
        }
    };
    let size = (settings.width_px, settings.height_px);
    let first = pixels.pixels().next();
    if pixels.dimensions() != size || pixels.pixels().all(|pixel| Some(pixel) == first) {
        return Finding::problem(
            "drawn",
            "the picture is empty, or of another size than was asked for",
        )
        .advice(
            "try `--precision f32`; the model's files may be damaged: `imgctl models verify NAME`",
        );
    }
    let found = format!(
        "`{}`, {}x{} in {} steps of {}: {} in all",
        settings.model,
        size.0,
        size.1,
        settings.num_inference_steps,
        settings.sampler,
        durations::short(took)
    );
    Finding::ok("drawn", found)
}
