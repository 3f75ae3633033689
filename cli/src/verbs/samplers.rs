//! `imgctl samplers`: solvers and noise levels, and which go together.

use clap::Args;
use imgd_client::Client;
use serde_json::json;

use crate::{Context, failure::Failure, json, table};

#[derive(Debug, Args)]
pub(crate) struct Samplers {}

impl Samplers {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let answer = client.samplers().await?;
        if context.json {
            for sampler in answer.samplers {
                let fields = json!({
                    "name": sampler.name,
                    "description": sampler.description,
                    "diffusers_class": sampler.diffusers_class,
                    "schedules": sampler.schedules,
                    "predictions": sampler.predictions,
                    "zero_snr": sampler.zero_snr,
                    "stochastic": sampler.stochastic,
                    "evaluations_per_step": sampler.evaluations_per_step,
                });
                context
                    .terminal
                    .line(&json::object("sampler", fields).to_string())?;
            }
            for schedule in answer.schedules {
                let fields = json!({ "name": schedule.name, "description": schedule.description });
                context
                    .terminal
                    .line(&json::object("schedule", fields).to_string())?;
            }
            return Ok(());
        }
        let mut rows = vec![row([
            "SAMPLER",
            "EVALS",
            "NOISE",
            "SCHEDULES",
            "DESCRIPTION",
        ])];
        let schedule_count = answer.schedules.len();
        for sampler in answer.samplers {
            let schedules = match sampler.schedules.len() {
                0 => "own".to_owned(),
                count if count == schedule_count => "all".to_owned(),
                _ => sampler.schedules.join(" "),
            };
            let evaluations = sampler.evaluations_per_step.to_string();
            let noise = if sampler.stochastic { "yes" } else { "" };
            rows.push(row([
                &sampler.name,
                &evaluations,
                noise,
                &schedules,
                &sampler.description,
            ]));
        }
        let mut lines = table::lines(&rows);
        lines.push(String::new());
        let mut rows = vec![row(["SCHEDULE", "DESCRIPTION"])];
        rows.extend(
            answer
                .schedules
                .iter()
                .map(|it| row([&it.name, &it.description])),
        );
        lines.extend(table::lines(&rows));
        context.terminal.line(&lines.join("\n"))
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
