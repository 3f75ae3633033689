//! The thread that reads: history is listed beside the writer, and no commit waits for it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use imgd_proto::errors::Failure;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    Answer,
    error::{Error, closed},
    library::Library,
    open_error::OpenError,
};

/// What a question may look at.
pub(super) struct Shelves {
    /// The database, read only.
    pub(super) connection: Connection,
    /// The pictures.
    pub(super) library: Arc<Library>,
    /// The folder of both.
    pub(super) directory: PathBuf,
}

/// A question with its answer; `None` ends the thread.
type Question = Option<Box<dyn FnOnce(&Shelves) + Send>>;

/// Takes questions.
#[derive(Clone)]
pub(super) struct Questions(mpsc::Sender<Question>);

impl Questions {
    /// Starts the thread.
    pub(super) fn start(shelves: Shelves) -> Result<(Self, JoinHandle<()>), OpenError> {
        let directory = shelves.directory.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "each call waits for its answer, and calls are bounded by connections and their streams"
        )]
        let (sender, questions) = mpsc::channel::<Question>();
        let thread = thread::Builder::new()
            .name("journal-read".to_owned())
            .spawn(move || {
                while let Ok(Some(question)) = questions.recv() {
                    question(&shelves);
                }
            })
            .map_err(OpenError::io("start a thread for", &directory))?;
        Ok((Self(sender), thread))
    }

    /// Asks; the answer comes after every write that was answered before.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Shelves) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Some(Box::new(move |shelves: &Shelves| {
            let place: &Path = &shelves.directory;
            // Who asked may have gone.
            drop(reply.send(question(shelves).map_err(|error| error.into_failure(place))));
        })));
        answered(sent.is_ok(), answer)
    }

    /// Ends the thread after the questions that were asked.
    pub(super) fn end(&self) {
        // It has ended already where nobody takes this.
        drop(self.0.send(None));
    }
}

/// The answer of a thread, or that it is gone.
pub(super) fn answered<T: Send + 'static>(
    is_sent: bool,
    answer: oneshot::Receiver<Result<T, Failure>>,
) -> Answer<T> {
    Box::pin(async move {
        if !is_sent {
            return Err(closed());
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(closed()),
        }
    })
}
