//! `imgctl models`: what can be drawn with.

mod add;
mod known;
mod remove;
mod verify;

use clap::{Args, Subcommand};
use imgd_client::{Client, ModelPart, v1};
use imgd_models::HubCache;
use serde_json::json;

use crate::{
    Context,
    failure::{Failure, exit},
    json,
    picture_args::{absolute, model_name, part},
    table,
};

#[derive(Debug, Args)]
pub(crate) struct Models {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models that have a name
    #[command(visible_alias = "ls")]
    List,
    /// Describe a model without loading it
    Show {
        /// A name from `imgctl models`, or a diffusers folder [default: the daemon's default]
        #[arg(value_name = "NAME|PATH")]
        model: Option<String>,
        /// Diffusers folder with what a single file lacks
        #[arg(long, value_name = "DIR", requires = "model")]
        config: Option<String>,
        /// A part's weights from a file of its own: vae=FILE, transformer=NAME…; may be repeated
        #[arg(long = "part", value_name = "PART=NAME|FILE", value_parser = part)]
        parts: Vec<ModelPart>,
    },
    /// Give a model at its place a name; nothing is copied
    Add(add::Add),
    /// List the models that `imgctl pull` takes by name
    Known,
    /// Say what one of them may be used for
    #[command(visible_alias = "license")]
    Licence {
        /// A name from `imgctl models known`
        #[arg(value_name = "NAME")]
        model: String,
    },
    /// Hash the files of a pulled model, and compare with what they should be
    Verify {
        /// As `imgctl pull` takes it
        #[arg(value_name = "NAME|hf:ORG/REPO")]
        model: String,
    },
    /// Take a name back that `models add` gave, or delete a pulled model from the cache
    #[command(name = "rm")]
    Remove {
        /// A name that was added, or as `imgctl pull` takes it
        #[arg(value_name = "NAME|hf:ORG/REPO")]
        model: String,
        /// Delete a pulled model; else it is said what would go
        #[arg(long, short)]
        yes: bool,
    },
}

impl Models {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let connect = || Client::connect(context.connect.clone());
        match self.action {
            None | Some(Action::List) => list(&connect().await?, context).await,
            Some(Action::Show {
                model,
                config,
                parts,
            }) => {
                let request = v1::GetModelRequest {
                    model: model.as_deref().map(model_name).unwrap_or_default(),
                    model_config: config.as_deref().map(absolute).unwrap_or_default(),
                    model_parts: parts,
                };
                show(&connect().await?.describe_model(request).await?, context)
            }
            Some(Action::Add(add)) => add.run(&connect().await?, context).await,
            Some(Action::Known) => known::list(context),
            Some(Action::Licence { model }) => known::licence(&model, context),
            Some(Action::Verify { model }) => verify::verify(&model, context),
            Some(Action::Remove { model, yes }) if is_pulled_by(&model) => {
                remove::remove(&model, yes, context)
            }
            Some(Action::Remove { model, .. }) => {
                add::remove(&model, &connect().await?, context).await
            }
        }
    }
}

/// Whether `imgctl pull` takes the name: no other model may be called so by `models add`.
fn is_pulled_by(name: &str) -> bool {
    name.starts_with("hf:") || imgd_models::entry(name).is_some()
}

/// A model that the cache does not have.
fn not_pulled(name: &str, cache: &HubCache) -> Failure {
    let root = cache.root().display();
    Failure::new(exit::FAILED, format!("`{name}` is not in {root}"))
        .hint(format!("`imgctl pull {name}` fetches it"))
}

