//! Jobs as the services see them: those that are not over from the task, all others from the journal.
//!
//! Reading never waits for the task where the journal knows all there is to know.

use imgd_proto::v1;
use tokio::sync::oneshot;
use tonic::codegen::Bytes;

use super::{Command, Order, Receipt, Scheduler, Verb, Work, records, verbs::not_in_state};
use crate::{events::Watcher, failure::Failure, journal::Record, submission::Submission};

impl Scheduler {
    /// Takes a job in. One that outlives its client is on disk when this returns, and of its `request_id` there is one.
    pub async fn submit(&self, order: Order) -> Result<Receipt, Failure> {
        let asked = match (&order.work, order.lifetime) {
            (Work::Draw(submission), super::Lifetime::Detached) if !order.request_id.is_empty() => {
                Some(submission.clone())
            }
            _ => None,
        };
        // A full queue does not keep a client from hearing that its job is there.
        if asked.is_some()
            && let Some(record) = self.named(&order.request_id).await?
        {
            let job = self.current(&record).await?;
            return existing(asked.as_ref(), record.id.clone(), job);
        }
        let receipt = self
            .ask(|reply| Command::Submit {
                order: Box::new(order),
                reply,
            })
            .await??;
        match receipt {
            Receipt {
                existed: true,
                job: Some(job),
                job_id,
                ..
            } => existing(asked.as_ref(), job_id, job),
            receipt => Ok(receipt),
        }
    }

    /// The job whose id begins so.
    pub async fn job(&self, job_id: &str) -> Result<v1::Job, Failure> {
        let record = self.journal.get(job_id).await?;
        self.current(&record).await
    }

