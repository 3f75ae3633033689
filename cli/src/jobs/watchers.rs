//! Following several jobs at once over one connection, and over the next when that is lost.

use std::{collections::BTreeMap, time::Duration};

use imgd_client::{Client, Error, JobEvent, Result};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use crate::{Context, failure::Failure};

/// Events that may wait to be shown.
const CAPACITY: usize = 256;
/// A daemon that is lost this often without a word in between is given up.
const MAX_LOSSES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// What a job's watcher says; no event when the job is at its end.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) cursor: u64,
    pub(crate) event: Option<JobEvent>,
}

type Message = (String, u64, Result<Option<JobEvent>>);

/// Jobs that are followed.
#[derive(Debug)]
pub(crate) struct Watchers<'a> {
    context: &'a Context,
    client: Client,
    /// The last event of each job that has not ended.
    cursors: BTreeMap<String, u64>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
    losses: u32,
}

impl<'a> Watchers<'a> {
    pub(crate) fn new(context: &'a Context, client: Client) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self {
            context,
            client,
            cursors: BTreeMap::new(),
            tasks: JoinSet::new(),
            sender,
            receiver,
            losses: 0,
        }
    }

    /// Follows the job `id` as well.
    pub(crate) fn add(&mut self, id: &str) {
        if !self.cursors.contains_key(id) {
            self.cursors.insert(id.to_owned(), 0);
            self.spawn(id.to_owned(), 0);
        }
    }

    /// Whether no job is left that could say something.
    pub(crate) fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// The client that is connected now.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the next job says that says something. Waits for ever where there is none.
    ///
    /// After a failure [`Watchers::recover`] may help.
    pub(crate) async fn next(&mut self) -> Result<Told> {
        let Some((id, cursor, outcome)) = self.receiver.recv().await else {
            unreachable!("this has a sender itself")
        };
        let event = outcome?;
        self.losses = 0;
        if event.is_some() {
            self.cursors.insert(id.clone(), cursor);
        } else {
            self.cursors.remove(&id);
        }
        Ok(Told { id, cursor, event })
    }

    /// Finds the next daemon after `error` and follows all jobs there; fails where that does not help.
    pub(crate) async fn recover(&mut self, error: Error) -> Result<(), Failure> {
        if !matches!(error, Error::Lost(_)) || self.losses == MAX_LOSSES {
            return Err(error.into());
        }
        self.losses += 1;
        self.tasks.abort_all();
        (self.sender, self.receiver) = mpsc::channel(CAPACITY);
        sleep(PAUSE * self.losses).await;
        self.client = Client::connect(self.context.connect.clone()).await?;
        for (id, cursor) in self.cursors.clone() {
            self.spawn(id, cursor);
        }
        Ok(())
    }

    fn spawn(&mut self, id: String, cursor: u64) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        self.tasks.spawn(watch(client, id, cursor, sender));
    }
}

/// Sends what a job says, until it ends or nobody listens.
async fn watch(client: Client, id: String, cursor: u64, sender: mpsc::Sender<Message>) {
    let mut watch = match client.watch(&id, cursor).await {
        Ok(watch) => watch,
        Err(error) => {
            drop(sender.send((id, cursor, Err(error))).await);
            return;
        }
    };
    loop {
        let outcome = watch.next().await.transpose();
        let is_last = !matches!(outcome, Ok(Some(_)));
        let is_heard = sender
            .send((id.clone(), watch.cursor(), outcome))
            .await
            .is_ok();
        if is_last || !is_heard {
            return;
        }
    }
}
