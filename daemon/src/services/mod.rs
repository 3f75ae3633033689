//! The contract's services: checking what comes in, handing it to the scheduler, telling what comes out.

pub mod added;
mod adding;
mod choices;
mod client;
mod controls;
mod daemon;
pub mod deadline;
mod embeddings;
mod folder;
mod found;
mod image;
mod job;
mod known;
mod loras;
mod model;
pub mod names;
mod order;
pub mod own;
mod parts;
pub mod preset;
mod prompts;
pub mod pump;
mod samplers;
mod sandbox;
pub mod styles;
mod upscalers;

pub use client::Peer;
pub use daemon::{DaemonApi, Identity};
pub use found::FoundModels;
pub use image::ImageApi;
pub use job::JobApi;
pub use model::ModelApi;
pub use names::Names;

use imgd_proto::v1::{
    daemon_service_server::DaemonServiceServer, image_service_server::ImageServiceServer,
    job_service_server::JobServiceServer, model_service_server::ModelServiceServer,
};
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Names of the services, for health.
pub const SERVICE_NAMES: [&str; 5] = [
    "",
    "imgd.v1.ImageService",
    "imgd.v1.JobService",
    "imgd.v1.ModelService",
    "imgd.v1.DaemonService",
];

/// All services, with health and reflection.
pub fn routes(
    image: ImageApi,
    job: JobApi,
    model: ModelApi,
    daemon: DaemonApi,
) -> (Routes, HealthReporter) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let max = imgd_proto::limits::MAX_REQUEST_BYTES;
    let max_with_pictures = imgd_proto::limits::MAX_PICTURE_REQUEST_BYTES;
    let mut routes = Routes::builder();
    routes
        .add_service(ImageServiceServer::new(image).max_decoding_message_size(max_with_pictures))
        .add_service(JobServiceServer::new(job).max_decoding_message_size(max_with_pictures))
        .add_service(ModelServiceServer::new(model).max_decoding_message_size(max))
        .add_service(DaemonServiceServer::new(daemon).max_decoding_message_size(max))
        .add_service(health);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(imgd_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            routes.add_service(v1).add_service(v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => tracing::error!("no reflection: {error}"),
    }
    (routes.routes().prepare(), reporter)
}

/// Tells health checks whether work is taken.
pub async fn report_health(reporter: &HealthReporter, is_serving: bool) {
    let status = if is_serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for name in SERVICE_NAMES {
        reporter.set_service_status(name, status).await;
    }
}
