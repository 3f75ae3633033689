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
