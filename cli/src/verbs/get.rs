//! `imgctl get`: writes the pictures of a job that are finished.

use clap::Args;
use imgd_client::{
    Client, JobFilter,
    v1::{ImageState, Job, JobImage},
};

use crate::{
    Context,
    failure::{Failure, exit},
    jobs::{
        indices::Indices,
        place::{self, Place, PlaceArgs},
        which, words,
    },
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl get 1f3a9c0d -o pictures/
  imgctl get 1f3a --index 0,3,5-7
  imgctl get last --show

A picture whose file is there already, under its name or a numbered one, is not written again: its path is printed.")]
pub(crate) struct Get {
    /// Job: its id, the first digits of it, or `last` for the newest that is done
    #[arg(value_name = "ID")]
    id: String,
    /// Only these pictures, counted from 0: 0,3,5-7 [default: all that are finished]
    #[arg(long, short, value_name = "N,N-N")]
    index: Option<Indices>,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Get {
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        if self.id != "last" {
            self.id = which::id(&self.id)?;
        }
        Ok(())
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let job = self.job(&client).await?;
        let images = self.images(&client, &job).await?;
        let count = u32::try_from(images.len()).unwrap_or(u32::MAX);
        let place = Place::plan(context, &self.place, &job, count)?;
        let mut done = Vec::new();
        for image in &images {
            let Some(metadata) = &image.metadata else {
                continue;
            };
            let existing = place.existing(&job, image, metadata);
            let fetched = if place.needs(existing.as_ref()) {
                Some(client.image(&job.id, image.image_index).await?)
            } else {
                None
            };
            done.push(place.put(&job, image, metadata, existing, fetched.as_ref())?);
        }
        if !context.quiet && !context.json {
            place::sum_up(context.terminal, &done);
        }
        Ok(())
    }

    async fn job(&self, client: &Client) -> Result<Job, Failure> {
        if self.id != "last" {
            return Ok(client.job(&self.id).await?);
        }
        let mut jobs = client.jobs(JobFilter::default());
        while let Some(job) = jobs.next().await {
            let job = job?;
            if job.images_done > 0 {
                return Ok(job);
            }
        }
        Err(Failure::usage("no job has a finished picture")
            .hint("`imgctl generate PROMPT --detach` begins one"))
    }

    /// The finished pictures that are wanted; fails where there is none, or one that was named is not finished.
    async fn images(&self, client: &Client, job: &Job) -> Result<Vec<JobImage>, Failure> {
        let id = words::short_id(&job.id);
        let mut images = client.images(&job.id).all().await?;
        images.retain(|image| image.state() == ImageState::Done);
        if let Some(wanted) = &self.index {
            let finished: Vec<_> = images.iter().map(|image| image.image_index).collect();
            let missing = wanted.0.iter().find(|index| !finished.contains(index));
            if let Some(missing) = missing {
                let message = format!("picture {missing} of job {id} is not finished");
                return Err(Failure::new(exit::FAILED, message)
                    .field("index")
                    .hint(format!(
                        "`imgctl jobs show {id} --images` lists its pictures"
                    )));
            }
            images.retain(|image| wanted.0.contains(&image.image_index));
        }
        if images.is_empty() {
            let message = format!(
                "job {id} is {}: it has no finished picture",
                words::state(job)
            );
            return Err(Failure::new(exit::FAILED, message)
                .hint(format!("`imgctl attach {id}` waits for them")));
        }
        Ok(images)
    }
}
