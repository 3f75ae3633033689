//! Following a job to its end, over the end of a daemon too.

use std::time::Duration;

use imgd_client::{Client, Error, JobEvent, Reason, Result, Watch};
use tokio::time::sleep;

use super::words;
use crate::{Context, failure::Failure, progress::Progress};

/// A daemon that is lost this often without a word in between is given up.
const MAX_LOSSES: u32 = 5;
/// Pause before a daemon that was lost is looked for again; longer each time.
const PAUSE: Duration = Duration::from_millis(200);

/// A job that is followed. When the daemon is lost, the next one is asked from the last event on: it takes the job up
/// where it was saved.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    context: &'a Context,
    client: Client,
    id: String,
    cursor: u64,
    /// None after a loss.
    watch: Option<Watch>,
    losses: u32,
    is_quiet: bool,
}

impl<'a> Follower<'a> {
    /// Follows the job `id` from its beginning.
    pub(crate) fn new(context: &'a Context, client: Client, id: &str) -> Self {
        Self {
            context,
            client,
            id: id.to_owned(),
            cursor: 0,
            watch: None,
            losses: 0,
            is_quiet: context.quiet,
        }
    }

    /// Says nothing of a daemon that was lost: a table stands where the words would, or many followers would say it.
    pub(crate) fn quietly(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// Lets go of the daemon until the next event is asked for: a person is thinking.
    pub(crate) fn let_go(&mut self) {
        self.watch = None;
    }

    /// The cursor of the last event.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next event; `None` when the job is at its end and all is told. Takes `progress` away while it looks for a
    /// daemon.
    pub(crate) async fn next(
        &mut self,
        progress: &mut Progress,
    ) -> Result<Option<JobEvent>, Failure> {
        loop {
            let outcome = self.try_next().await;
            match outcome {
                Ok(event) => {
                    self.losses = 0;
                    return Ok(event);
                }
                Err(error) => self.recover(error, progress).await?,
            }
        }
    }

    /// Asks the daemon that is there now, and the next where it is lost meanwhile.
    pub(crate) async fn call<T>(
        &mut self,
        progress: &mut Progress,
        call: impl AsyncFn(&Client) -> Result<T>,
    ) -> Result<T, Failure> {
        loop {
            match call(&self.client).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.recover(error, progress).await?,
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<JobEvent>> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => none.insert(self.client.watch(&self.id, self.cursor).await?),
        };
        let event = watch.next().await.transpose()?;
        self.cursor = watch.cursor();
        Ok(event)
    }

    /// Finds the next daemon after `error`; fails where that does not help.
    async fn recover(&mut self, error: Error, progress: &mut Progress) -> Result<(), Failure> {
        progress.rest();
        if error.reason() == Reason::Draining {
            let id = words::short_id(&self.id);
            let hint = format!("the job is kept; `imgctl attach {id}` goes on with it");
            return Err(Failure::from(error).hint(hint));
        }
        if !matches!(error, Error::Lost(_)) || self.losses == MAX_LOSSES {
            return Err(error.into());
        }
        if self.losses == 0 && !self.is_quiet {
            let text = "the connection to imgd was lost; going on with the next one";
            self.context.terminal.note(text);
        }
        self.losses += 1;
        self.watch = None;
        sleep(PAUSE * self.losses).await;
        self.client = Client::connect(self.context.connect.clone()).await?;
        Ok(())
    }
}
