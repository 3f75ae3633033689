//! `imgctl attach`: follows a job to its end and writes its pictures.

use std::collections::BTreeMap;

use clap::Args;
use imgd_client::{
    Client, JobEvent, is_final, update,
    v1::{ImageState, Job, JobImage, JobState, PauseReason},
};

use crate::{
    Context, durations,
    failure::Failure,
    jobs::{
        follow::Follower,
        objects,
        place::{Place, PlaceArgs},
        which, words,
    },
    progress::Progress,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C detaches: the job goes on. A picture whose file is there already is not written twice."
)]
pub(crate) struct Attach {
    /// Job: its id, or the first digits of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Attach {
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.id = which::id(&self.id)?;
        Ok(())
    }

    /// What Ctrl-C means.
    pub(super) fn interrupted(&self) -> Failure {
        let id = words::short_id(&self.id);
        Failure::looked_away("detached; the job goes on").hint(format!(
            "`imgctl attach {id}` comes back, `imgctl jobs cancel {id}` ends it"
        ))
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let job = client.job(&self.id).await?;
        let place = Place::plan(context, &self.place, &job, job.image_count)?;
        let draws_progress = context.terminal.draws_progress() && !context.quiet && !context.json;
        let attached = Attached {
            context,
            place,
            progress: Progress::new(draws_progress),
            told: PauseReason::Unspecified,
            known: BTreeMap::new(),
            job,
        };
        let follower = Follower::new(context, client, &attached.job.id);
        attached.follow(follower).await
    }
}

/// A job that is followed, and what is shown of it.
struct Attached<'a> {
    context: &'a Context,
    place: Place<'a>,
    progress: Progress,
    /// What the job is known to wait for.
    told: PauseReason,
    /// What was said of pictures.
    known: BTreeMap<u32, ImageState>,
    job: Job,
}

impl Attached<'_> {
    async fn follow(mut self, mut follower: Follower<'_>) -> Result<(), Failure> {
        while let Some(event) = follower.next(&mut self.progress).await? {
            match &event {
                JobEvent::Snapshot(job) => self.job = (**job).clone(),
                JobEvent::Changed(job) => update(&mut self.job, (**job).clone()),
                _ => {}
            }
            let is_file =
                matches!(&event, JobEvent::Image(image) if image.state() == ImageState::Done);
            if self.context.json
                && !is_file
                && let Some(object) = objects::event(&event, &self.job, follower.cursor())
            {
                self.context.terminal.line(&object.to_string())?;
            }
            self.progress.follow_job(&event);
            match event {
                JobEvent::Snapshot(_) | JobEvent::Changed(_) => self.say_what_it_waits_for(),
                JobEvent::Image(image) => self.image(&image, &mut follower).await?,
                JobEvent::Notice { message, .. } => self.notice(&message),
                _ => {}
            }
        }
        self.progress.clear();
        if let Some(error) = words::failure(&self.job) {
            return Err(error.into());
        }
        if is_final(self.job.state()) && !self.context.json && !self.context.quiet {
            let worked = durations::short(words::worked(&self.job));
            let what = match self.job.images_done {
                1 => "drawn".to_owned(),
                count => format!("{count} pictures drawn"),
            };
            self.context.terminal.note(&format!("{what} in {worked}"));
        }
        Ok(())
    }

    async fn image(
        &mut self,
        image: &JobImage,
        follower: &mut Follower<'_>,
    ) -> Result<(), Failure> {
        let state = image.state();
        // Who comes back after a loss is told of every picture again.
        if self.known.insert(image.image_index, state) == Some(state) {
            return Ok(());
        }
        match (state, &image.metadata) {
            (ImageState::Done, Some(metadata)) => {
                let existing = self.place.existing(&self.job, image, metadata);
                let fetched = if self.place.needs(existing.as_ref()) {
                    let (id, index) = (self.job.id.clone(), image.image_index);
                    let fetch = async |client: &Client| client.image(&id, index).await;
                    Some(follower.call(&mut self.progress, fetch).await?)
                } else {
                    None
                };
                self.progress.suspend(|| {
                    let fetched = fetched.as_ref();
                    self.place
                        .put(&self.job, image, metadata, existing, fetched)
                })?;
            }
            (ImageState::Failed, _) if !self.context.json => {
                let why = image
                    .problem
                    .as_ref()
                    .map(|problem| problem.message.as_str());
                let text = format!(
                    "picture {} failed: {}",
                    image.image_index,
                    why.unwrap_or("the daemon does not say why")
                );
                self.progress.suspend(|| self.context.terminal.warn(&text));
            }
            _ => {}
        }
        Ok(())
    }

    fn say_what_it_waits_for(&mut self) {
        let reason = match self.job.state() {
            JobState::Paused => self.job.pause_reason(),
            _ => PauseReason::Unspecified,
        };
        if reason == self.told {
            return;
        }
        self.told = reason;
        let id = words::short_id(&self.job.id);
        match reason {
            PauseReason::Asked => {
                self.notice(&format!("it is paused; `imgctl jobs resume {id}` lets it go on"));
            }
            PauseReason::Held => self.notice(&format!(
                "its pictures are held; `imgctl jobs resume {id} --images 0,3` finishes those you name"
            )),
            // The daemon's own notice says more.
            PauseReason::DiskFull | PauseReason::Unspecified => {}
        }
    }

    fn notice(&self, message: &str) {
        if !self.context.quiet && !self.context.json {
            self.progress
                .suspend(|| self.context.terminal.notice(message));
        }
    }
}