async fn list(client: &Client, context: &Context) -> Result<(), Failure> {
    let list = client.models().await?;
    if context.json {
        for model in &list.models {
            let fields = json!({
                "name": model.name,
                "path": model.path,
                "is_default": model.is_default,
                "is_loaded": model.is_loaded,
                "origin": model.origin,
                "family": model.family,
                "lacks": model.lacks,
                "aliases": model.aliases,
            });
            context
                .terminal
                .line(&json::object("model", fields).to_string())?;
        }
        for notice in &list.notices {
            let object = json::notice(&notice.reason, &notice.message, &notice.field);
            context.terminal.line(&object.to_string())?;
        }
        return Ok(());
    }
    let mut rows = vec![
        ["NAME", "FROM", "STATE", "PATH"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for model in list.models {
        let states = [
            (model.is_default, "default"),
            (model.is_loaded, "loaded"),
            (!model.lacks.is_empty(), "needs --config"),
        ];
        let states = states.into_iter().filter(|(is_so, _)| *is_so);
        let state = states
            .map(|(_, state)| state)
            .collect::<Vec<_>>()
            .join(", ");
        let path = if model.path.is_empty() {
            "(inside imgd)".into()
        } else {
            model.path
        };
        rows.push(vec![model.name, model.origin, state, path]);
    }
    context.terminal.line(&table::lines(&rows).join("\n"))?;
    for notice in list.notices {
        context.terminal.notice(&notice.message);
    }
    Ok(())
}

fn show(model: &v1::Model, context: &Context) -> Result<(), Failure> {
    let defaults = model.defaults.clone().unwrap_or_default();
    if context.json {
        let components = model.components.iter().map(|part| {
            json!({
                "name": part.name,
                "class": part.class,
                "parameter_count": part.parameter_count,
                "dtype": part.dtype,
            })
        });
        let fields = json!({
            "name": model.name,
            "path": model.path,
            "aliases": model.aliases,
            "config": model.model_config,
            "negative_prompt": model.negative_prompt,
            "family": model.family,
            "pipeline_class": model.pipeline_class,
            "parameter_count": model.parameter_count,
            "weights_bytes": model.weights_bytes,
            "memory_bytes": model.memory_bytes,
            "size_multiple_px": model.size_multiple_px,
            "prompt_positions": model.prompt_positions,
            "defaults": json::settings(&defaults),
            "components": components.collect::<Vec<_>>(),
        });
        return context
            .terminal
            .line(&json::object("model", fields).to_string());
    }
    let path = if model.path.is_empty() {
        "(inside imgd)"
    } else {
        &model.path
    };
    let steps = format!("{} of {}", defaults.num_inference_steps, defaults.sampler);
    let or_none = |text: String| Some(text).filter(|text| !text.is_empty());
    let rows = [
        ("model", Some(model.name.clone())),
        ("path", Some(path.to_owned())),
        ("also", or_none(model.aliases.join(", "))),
        ("config", or_none(model.model_config.clone())),
        ("avoids", model.negative_prompt.clone()),
    ];
    let rows = rows
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let rows = rows.chain([
        (
            "family",
            format!("{} ({})", model.family, model.pipeline_class),
        ),
        ("parameters", table::count(model.parameter_count)),
        (
            "weights",
            format!("{} on disk", table::size(model.weights_bytes)),
        ),
        (
            "memory",
            format!("about {}", table::size(model.memory_bytes)),
        ),
        (
            "size",
            format!(
                "{}x{}, multiples of {} px",
                defaults.width_px, defaults.height_px, model.size_multiple_px
            ),
        ),
        (
            "steps",
            format!(
                "{steps}, schedule {}, {}",
                if defaults.schedule.is_empty() {
                    "own"
                } else {
                    &defaults.schedule
                },
                defaults.prediction
            ),
        ),
        ("guidance", format!("{}", defaults.guidance_scale)),
        (
            "prompt",
            format!("up to {} tokens", model.prompt_positions.saturating_sub(2)),
        ),
    ]);
    let rows: Vec<_> = rows
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    let mut lines = table::lines(&rows);
    let parts: Vec<_> = model
        .components
        .iter()
        .map(|part| {
            vec![
                format!("  {}", part.name),
                part.class.clone(),
                table::count(part.parameter_count),
                part.dtype.clone(),
            ]
        })
        .collect();
    lines.push("parts".into());
    lines.extend(table::lines(&parts));
    context.terminal.line(&lines.join("\n"))
}
