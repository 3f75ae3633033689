//! ModelService: the models, and what they can be asked.

use std::{collections::BTreeSet, sync::Arc};

use imgd_proto::{
    limits,
    v1::{self, model_service_server::ModelService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{
    adding, client, deadline,
    names::{ADDED, Names, with_files},
    order::keep_alive,
    parts, pump, samplers, upscalers,
};
use crate::{
    engine::{ModelKey, Place},
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
        let ((listed, troubles), upscalers) = blocking(move || {
            let upscalers = upscalers::list(&names.upscaler_dir, &names.found);
            Ok((names.list(), upscalers))
        })
        .await?;
        let models = listed.into_iter().map(|model| v1::ModelSummary {
            path: path(&model.key),
            is_default: model.is_default,
            is_loaded: loaded.contains(model.key.name.as_str()),
            name: model.key.name,
            origin: model.origin.to_owned(),
            family: model.family.to_owned(),
            lacks: model.lacks.into_iter().map(str::to_owned).collect(),
            aliases: model.aliases,
        });
        let notices = troubles.into_iter().map(|message| v1::Notice {
            reason: "models_unread".to_owned(),
            message,
            field: String::new(),
        });
        let upscalers = upscalers.into_iter().map(|key| v1::ModelSummary {
            path: path(&key),
            is_loaded: loaded.contains(key.name.as_str()),
            name: key.name,
            ..v1::ModelSummary::default()
        });
        Ok(Response::new(v1::ListModelsResponse {
            models: models.collect(),
            notices: notices.collect(),
            upscalers: upscalers.collect(),
        }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let mut request = request.into_inner();
        limits::validate_get_model(&request).map_err(Failure::from)?;
        parts::find(&mut request.model_parts, &self.names.found)?;
        let resolved = self.names.resolve(&request.model)?;
        let key = with_files(resolved.key, &request.model_config, &request.model_parts)?;
        let mut model = self.scheduler.describe(key.clone()).await?;
        model.path = path(&key);
        if let Some(defaults) = &mut model.defaults {
            resolved.preset.show(defaults);
        }
        model.aliases = resolved.aliases;
        model.negative_prompt = resolved.preset.negative_prompt;
        if let Place::Configured {
            config: Some(config),
            ..
        } = &key.place
        {
            model.model_config = config.display().to_string();
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
        // An upscaler takes memory as a model does.
        let key = self.names.model(&request.model).or_else(|failure| {
            let (folder, found) = (&self.names.upscaler_dir, &self.names.found);
            let key = upscalers::find(&request.model, folder, found);
            key.ok().ok_or(failure)
        })?;
        let was_loaded = self.scheduler.unload(key).await?;
        Ok(Response::new(v1::UnloadModelResponse { was_loaded }))
    }

    async fn add_model(
        &self,
        request: Request<v1::AddModelRequest>,
    ) -> Result<Response<v1::AddModelResponse>, Status> {
        let request = request.into_inner();
        limits::validate_add_model(&request).map_err(Failure::from)?;
        let (name, model) = adding::check(&request, &self.names)?;
        let key = adding::key(&name, &request);
        let described = self.scheduler.describe(key.clone()).await?;
        let aliases = model.aliases.clone();
        let added = self.names.added.clone();
        let written = name.clone();
        blocking(move || added.insert(&written, model)).await?;
        Ok(Response::new(v1::AddModelResponse {
            model: Some(v1::ModelSummary {
                path: path(&key),
                is_default: self
                    .names
                    .model("")
                    .is_ok_and(|default| default.name == name),
                is_loaded: false,
                origin: ADDED.to_owned(),
                family: described.family,
                lacks: Vec::new(),
                aliases,
                name,
            }),
        }))
    }

    async fn remove_model(
        &self,
        request: Request<v1::RemoveModelRequest>,
    ) -> Result<Response<v1::RemoveModelResponse>, Status> {
        let (name, path) = adding::removable(&request.into_inner().model, &self.names)?;
        let added = self.names.added.clone();
        let removed = name.clone();
        blocking(move || added.remove(&removed)).await?;
        Ok(Response::new(v1::RemoveModelResponse { name, path }))
    }

    async fn list_samplers(
        &self,
        _: Request<v1::ListSamplersRequest>,
    ) -> Result<Response<v1::ListSamplersResponse>, Status> {
        Ok(Response::new(samplers::list()))
    }
}

/// Does on a thread of its own what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Failure::new(
            Reason::Internal,
            format!("models were not looked at: {error}"),
        ))
    })
}

fn path(key: &ModelKey) -> String {
    let file = key.place.file();
    file.map_or_else(String::new, |file| file.display().to_string())
}
