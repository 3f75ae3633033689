//! `imgctl jobs cancel`, `pause`, `resume`, `retry`, `rm`: the same for one job after another.
//!
//! One that fails does not keep the others from it; the last failure decides the exit status.

use clap::Args;
use imgd_client::{Client, Reason, v1::Job};
use serde_json::json;

use crate::{
    Context,
    failure::Failure,
    jobs::{indices::Indices, objects, which, words},
    json,
};

/// Some jobs.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Jobs: their ids, or the first digits of them; `-` reads them from standard input
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  imgctl jobs resume 1f3a9c0d --images 0,3,5-7")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(super) jobs: Jobs,
    /// Finish these held pictures, counted from 0, and drop the others [default: all]
    #[arg(long, short, value_name = "N,N-N")]
    images: Option<Indices>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    #[command(flatten)]
    pub(super) jobs: Jobs,
    /// Cancel jobs first that have not ended
    #[arg(long, short)]
    force: bool,
}

impl Jobs {
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.ids = which::read(&self.ids)?;
        Ok(())
    }

    /// Does `act` to each and says how it is then.
    pub(super) async fn steer(
        &self,
        context: &Context,
        act: impl AsyncFn(&Client, &str) -> imgd_client::Result<Job>,
    ) -> Result<(), Failure> {
        let say = async |client: &Client, id: &str| {
            let job = act(client, id).await?;
            let text = match (context.json, context.quiet) {
                (true, _) => objects::job(&job).to_string(),
                (false, true) => job.id.clone(),
                (false, false) => format!("{}  {}", words::short_id(&job.id), words::state(&job)),
            };
            context.terminal.line(&text)
        };
        self.each(context, say).await
    }

    async fn each(
        &self,
        context: &Context,
        act: impl AsyncFn(&Client, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let mut last: Option<Failure> = None;
        for id in &self.ids {
            match act(&client, id).await {
                Ok(()) => {}
                Err(failure) if failure.is_broken_pipe => return Err(failure),
                Err(failure) => {
                    if let Some(failure) = last.replace(failure) {
                        context.terminal.fail(&failure, context.json);
                    }
                }
            }
        }
        last.map_or(Ok(()), Err)
    }
}

impl Resume {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let images = self.images.map(|images| images.to_vec());
        let images = images.unwrap_or_default();
        let resume = async |client: &Client, id: &str| client.resume(id, &images).await;
        self.jobs.steer(context, resume).await
    }
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let delete = async |client: &Client, id: &str| {
            // Asked first: the answer to a deletion does not say the whole id.
            let id = client.job(id).await?.id;
            client.delete(&id, self.force).await.map_err(|error| {
                let is_active = error.reason() == Reason::JobState;
                let failure = Failure::from(error);
                match is_active {
                    true => failure.hint("--force cancels it first"),
                    false => failure,
                }
            })?;
            let text = match (context.json, context.quiet) {
                (true, _) => json::object("deleted", json!({ "job_id": id })).to_string(),
                (false, true) => id,
                (false, false) => format!("{}  deleted", words::short_id(&id)),
            };
            context.terminal.line(&text)
        };
        self.jobs.each(context, delete).await
    }
}
