//! `imgctl models add`, and `rm` for what was added: names that the daemon keeps for models at their places.

use clap::Args;
use imgd_client::{Client, v1};
use serde_json::json;

use crate::{Context, failure::Failure, json, picture_args::absolute};

#[derive(Debug, Args)]
pub(super) struct Add {
    /// A diffusers folder, or a safetensors or GGUF file
    #[arg(value_name = "PATH")]
    path: String,
    /// The model's name [default: that of the file without its ending]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Another name; may be repeated
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Diffusers folder with what a single file lacks
    #[arg(long, value_name = "DIR")]
    config: Option<String>,
}

impl Add {
    pub(super) async fn run(self, client: &Client, context: &Context) -> Result<(), Failure> {
        let request = v1::AddModelRequest {
            path: absolute(&self.path),
            name: self.name.unwrap_or_default(),
            aliases: self.aliases,
            model_config: self.config.as_deref().map(absolute).unwrap_or_default(),
        };
        let model = client.add_model(request).await?;
        if context.json {
            let fields = json!({
                "name": model.name,
                "path": model.path,
                "origin": model.origin,
                "family": model.family,
                "aliases": model.aliases,
            });
            let object = json::object("added_model", fields);
            return context.terminal.line(&object.to_string());
        }
        let aliases: Vec<_> = model
            .aliases
            .iter()
            .map(|alias| format!("`{alias}`"))
            .collect();
        let also = if aliases.is_empty() {
            String::new()
        } else {
            format!(", also {}", aliases.join(", "))
        };
        let text = format!("added `{}`{also}: {}", model.name, model.path);
        context.terminal.line(&text)
    }
}

/// Takes a name back. The model's files stay.
pub(super) async fn remove(name: &str, client: &Client, context: &Context) -> Result<(), Failure> {
    let removed = client.remove_model(name).await?;
    if context.json {
        let fields = json!({ "model": removed.name, "path": removed.path, "freed_bytes": 0 });
        let object = json::object("removed_model", fields);
        return context.terminal.line(&object.to_string());
    }
    let text = format!(
        "`{}` is no name any more; {} stays where it is",
        removed.name, removed.path
    );
    context.terminal.line(&text)
}
