//! `imgctl load`: loads a model before it is needed.

use clap::Args;
use imgd_client::{Client, KeepAlive, ModelPart};

use super::ps;
use crate::{
    Context, durations,
    failure::Failure,
    json,
    picture_args::{Precision, absolute, model_name, part},
    progress::Progress,
    table,
};

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// A name from `imgctl models`, or a diffusers folder [default: the daemon's default]
    #[arg(value_name = "NAME|PATH")]
    model: Option<String>,
    /// Diffusers folder with what a single file lacks
    #[arg(long, value_name = "DIR", requires = "model")]
    config: Option<String>,
    /// A part's weights from a file of its own, safetensors or GGUF: vae=FILE, transformer=FILE…; may be repeated
    #[arg(long = "part", value_name = "PART=NAME|FILE", value_parser = part)]
    parts: Vec<ModelPart>,
    /// Keep it in memory when idle: 5m, 300 (seconds), 0 unloads at once, -1 never [default: the daemon's]
    #[arg(long, value_name = "TIME", value_parser = durations::keep_alive, allow_hyphen_values = true)]
    keep_alive: Option<KeepAlive>,
    /// Number format of the computation
    #[arg(long, value_enum, default_value_t = Precision::Auto, hide_possible_values = true, value_name = "auto|f32|bf16")]
    precision: Precision,
}

impl Load {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let name = self.model.as_deref().map(model_name);
        let config = self.config.as_deref().map(absolute);
        let loading = client
            .load(
                name.as_deref(),
                config.as_deref(),
                self.parts,
                self.keep_alive,
                self.precision.into(),
            )
            .await?;
        let draws = context.terminal.draws_progress() && !context.quiet && !context.json;
        let mut progress = Progress::new(draws);
        let shown = name.as_deref().unwrap_or("the default model");
        let model = loading
            .finish(|fraction| progress.loading(shown, fraction))
            .await?;
        progress.clear();
        if context.json {
            let object = json::object("loaded_model", json::loaded_model(&model));
            return context.terminal.line(&object.to_string());
        }
        context
            .terminal
            .line(&table::lines(&ps::rows(&[model])).join("\n"))
    }
}
