//! The fake daemon's models.

use std::pin::Pin;

use imgd_proto::{
    Failure, Reason,
    v1::{self, load_model_response::Event, model_service_server::ModelService},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Service, settings};

/// A model in memory that stays for ever.
pub(crate) fn loaded() -> v1::LoadedModel {
    v1::LoadedModel {
        name: "starter".into(),
        model_hash: "0123456789abcdef".into(),
        memory_bytes: 118_000_000,
        device: "cpu".into(),
        expires_in: None,
        precision: v1::Precision::F32.into(),
    }
}

fn sampler(name: &str, schedules: &[&str]) -> v1::Sampler {
    v1::Sampler {
        name: name.into(),
        description: format!("the {name} solver"),
        diffusers_class: "Scheduler".into(),
        schedules: schedules.iter().map(|&name| name.into()).collect(),
        predictions: vec!["epsilon".into()],
        zero_snr: false,
        stochastic: name == "ddpm",
        evaluations_per_step: 1,
    }
}

#[tonic::async_trait]
impl ModelService for Service {
    type LoadModelStream =
        Pin<Box<dyn Stream<Item = Result<v1::LoadModelResponse, Status>> + Send>>;

    async fn list_models(
        &self,
        _: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let model = |name: &str, path: &str, is_default| v1::ModelSummary {
            name: name.into(),
            path: path.into(),
            is_default,
            is_loaded: is_default,
            origin: if path.is_empty() { "imgd" } else { "config" }.into(),
            ..v1::ModelSummary::default()
        };
        let models = vec![model("starter", "", true), model("xl", "/models/xl", false)];
        Ok(Response::new(v1::ListModelsResponse {
            models,
            notices: Vec::new(),
            upscalers: Vec::new(),
        }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let model = v1::Model {
            name: request.into_inner().model,
            path: "/models/xl".into(),
            family: "sdxl".into(),
            pipeline_class: "StableDiffusionXLPipeline".into(),
            parameter_count: 3_470_000_000,
            weights_bytes: 6_940_000_000,
            memory_bytes: 15_200_000_000,
            working_bytes_per_pixel: 4_608,
            size_multiple_px: 8,
            prompt_positions: 77,
            defaults: Some(settings(0)),
            components: vec![v1::ModelComponent {
                name: "unet".into(),
                class: "UNet2DConditionModel".into(),
                parameter_count: 2_570_000_000,
                dtype: "f16".into(),
            }],
            aliases: vec!["big".into()],
            ..v1::Model::default()
        };
        Ok(Response::new(v1::GetModelResponse { model: Some(model) }))
    }

    async fn add_model(
        &self,
        request: Request<v1::AddModelRequest>,
    ) -> Result<Response<v1::AddModelResponse>, Status> {
        let request = request.into_inner();
        let model = v1::ModelSummary {
            name: request.name,
            path: request.path,
            origin: "added".into(),
            aliases: request.aliases,
            ..v1::ModelSummary::default()
        };
        Ok(Response::new(v1::AddModelResponse { model: Some(model) }))
    }

    async fn remove_model(
        &self,
        request: Request<v1::RemoveModelRequest>,
    ) -> Result<Response<v1::RemoveModelResponse>, Status> {
        let name = request.into_inner().model;
        let path = format!("/models/{name}.safetensors");
        Ok(Response::new(v1::RemoveModelResponse { name, path }))
    }

    async fn load_model(
        &self,
        _: Request<v1::LoadModelRequest>,
    ) -> Result<Response<Self::LoadModelStream>, Status> {
        let loading = v1::Loading {
            model: "starter".into(),
            fraction: 0.5,
        };
        let events = [Event::Loading(loading), Event::Loaded(loaded())]
            .map(|event| Ok(v1::LoadModelResponse { event: Some(event) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn unload_model(
        &self,
        request: Request<v1::UnloadModelRequest>,
    ) -> Result<Response<v1::UnloadModelResponse>, Status> {
        match request.get_ref().model.as_str() {
            "nonesuch" => {
                let unknown = "model `nonesuch` is not known";
                Err(Failure::new(Reason::ModelNotFound, unknown)
                    .with_field("model")
                    .into())
            }
            name => Ok(Response::new(v1::UnloadModelResponse {
                was_loaded: name == "starter",
            })),
        }
    }

    async fn list_samplers(
        &self,
        _: Request<v1::ListSamplersRequest>,
    ) -> Result<Response<v1::ListSamplersResponse>, Status> {
        let schedule = |name: &str| v1::Schedule {
            name: name.into(),
            description: format!("the {name} levels"),
        };
        Ok(Response::new(v1::ListSamplersResponse {
            samplers: vec![
                sampler("euler", &["normal", "karras"]),
                sampler("lms", &["karras"]),
                sampler("ddpm", &[]),
            ],
            schedules: vec![schedule("normal"), schedule("karras")],
        }))
    }
}
