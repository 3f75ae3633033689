//! `imgctl ps`: the models in memory.

use std::time::Duration;

use clap::Args;
use imgd_client::{
    Client,
    v1::{LoadedModel, Precision},
};

use crate::{Context, durations, failure::Failure, json, table};

#[derive(Debug, Args)]
pub(crate) struct Ps {}

impl Ps {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let status = Client::connect(context.connect_running())
            .await?
            .status()
            .await?;
        if context.json {
            for model in &status.models {
                let object = json::object("loaded_model", json::loaded_model(model));
                context.terminal.line(&object.to_string())?;
            }
            return Ok(());
        }
        context
            .terminal
            .line(&table::lines(&rows(&status.models)).join("\n"))?;
        if status.models.is_empty() && !context.quiet {
            let text = "no model is in memory; `imgctl load` or the next picture reads one";
            context.terminal.note(text);
        }
        Ok(())
    }
}

/// Ollama's columns.
pub(super) fn rows(models: &[LoadedModel]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["NAME", "ID", "SIZE", "PROCESSOR", "UNTIL"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for model in models {
        let id = model.model_hash.get(..12).unwrap_or(&model.model_hash);
        rows.push(vec![
            model.name.clone(),
            id.to_owned(),
            table::size(model.memory_bytes),
            processor(model),
            until(model),
        ]);
    }
    rows
}

/// Where it computes, and in which numbers if somebody chose them: a model that is there twice is told apart.
fn processor(model: &LoadedModel) -> String {
    let device = format!("100% {}", model.device.to_uppercase());
    match model.precision() {
        Precision::Unspecified | Precision::Auto => device,
        chosen => format!("{device} {}", json::precision_name(chosen)),
    }
}

fn until(model: &LoadedModel) -> String {
    match model.expires_in.map(Duration::try_from) {
        None => "Forever".into(),
        Some(Ok(left)) if !left.is_zero() => format!("{} from now", durations::rough(left)),
        Some(_) => "Stopping...".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ollamas() {
        let model = LoadedModel {
            name: "starter".into(),
            model_hash: "0123456789abcdef".into(),
            memory_bytes: 118_000_000,
            device: "cpu".into(),
            expires_in: Some(prost_types::Duration {
                seconds: 299,
                nanos: 0,
            }),
            precision: 0,
        };
        let forever = LoadedModel {
            expires_in: None,
            ..model.clone()
        };
        assert_eq!(
            table::lines(&rows(&[model, forever])),
            [
                "NAME     ID            SIZE    PROCESSOR  UNTIL",
                "starter  0123456789ab  118 MB  100% CPU   4 minutes from now",
                "starter  0123456789ab  118 MB  100% CPU   Forever",
            ]
        );
    }

    #[test]
    fn a_model_that_is_there_twice_is_told_apart() {
        let [plain, f32] = [Precision::Auto, Precision::F32].map(|precision| LoadedModel {
            device: "cpu".into(),
            precision: precision.into(),
            ..LoadedModel::default()
        });
        let column: Vec<_> = rows(&[plain, f32])
            .into_iter()
            .map(|row| row[3].clone())
            .collect();
        assert_eq!(column, ["PROCESSOR", "100% CPU", "100% CPU f32"]);
    }
}
