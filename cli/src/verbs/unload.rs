//! `imgctl unload`: frees a model's memory.

use clap::Args;
use imgd_client::Client;
use serde_json::json;

use crate::{Context, failure::Failure, json, picture_args::model_name};

#[derive(Debug, Args)]
#[command(visible_alias = "stop")]
pub(crate) struct Unload {
    /// A name from `imgctl ps`, or a diffusers folder
    #[arg(value_name = "NAME|PATH")]
    model: String,
}

impl Unload {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect_running()).await?;
        let name = model_name(&self.model);
        let was_loaded = client.unload(&name).await?;
        if context.json {
            let fields = json!({ "model": name, "was_loaded": was_loaded });
            return context
                .terminal
                .line(&json::object("unloaded", fields).to_string());
        }
        if !was_loaded && !context.quiet {
            context.terminal.note(&format!("`{name}` was not loaded"));
        }
        Ok(())
    }
}
