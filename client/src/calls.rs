//! The calls of a connected client.

use std::time::Duration;

use imgd_proto::v1::{
    self, GetModelRequest, GetStatusRequest, ListModelsRequest, ListSamplersRequest,
    LoadModelRequest, ModelPart, ShutdownRequest, StartedBy, UnloadModelRequest,
    daemon_service_client::DaemonServiceClient, image_service_client::ImageServiceClient,
    load_model_response, model_service_client::ModelServiceClient,
};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use crate::{
    Client, Error, Event, GenerateRequest, Generation, Image, KeepAlive, Precision, Result, build,
    link::Link,
};

impl Client {
    /// Begins a request and gives its events as they come.
    ///
    /// Fails at once where the daemon refuses the request; the error names the field.
    pub async fn generate(&self, request: GenerateRequest) -> Result<Generation> {
        let began = Instant::now();
        let wanted = request.timeout;
        let mut images = ImageServiceClient::new(self.link.clone());
        let stream = images
            .generate(v1::GenerateRequest::from(request))
            .await?
            .into_inner();
        Ok(Generation::new(stream, began, wanted))
    }

    /// Serves a request to its end and returns its pictures, in order.
    pub async fn generate_images(&self, request: GenerateRequest) -> Result<Vec<Image>> {
        let mut generation = self.generate(request).await?;
        let mut images = Vec::new();
        while let Some(event) = generation.next().await {
            if let Event::Image(image) = event? {
                images.push(image);
            }
        }
        Ok(images)
    }

    /// The models that have a name, the default first, and what could not be read.
    pub async fn models(&self) -> Result<v1::ListModelsResponse> {
        let request = ListModelsRequest {};
        Ok(self
            .model_service()
            .list_models(request)
            .await?
            .into_inner())
    }

    /// The upscalers of the daemon's folder.
    pub async fn upscalers(&self) -> Result<Vec<v1::ModelSummary>> {
        Ok(self
            .model_service()
            .list_models(ListModelsRequest {})
            .await?
            .into_inner()
            .upscalers)
    }

    /// Describes a model by name or absolute path (`None`: the default) without loading it.
    pub async fn model(&self, model: Option<&str>) -> Result<v1::Model> {
        let request = GetModelRequest {
            model: model.unwrap_or_default().to_owned(),
            ..GetModelRequest::default()
        };
        self.describe_model(request).await
    }

    /// Describes a model with files from elsewhere, as [`GenerateRequest`] names them.
    pub async fn describe_model(&self, request: GetModelRequest) -> Result<v1::Model> {
        let answer = self.model_service().get_model(request).await?.into_inner();
        answer
            .model
            .ok_or(Error::Contract("a model came without its description"))
    }

    /// Gives a model at its place a name, which it keeps.
    pub async fn add_model(&self, request: v1::AddModelRequest) -> Result<v1::ModelSummary> {
        let answer = self.model_service().add_model(request).await?.into_inner();
        answer
            .model
            .ok_or(Error::Contract("a model was added and is not told"))
    }

    /// Forgets a name that [`Client::add_model`] gave.
    pub async fn remove_model(&self, model: &str) -> Result<v1::RemoveModelResponse> {
        let request = v1::RemoveModelRequest {
            model: model.to_owned(),
        };
        Ok(self
            .model_service()
            .remove_model(request)
            .await?
            .into_inner())
    }

    /// Loads a model (`None`: the default) and keeps it resident. `model_config` and `model_parts`: as in [`GenerateRequest`].
    pub async fn load(
        &self,
        model: Option<&str>,
        model_config: Option<&str>,
        model_parts: Vec<ModelPart>,
        keep_alive: Option<KeepAlive>,
        precision: Precision,
    ) -> Result<Loading> {
        let request = LoadModelRequest {
            model: model.unwrap_or_default().to_owned(),
            model_config: model_config.unwrap_or_default().to_owned(),
            model_parts,
            keep_alive: keep_alive.map(Into::into),
            precision: precision.into(),
        };
        let stream = self.model_service().load_model(request).await?.into_inner();
        Ok(Loading { stream })
    }

    /// Frees a model's memory; `false` when it was not loaded.
    pub async fn unload(&self, model: &str) -> Result<bool> {
        let request = UnloadModelRequest {
            model: model.to_owned(),
        };
        Ok(self
            .model_service()
            .unload_model(request)
            .await?
            .into_inner()
            .was_loaded)
    }

    /// Samplers and schedules, and which go together.
    pub async fn samplers(&self) -> Result<v1::ListSamplersResponse> {
        Ok(self
            .model_service()
            .list_samplers(ListSamplersRequest {})
            .await?
            .into_inner())
    }

    /// How the daemon is.
    pub async fn status(&self) -> Result<v1::GetStatusResponse> {
        let mut daemon = DaemonServiceClient::new(self.link.clone());
        Ok(daemon.get_status(GetStatusRequest {}).await?.into_inner())
    }

    /// Asks the daemon to end, `force` without finishing its work, and waits until it has.
    ///
    /// Fails with [`Error::Silent`] when it is still there after 45 s.
    pub async fn shutdown(&self, force: bool) -> Result<()> {
        let mut daemon = DaemonServiceClient::new(self.link.clone());
        let status = self.status().await?;
        let request = ShutdownRequest {
            force,
            if_idle: false,
        };
        match timeout(Duration::from_secs(10), daemon.shutdown(request)).await {
            Ok(Ok(_)) => {}
            // It was quicker than its answer.
            Ok(Err(status)) if matches!(Error::from(status.clone()), Error::Lost(_)) => {}
            Ok(Err(status)) => return Err(status.into()),
            Err(_elapsed) => {
                return Err(Error::Silent {
                    waited_secs: 10,
                    log: None,
                });
            }
        }
        let is_gone = match status.started_by() {
            // A connection would have the next one started.
            StartedBy::ServiceManager => build::wait_until_ended(status.pid).await,
            _ => build::wait_until_gone(&self.socket, status.pid).await?,
        };
        if is_gone {
            Ok(())
        } else {
            Err(Error::Silent {
                waited_secs: 45,
                log: None,
            })
        }
    }

    fn model_service(&self) -> ModelServiceClient<Link> {
        ModelServiceClient::new(self.link.clone())
    }
}

/// A model that is being loaded.
#[derive(Debug)]
pub struct Loading {
    stream: Streaming<v1::LoadModelResponse>,
}

impl Loading {
    /// Waits until the model is loaded; tells `progress` the share that is done, 0 to 1.
    pub async fn finish(mut self, mut progress: impl FnMut(f64)) -> Result<v1::LoadedModel> {
        use load_model_response::Event as Wire;
        while let Some(response) = self.stream.message().await? {
            match response.event {
                Some(Wire::Loading(loading)) => progress(loading.fraction),
                Some(Wire::Loaded(model)) => return Ok(model),
                None => {}
            }
        }
        Err(Error::Contract("the loading ended without a model"))
    }
}
