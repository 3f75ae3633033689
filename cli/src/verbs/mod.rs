//! The verbs. To add one: its file here, and its line in [`Verb`] and [`Verb::run`].

mod attach;
mod completions;
mod generate;
mod get;
mod history;
mod jobs;
mod load;
mod models;
mod ps;
mod samplers;
mod shutdown;
mod status;
mod unload;

use clap::Subcommand;

use crate::{
    Context,
    failure::{Failure, exit},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Draw pictures from a prompt
    #[command(visible_alias = "gen")]
    Generate(Box<generate::Generate>),
    /// List jobs, and steer them
    Jobs(jobs::Jobs),
    /// Follow a job and write its pictures
    Attach(attach::Attach),
    /// Write the finished pictures of a job
    Get(get::Get),
    /// List the jobs that have ended, with what they were made with
    History(history::History),
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
            Self::Jobs(verb) => verb.prepare(),
            Self::Attach(verb) => verb.prepare(),
            Self::Get(verb) => verb.prepare(),
            _ => Ok(()),
        }
    }

    /// What to say when Ctrl-C ends it.
    pub(crate) fn interrupted(&self) -> Failure {
        match self {
            Self::Generate(verb) => verb.interrupted(),
            Self::Attach(verb) => verb.interrupted(),
            Self::Jobs(verb) => verb.interrupted(),
            _ => Failure::new(exit::INTERRUPTED, "interrupted"),
        }
    }

    /// Does it.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Generate(verb) => verb.run(context).await,
            Self::Jobs(verb) => verb.run(context).await,
            Self::Attach(verb) => verb.run(context).await,
            Self::Get(verb) => verb.run(context).await,
            Self::History(verb) => verb.run(context).await,
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