    /// A page of jobs, newest first, and the next page's token. No `states` are all, an empty `request_id` is any.
    pub async fn jobs(
        &self,
        states: &[v1::JobState],
        request_id: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<(Vec<v1::Job>, String), Failure> {
        let (records, token) = self
            .journal
            .list(states, request_id, page_size, page_token)
            .await?;
        let jobs = records.iter().map(|record| record.id.clone()).collect();
        let current = self.ask(|reply| Command::Tell { jobs, reply }).await?;
        let jobs = current.into_iter().zip(&records).map(|(job, record)| {
            // What is on disk of a job that is not over may be older.
            job.unwrap_or_else(|| records::whole(record))
        });
        Ok((jobs.collect(), token))
    }

    /// A page of a job's pictures that came somewhere, and the next page's token.
    pub async fn images(
        &self,
        job_id: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<(Vec<v1::JobImage>, String), Failure> {
        let record = self.journal.get(job_id).await?;
        self.journal.images(&record.id, page_size, page_token).await
    }

    /// A finished picture's file or thumbnail, and what the picture is.
    pub async fn picture(
        &self,
        job_id: &str,
        image_index: u32,
        is_thumbnail: bool,
    ) -> Result<(Bytes, v1::ImageMetadata), Failure> {
        let record = self.journal.get(job_id).await?;
        if image_index >= record.image_count {
            let message = format!("the job has {} images", record.image_count);
            return Err(Failure::new(crate::failure::Reason::ImageNotFound, message)
                .with_field("image_index")
                .with_hint("they are counted from 0"));
        }
        self.journal
            .picture(&record.id, image_index, is_thumbnail)
            .await
    }

    /// Ends a job. One that is over stays as it is.
    pub async fn cancel(&self, job_id: &str) -> Result<v1::Job, Failure> {
        let record = self.journal.get(job_id).await?;
        match self.act(&record, Verb::Cancel).await {
            Some(job) => job,
            None => self.job(&record.id).await,
        }
    }

    /// Stops a job at the next evaluation.
    pub async fn pause(&self, job_id: &str) -> Result<v1::Job, Failure> {
        let record = self.journal.get(job_id).await?;
        match self.act(&record, Verb::Pause).await {
            Some(job) => job,
            None => Err(self.refused(&record, "paused").await),
        }
    }

    /// Lets a paused job go on; see the contract for `image_indices`.
    pub async fn resume(&self, job_id: &str, image_indices: Vec<u32>) -> Result<v1::Job, Failure> {
        let record = self.journal.get(job_id).await?;
        match self.act(&record, Verb::Resume(image_indices)).await {
            Some(job) => job,
            None => Err(self.refused(&record, "resumed").await),
        }
    }

    /// Takes up a job that failed or was cancelled, and makes what is missing.
    pub async fn retry(&self, job_id: &str) -> Result<v1::Job, Failure> {
        let record = self.journal.get(job_id).await?;
        // Who saw that it is over need not wait for the disk before asking.
        if let Some(job) = self.act(&record, Verb::Await).await {
            job?;
        }
        let record = self.journal.get(&record.id).await?;
        let is_over = matches!(record.state, v1::JobState::Failed | v1::JobState::Cancelled);
        if !is_over {
            return Err(self.refused(&record, "retried").await);
        }
        self.ask(|reply| Command::Retry {
            record: Box::new(record),
            reply,
        })
        .await?
    }

    /// Forgets a job and its pictures. One that is not over is cancelled first where `is_forced`, else that is refused.
    pub async fn delete(&self, job_id: &str, is_forced: bool) -> Result<(), Failure> {
        let record = self.journal.get(job_id).await?;
        match self.act(&record, Verb::Delete { is_forced }).await {
            Some(deleted) => deleted.map(drop),
            None => self.journal.delete(&record.id).await,
        }
    }

    /// Follows a job from the event after `cursor` on; no watcher where the job is over.
    pub async fn watch(
        &self,
        job_id: &str,
        cursor: u64,
    ) -> Result<(String, Option<Watcher>), Failure> {
        let record = self.journal.get(job_id).await?;
        let job = record.id.clone();
        let watcher = self
            .ask(|reply| Command::Watch { job, cursor, reply })
            .await?;
        Ok((record.id, watcher))
    }

    /// What is kept.
    pub async fn statistics(&self) -> Result<v1::Library, Failure> {
        self.journal.statistics().await
    }

    /// Writes what was told and frees the journal. Nothing can be asked after.
    pub async fn close(&self) {
        if let Err(failure) = self.journal.close().await {
            tracing::warn!("the journal was not closed well: {failure}");
        }
    }

    /// The job of that `request_id`.
    async fn named(&self, request_id: &str) -> Result<Option<Record>, Failure> {
        let (records, _) = self.journal.list(&[], request_id, 1, "").await?;
        Ok(records.into_iter().next())
    }

    /// How a job is now.
    async fn current(&self, record: &Record) -> Result<v1::Job, Failure> {
        let jobs = vec![record.id.clone()];
        let current = self.ask(|reply| Command::Tell { jobs, reply }).await?;
        match current.into_iter().next().flatten() {
            Some(job) => Ok(job),
            // It may have ended since it was read.
            None => Ok(records::whole(&self.journal.get(&record.id).await?)),
        }
    }

    /// Has something done to a job; `None` where it is over.
    async fn act(&self, record: &Record, verb: Verb) -> Option<Result<v1::Job, Failure>> {
        let job = record.id.clone();
        let (reply, answer) = oneshot::channel();
        let command = Command::Do { job, verb, reply };
        if self.commands.send(command).await.is_err() {
            return Some(Err(crate::failure::draining()));
        }
        answer.await.ok()
    }

    async fn refused(&self, record: &Record, what: &str) -> Failure {
        match self.current(record).await {
            Ok(job) => not_in_state(job.state(), what),
            Err(failure) => failure,
        }
    }
}

/// A job that was there before this one; it must be the same.
fn existing(asked: Option<&Submission>, job_id: String, job: v1::Job) -> Result<Receipt, Failure> {
    let earlier = v1::SubmitJobRequest {
        generate: job.request.clone(),
        images: job.images.clone(),
        hold_after_steps: job.hold_after_steps,
    };
    if asked.is_some_and(|asked| asked.is_as(&earlier)) {
        return Ok(Receipt {
            job_id,
            events: None,
            job: Some(job),
            existed: true,
        });
    }
    Err(Failure::invalid(
        "request_id",
        format!("request_id is that of job {job_id}, which makes something else"),
    )
    .with_hint("give each job its own, or leave it out"))
}
