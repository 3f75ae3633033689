//! The verbs. To add one: its file here, and its line in [`Verb`] and [`Verb::run`].

mod completions;
mod generate;
mod load;
mod models;
mod ps;
mod samplers;
mod shutdown;
mod status;
mod unload;

use clap::Subcommand;

use crate::{Context, failure::Failure};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Draw pictures from a prompt
    #[command(visible_alias = "gen")]
    Generate(Box<generate::Generate>),
    /// List the models that have a name, or describe one
    Models(models::Models),
    /// List samplers and schedules, and which go together
    Samplers(samplers::Samplers),
    /// List the models in memory
    Ps(ps::Ps),
    /// Load a model, so that the next picture begins at once
    Load(load::Load),
    /// Free a model's memory
    Unload(unload::Unload),
    /// Show how the daemon is
    Status(status::Status),
    /// End the daemon when its work is done
    Shutdown(shutdown::Shutdown),
    /// Print a script that completes imgctl in a shell
    Completions(completions::Completions),
}

impl Verb {
    /// Reads and checks what needs no daemon: the prompt, the place of the output.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        match self {
            Self::Generate(verb) => verb.prepare(),
            _ => Ok(()),
        }
    }

    /// Does it.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Generate(verb) => verb.run(context).await,
            Self::Models(verb) => verb.run(context).await,
            Self::Samplers(verb) => verb.run(context).await,
            Self::Ps(verb) => verb.run(context).await,
            Self::Load(verb) => verb.run(context).await,
            Self::Unload(verb) => verb.run(context).await,
            Self::Status(verb) => verb.run(context).await,
            Self::Shutdown(verb) => verb.run(context).await,
            Self::Completions(verb) => verb.run(context),
        }
    }
}

/// What a model argument means to the daemon: a folder's absolute path, or a name as it is.
///
/// A folder is what exists as one, or begins with `/`, `./`, `../`; `org/name` may be a name from the config.
fn model_name(argument: &str) -> String {
    let is_path = argument.starts_with(['/', '.']) || std::path::Path::new(argument).is_dir();
    let absolute = is_path
        .then(|| std::path::absolute(argument).ok())
        .flatten();
    match absolute.as_deref().and_then(std::path::Path::to_str) {
        Some(path) => path.to_owned(),
        None => argument.to_owned(),
    }
}

/// `--precision`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Precision {
    /// The fastest mix that keeps the picture
    Auto,
    /// float32 throughout: the reference's numbers
    F32,
}

impl From<Precision> for imgd_client::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Auto => Self::Auto,
            Precision::F32 => Self::F32,
        }
    }
}
