//! `imgctl jobs`: what the daemon has to do, and steering it.

mod list;
mod show;
mod steer;
mod watch;

use clap::{Args, Subcommand};

use crate::{
    Context,
    failure::{Failure, exit},
};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A job is named by its id or the first digits of it, 4 at least. `-` in place of ids reads them from standard \
input, and -q prints ids alone:
  imgctl jobs -q --state failed | imgctl jobs retry -"
)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the jobs that wait or run
    #[command(visible_alias = "list")]
    Ls(list::List),
    /// Show all that is known of a job
    Show(show::Show),
    /// Watch jobs until they end
    Watch(watch::Watch),
    /// End jobs within one step; finished pictures stay
    Cancel(steer::Jobs),
    /// Stop jobs at the next step, until `resume`
    Pause(steer::Jobs),
    /// Let paused jobs go on, or say which of their held pictures to finish
    Resume(steer::Resume),
    /// Let failed or cancelled jobs make what they have not made
    Retry(steer::Jobs),
    /// Delete jobs with their pictures; nothing of them stays on the daemon's disk
    #[command(visible_alias = "delete")]
    Rm(steer::Rm),
}

impl Jobs {
    /// Reads and checks the ids.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        match &mut self.action {
            None | Some(Action::Ls(_)) => Ok(()),
            Some(Action::Show(verb)) => verb.prepare(),
            Some(Action::Watch(verb)) => verb.prepare(),
            Some(Action::Cancel(jobs) | Action::Pause(jobs) | Action::Retry(jobs)) => {
                jobs.prepare()
            }
            Some(Action::Resume(verb)) => verb.jobs.prepare(),
            Some(Action::Rm(verb)) => verb.jobs.prepare(),
        }
    }

    /// What Ctrl-C means.
    pub(super) fn interrupted(&self) -> Failure {
        match &self.action {
            Some(Action::Watch(_)) => Failure::looked_away("the jobs go on"),
            _ => Failure::new(exit::INTERRUPTED, "interrupted"),
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.action {
            None => self.list.run(context).await,
            Some(Action::Ls(verb)) => verb.run(context).await,
            Some(Action::Show(verb)) => verb.run(context).await,
            Some(Action::Watch(verb)) => verb.run(context).await,
            Some(Action::Cancel(jobs)) => {
                let cancel = async |client: &imgd_client::Client, id: &str| client.cancel(id).await;
                jobs.steer(context, cancel).await
            }
            Some(Action::Pause(jobs)) => {
                let pause = async |client: &imgd_client::Client, id: &str| client.pause(id).await;
                jobs.steer(context, pause).await
            }
            Some(Action::Retry(jobs)) => {
                let retry = async |client: &imgd_client::Client, id: &str| client.retry(id).await;
                jobs.steer(context, retry).await
            }
            Some(Action::Resume(verb)) => verb.run(context).await,
            Some(Action::Rm(verb)) => verb.run(context).await,
        }
    }
}
