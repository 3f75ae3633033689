//! The work of an exploration: following the job, drawing its sheet, writing what is finished.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgd_client::{
    Client, JobEvent, is_final,
    v1::{ImageState, Job, JobImage, JobState, PauseReason},
};
use serde_json::json;

use super::sheet::{self, Entry};
use crate::{
    Context,
    failure::{Failure, exit},
    jobs::{follow::Follower, objects, words},
    json,
    live::{Live, Row},
    output::{self, Output},
    progress::Progress,
    show,
};

/// A job that is explored, and what is shown of it.
pub(super) struct Exploring<'a> {
    context: &'a Context,
    follower: Follower<'a>,
    live: Live,
    /// The table tells what a line would.
    nothing: Progress,
    output: Output,
    shows: bool,
    /// Indices of the pictures that are held, or were.
    held: BTreeSet<u32>,
    /// Indices of the pictures that are written.
    written: BTreeSet<u32>,
    /// Pictures that are to be written; 0 as long as none is chosen.
    chosen: u32,
    pub(super) job: Job,
}

impl<'a> Exploring<'a> {
    /// Follows `job` from its beginning; pictures go to `output`, and to the terminal where `shows`.
    pub(super) fn new(
        context: &'a Context,
        client: Client,
        job: Job,
        output: Output,
        shows: bool,
    ) -> Self {
        Self {
            context,
            follower: Follower::new(context, client, &job.id).quietly(),
            live: Live::new(context),
            nothing: Progress::new(false),
            output,
            shows,
            held: BTreeSet::new(),
            written: BTreeSet::new(),
            chosen: 0,
            job,
        }
    }

    /// Follows the job until its pictures are held or it is at its end, and writes what is finished.
    pub(super) async fn follow(&mut self) -> Result<(), Failure> {
        let mut evaluations = BTreeMap::new();
        while let Some(event) = self.follower.next(&mut self.nothing).await? {
            match event {
                JobEvent::Snapshot(job) | JobEvent::Changed(job) => {
                    self.take(*job);
                    let is_held = self.job.pause_reason() == PauseReason::Held;
                    if self.job.state() == JobState::Paused && is_held {
                        break;
                    }
                }
                JobEvent::Started(started) => {
                    let done = (started.evaluations_done, started.evaluation_count);
                    evaluations.insert(started.image_index, done);
                }
                JobEvent::Step(step) => {
                    evaluations.insert(step.image_index, (step.index, step.count));
                }
                JobEvent::Image(image) => {
                    evaluations.remove(&image.image_index);
                    if image.state() == ImageState::Held {
                        self.held.insert(image.image_index);
                    }
                    self.picture(&image).await?;
                }
                JobEvent::Notice { message, .. } if !self.context.quiet => {
                    self.live.suspend(|| self.context.terminal.notice(&message));
                }
                _ => {}
            }
            self.draw(&evaluations);
        }
        self.follower.let_go();
        self.live.clear();
        self.live = Live::new(self.context);
        Ok(())
    }

    /// Takes in how the job is now. Events need not repeat what was asked for.
    fn take(&mut self, job: Job) {
        let before = std::mem::replace(&mut self.job, job);
        if self.job.request.is_none() {
            self.job.request = before.request;
            self.job.images = before.images;
        }
    }

    fn draw(&mut self, evaluations: &BTreeMap<u32, (u32, u32)>) {
        self.live
            .retain(|key| u32::try_from(key).is_ok_and(|index| evaluations.contains_key(&index)));
        for (&index, &(done, of)) in evaluations {
            let label = format!("picture {}", index + 1);
            self.live
                .show(index.into(), Row::drawing(label, done, of, None));
        }
        let (done, of, what) = match self.chosen {
            0 => (self.held.len(), self.job.image_count, "begun"),
            chosen => (self.written.len(), chosen, "finished"),
        };
        let done = u32::try_from(done).unwrap_or(u32::MAX);
        self.live.total(Row {
            label: words::state(&self.job).to_owned(),
            done,
            of,
            text: format!("{done} of {of} pictures {what}"),
        });
    }

