//! The verbs. To add one: its file here, and its line in [`Verb`] and [`Verb::run`].

mod attach;
mod batch;
mod completions;
mod doctor;
mod explore;
mod gateway;
mod generate;
mod get;
mod history;
mod jobs;
mod load;
mod man;
mod mcp;
mod models;
mod plan;
mod ps;
mod pull;
mod replay;
mod samplers;
mod service;
mod shutdown;
mod status;
mod unload;
mod upscale;

pub(crate) use pull::HubSettings;
pub(crate) use service::Places;

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
    /// Draw the pictures of a file of prompts, each once however often it is run
    Batch(Box<batch::Batch>),
    /// Begin many pictures, look at them on one sheet, finish the chosen ones
    Explore(Box<explore::Explore>),
    /// Make a picture again from what its file says, and compare
    Replay(Box<replay::Replay>),
    /// Make pictures larger by a network
    Upscale(Box<upscale::Upscale>),
    /// Say what a request would do: memory, time, place in the queue
    Plan(Box<plan::Plan>),
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
    /// Fetch a model from Hugging Face, or go on with one that was interrupted
    Pull(pull::Pull),
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
    /// Look at everything when something is odd, and say what to do
    Doctor(doctor::Doctor),
    /// Have systemd or launchd start the daemon, or a batch at night
    Service(service::Service),
    /// Serve OpenAI's images API and a web page over HTTP
    Gateway(gateway::Gateway),
    /// Give a language model tools that draw: a Model Context Protocol server
    Mcp(mcp::Mcp),
    /// End the daemon when its work is done
    Shutdown(shutdown::Shutdown),
    /// Print a script that completes imgctl in a shell
    Completions(completions::Completions),
    /// Write the pages of the manual
    Man(man::Man),
}

impl Verb {
    /// Reads and checks what needs no daemon: the prompt, the place of the output.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        match self {
            Self::Generate(verb) => verb.prepare(),
            Self::Batch(verb) => verb.prepare(),
            Self::Explore(verb) => verb.prepare(),
            Self::Replay(verb) => verb.prepare(),
            Self::Upscale(verb) => verb.prepare(),
            Self::Plan(verb) => verb.prepare(),
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
            Self::Upscale(verb) => verb.interrupted(),
            Self::Attach(verb) => verb.interrupted(),
            Self::Jobs(verb) => verb.interrupted(),
            Self::Pull(verb) => verb.interrupted(),
            _ => Failure::new(exit::INTERRUPTED, "interrupted"),
        }
    }

    /// Whether it sees to Ctrl-C itself, and may need a moment for it.
    pub(crate) fn sees_to_interrupts(&self) -> bool {
        matches!(self, Self::Batch(_) | Self::Explore(_))
    }

    /// Does it.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Generate(verb) => verb.run(context).await,
            Self::Batch(verb) => verb.run(context).await,
            Self::Explore(verb) => verb.run(context).await,
            Self::Replay(verb) => verb.run(context).await,
            Self::Upscale(verb) => verb.run(context).await,
            Self::Plan(verb) => verb.run(context).await,
            Self::Jobs(verb) => verb.run(context).await,
            Self::Attach(verb) => verb.run(context).await,
            Self::Get(verb) => verb.run(context).await,
            Self::History(verb) => verb.run(context).await,
            Self::Models(verb) => verb.run(context).await,
            Self::Pull(verb) => verb.run(context).await,
            Self::Samplers(verb) => verb.run(context).await,
            Self::Ps(verb) => verb.run(context).await,
            Self::Load(verb) => verb.run(context).await,
            Self::Unload(verb) => verb.run(context).await,
            Self::Status(verb) => verb.run(context).await,
            Self::Doctor(verb) => verb.run(context).await,
            Self::Service(verb) => verb.run(context).await,
            Self::Gateway(verb) => verb.run(context).await,
            Self::Mcp(verb) => verb.run(context).await,
            Self::Shutdown(verb) => verb.run(context).await,
            Self::Completions(verb) => verb.run(context).await,
            Self::Man(verb) => verb.run(context),
        }
    }
}
