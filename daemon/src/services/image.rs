//! ImageService: making pictures.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use imgd_proto::{
    limits,
    v1::{self, image_service_server::ImageService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{
    deadline,
    names::{self, Names},
    pump,
};
use crate::{
    engine::{FileRequest, PictureRequest},
    failure::Failure,
    keep_alive::KeepAlive,
    prompt::Prompt,
    scheduler::{Order, Scheduler, Work},
};

/// Quality of a JPEG when the request does not say.
const DEFAULT_JPEG_QUALITY: u32 = 95;

/// The service.
#[derive(Debug, Clone)]
pub struct ImageApi {
    /// Does the work.
    pub scheduler: Scheduler,
    /// Knows the models.
    pub names: Arc<Names>,
}

#[tonic::async_trait]
impl ImageService for ImageApi {
    type GenerateStream = pump::Stream<v1::GenerateResponse>;

    async fn generate(
        &self,
        request: Request<v1::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let now = Instant::now();
        let header = deadline::from_headers(request.metadata().as_ref());
        let request = request.into_inner();
        limits::validate_generate(&request).map_err(Failure::from)?;
        names::check(&request)?;
        let own = request
            .timeout
            .as_ref()
            .map(limits::timeout)
            .transpose()
            .map_err(Failure::from)?;
        let time = header.into_iter().chain(own).min();
        let receipt = self.scheduler.submit(order(request, &self.names)?).await?;
        Ok(Response::new(pump::drawing(
            receipt,
            time.and_then(|time| now.checked_add(time)),
        )))
    }
}

/// The job that a checked request makes.
fn order(request: v1::GenerateRequest, names: &Names) -> Result<Order, Failure> {
    let model = names.model(&request.model)?;
    let format = match request.format() {
        v1::ImageFormat::Unspecified => v1::ImageFormat::Png,
        format => format,
    };
    let priority = match request.priority() {
        v1::Priority::Unspecified => v1::Priority::Interactive,
        priority => priority,
    };
    let quality = request.jpeg_quality.unwrap_or(DEFAULT_JPEG_QUALITY);
    let file = FileRequest {
        format,
        jpeg_quality: u8::try_from(quality).unwrap_or(u8::MAX),
        omit_metadata: request.omit_metadata,
    };
    let picture = PictureRequest {
        prompt: Prompt::new(request.prompt),
        negative_prompt: request.negative_prompt.map(Prompt::new),
        width_px: request.width_px,
        height_px: request.height_px,
        num_inference_steps: request.num_inference_steps,
        guidance_scale: request.guidance_scale,
        seed: request.seed.unwrap_or_else(random_seed),
        sampler: Some(request.sampler).filter(|name| !name.is_empty()),
        schedule: Some(request.schedule).filter(|name| !name.is_empty()),
        clip_skip: request.clip_skip,
    };
    Ok(Order {
        model,
        work: Work::Draw {
            picture: Box::new(picture),
            num_images: request.num_images.unwrap_or(1),
            file,
            preview_every_n_steps: request.preview_every_n_steps,
        },
        keep_alive: keep_alive(request.keep_alive.as_ref())?,
        priority,
        request_id: request.request_id,
    })
}

/// How long the model stays, where a request says so.
pub(super) fn keep_alive(
    wanted: Option<&prost_types::Duration>,
) -> Result<Option<KeepAlive>, Failure> {
    let wanted = wanted.map(limits::keep_alive).transpose()?;
    Ok(wanted.map(KeepAlive::from))
}

/// A seed that other tools take as well: 32 bits. The hasher's keys are random.
fn random_seed() -> u64 {
    RandomState::new().hash_one(Instant::now()) >> 32
}
