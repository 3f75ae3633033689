//! ModelService: the models, and what they can be asked.

use std::{collections::BTreeSet, sync::Arc};

use imgd_proto::{
    limits,
    v1::{self, model_service_server::ModelService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{
    client, deadline, known,
    names::{Names, with_files},
    order::keep_alive,
    parts, pump, samplers,
};
use crate::{
    engine::ModelKey,
    failure::{Failure, Reason},
    scheduler::{Lifetime, Order, Scheduler, Work},
};

/// The service.
#[derive(Debug, Clone)]
pub struct ModelApi {
    /// Does the work.
    pub scheduler: Scheduler,
    /// Knows the models.
    pub names: Arc<Names>,
}

#[tonic::async_trait]
impl ModelService for ModelApi {
    type LoadModelStream = pump::Stream<v1::LoadModelResponse>;

    async fn list_models(
        &self,
        _: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let snapshot = self.scheduler.snapshot().await?;
        let loaded: BTreeSet<_> = snapshot
            .models
            .iter()
            .map(|model| model.name.as_str())
            .collect();
        let names = Arc::clone(&self.names);
        let listing = tokio::task::spawn_blocking(move || names.list()).await;
        let (listed, troubles) = listing.map_err(|error| {
            Failure::new(
                Reason::Internal,
                format!("the list of models was not made: {error}"),
            )
        })?;
        let models = listed.into_iter().map(|model| v1::ModelSummary {
            path: path(&model.key),
            is_default: model.is_default,
            is_loaded: loaded.contains(model.key.name.as_str()),
            name: model.key.name,
            origin: model.origin.to_owned(),
            family: model.family.to_owned(),
            lacks: model.lacks.into_iter().map(str::to_owned).collect(),
        });
        let notices = troubles.into_iter().map(|message| v1::Notice {
            reason: "models_unread".to_owned(),
            message,
            field: String::new(),
        });
        Ok(Response::new(v1::ListModelsResponse {
            models: models.collect(),
            notices: notices.collect(),
        }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let key = self.names.model(&request.into_inner().model)?;
        let mut model = self.scheduler.describe(key.clone()).await?;
        model.path = path(&key);
        if let (Some(entry), Some(defaults)) = (self.names.entry(&key), &mut model.defaults) {
            known::show(defaults, &entry.defaults);
        }
        model.name = key.name;
        Ok(Response::new(v1::GetModelResponse { model: Some(model) }))
    }

    async fn load_model(
        &self,
        request: Request<v1::LoadModelRequest>,
    ) -> Result<Response<Self::LoadModelStream>, Status> {
        let now = Instant::now();
        let time = deadline::from_headers(request.metadata().as_ref());
        let client = client::of(&request)?;
        let mut request = request.into_inner();
        limits::validate_load(&request).map_err(Failure::from)?;
        parts::find(&mut request.model_parts, &self.names.found)?;
        let order = Order {
            model: with_files(
                self.names.model(&request.model)?,
                &request.model_config,
                &request.model_parts,
            )?
            .with_precision(request.precision()),
            work: Work::Load,
            keep_alive: keep_alive(request.keep_alive.as_ref())?,
            priority: v1::Priority::Interactive,
            request_id: String::new(),
            lifetime: Lifetime::Attached,
            is_private: true,
            client,
        };
        let (_, events) = self.scheduler.submit(order).await?.own()?;
        Ok(Response::new(pump::loading(
            events,
            time.and_then(|time| now.checked_add(time)),
        )))
    }

    async fn unload_model(
        &self,
        request: Request<v1::UnloadModelRequest>,
    ) -> Result<Response<v1::UnloadModelResponse>, Status> {
        let request = request.into_inner();
        if request.model.is_empty() {
            return Err(Failure::invalid("model", "model is required")
                .with_hint("`imgctl ps` lists what is loaded")
                .to_status());
        }
        let key = self.names.model(&request.model)?;
        let was_loaded = self.scheduler.unload(key).await?;
        Ok(Response::new(v1::UnloadModelResponse { was_loaded }))
    }

    async fn list_samplers(
        &self,
        _: Request<v1::ListSamplersRequest>,
    ) -> Result<Response<v1::ListSamplersResponse>, Status> {
        Ok(Response::new(samplers::list()))
    }
}

fn path(key: &ModelKey) -> String {
    let file = key.place.file();
    file.map_or_else(String::new, |file| file.display().to_string())
}