    /// Draws the sheet of what is held, writes and shows it; returns what stands on it.
    pub(super) async fn sheet(
        &mut self,
        path: Option<&Path>,
        folder: &Path,
        overwrites: bool,
    ) -> Result<BTreeSet<u32>, Failure> {
        let id = self.job.id.clone();
        let images = self
            .follower
            .call(&mut self.nothing, async |client| {
                client.images(&id).all().await
            })
            .await?;
        let held = images
            .into_iter()
            .filter(|image| image.state() == ImageState::Held);
        let entries: Vec<_> = held.map(|image| self.entry(image)).collect();
        let there: BTreeSet<u32> = entries.iter().map(|entry| entry.number - 1).collect();
        let Some(sheet) = sheet::draw(&entries) else {
            return Ok(there);
        };
        let png = sheet::png(&sheet).map_err(|error| {
            Failure::new(exit::FAILED, format!("cannot draw the sheet: {error}"))
        })?;
        let default = PathBuf::from(format!("sheet-{}.png", words::short_id(&id)));
        let default = match folder == Path::new(".") {
            true => default,
            false => folder.join(default),
        };
        // The default name is this job's own.
        let taken = overwrites || path.is_none();
        let path = output::file(path.unwrap_or(&default), &png, taken)?;
        let terminal = self.context.terminal;
        if self.context.json {
            let fields = json!({
                "job_id": id,
                "path": path.to_string_lossy(),
                "pictures": entries.iter().map(|entry| json!({ "number": entry.number, "seed": entry.seed })).collect::<Vec<_>>(),
            });
            terminal.line(&json::object("sheet", fields).to_string())?;
        } else {
            terminal.line(&path.display().to_string())?;
        }
        if self.shows {
            show::picture(&terminal, &png)?;
            // Where a terminal has no graphics, numbers are too small to be read.
            let columns = sheet::columns(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            terminal.note(&format!("{columns} in a row, numbered from the top left"));
        }
        Ok(there)
    }

    fn entry(&self, image: JobImage) -> Entry {
        let index = image.image_index;
        let own = self.job.images.get(index as usize).and_then(|own| own.seed);
        let first = self.job.request.as_ref().and_then(|request| request.seed);
        Entry {
            number: index + 1,
            seed: own.unwrap_or_else(|| first.unwrap_or_default().wrapping_add(index.into())),
            preview: image
                .preview
                .map(|preview| preview.png.to_vec())
                .unwrap_or_default(),
        }
    }

    /// Lets the chosen ones be finished and writes them.
    pub(super) async fn finish(&mut self, chosen: &[u32]) -> Result<(), Failure> {
        let id = self.job.id.clone();
        self.chosen = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let job = self
            .follower
            .call(&mut self.nothing, async |client| {
                client.resume(&id, chosen).await
            })
            .await?;
        self.take(job);
        while !is_final(self.job.state()) {
            let before = self.follower.cursor();
            self.follow().await?;
            if self.follower.cursor() == before {
                break;
            }
        }
        Ok(())
    }

    /// The last words on a job that is at its end.
    pub(super) async fn end(&mut self) -> Result<(), Failure> {
        let id = self.job.id.clone();
        let images = self
            .follower
            .call(&mut self.nothing, async |client| {
                client.images(&id).all().await
            })
            .await?;
        for image in images {
            self.picture(&image).await?;
        }
        match words::failure(&self.job) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    async fn picture(&mut self, image: &JobImage) -> Result<(), Failure> {
        let (ImageState::Done, Some(metadata)) = (image.state(), &image.metadata) else {
            return Ok(());
        };
        let index = image.image_index;
        if !self.written.insert(index) {
            return Ok(());
        }
        let prompt = words::prompt(&self.job, index).to_owned();
        let existing = self.output.existing(&prompt, index, metadata);
        let id = self.job.id.clone();
        let fetched = self
            .follower
            .call(&mut self.nothing, async |client| {
                client.image(&id, index).await
            })
            .await?;
        let existed = existing.is_some();
        let path = match existing {
            Some(path) => Some(path),
            None => self.live.suspend(|| self.output.write(&fetched))?,
        };
        let terminal = self.context.terminal;
        if self.context.json {
            let object = objects::file(&id, image, metadata, path.as_deref(), existed);
            return terminal.line(&object.to_string());
        }
        self.live.suspend(|| {
            if self.shows {
                show::picture(&terminal, &fetched.bytes)?;
            }
            match &path {
                Some(path) => terminal.line(&path.display().to_string()),
                None => Ok(()),
            }
        })
    }
}
