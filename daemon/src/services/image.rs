//! ImageService: making pictures.

use std::sync::Arc;

use imgd_proto::{
    limits,
    v1::{self, image_service_server::ImageService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{client, deadline, names::Names, order, pump};
use crate::{failure::Failure, scheduler::Scheduler};

/// The service.
#[derive(Debug, Clone)]
pub struct ImageApi {
    /// Does the work.
    pub scheduler: Scheduler,
    /// Knows the models.
    pub names: Arc<Names>,
    /// Whether a request that does not say is private.
    pub is_private: bool,
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
        let client = client::of(&request)?;
        let request = request.into_inner();
        limits::validate_generate(&request).map_err(Failure::from)?;
        let own = request
            .timeout
            .as_ref()
            .map(limits::timeout)
            .transpose()
            .map_err(Failure::from)?;
        let time = header.into_iter().chain(own).min();
        let order = order::attached(request, &self.names, client, self.is_private)?;
        let (job_id, events) = self.scheduler.submit(order).await?.own()?;
        Ok(Response::new(pump::drawing(
            job_id,
            events,
            time.and_then(|time| now.checked_add(time)),
        )))
    }
}
