//! Progress on standard error: what the work waits for, how far it is, how long it takes.

use std::{collections::BTreeMap, time::Duration};

use imgd_client::{
    Event, JobEvent, Started, Step,
    v1::{Job, JobState, PauseReason},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::durations;

const BAR: &str = "{prefix:.bold} {bar:24.cyan/dim} {msg}";
const LINE: &str = "{spinner:.cyan} {msg}";

/// One line that follows the work; nothing where it cannot be drawn. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    shape: Shape,
    image_count: u32,
    images_done: u32,
    in_flight: BTreeMap<u32, InFlight>,
}

/// A picture that is being drawn; several may be, in turns.
#[derive(Debug, Clone, Copy, Default)]
struct InFlight {
    /// Network evaluations.
    done: u32,
    count: u32,
    /// Denoising steps; evaluations where they are not known.
    step: u32,
    steps: u32,
    left: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Nothing,
    Line,
    Bar,
}

impl Progress {
    /// A line on standard error, where `is_drawn`.
    pub(crate) fn new(is_drawn: bool) -> Self {
        Self {
            bar: is_drawn.then(new_bar),
            shape: Shape::Nothing,
            image_count: 1,
            images_done: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// Shows what an event of a request says.
    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::Queued { position, .. } => self.waiting(*position),
            Event::Loading { model, fraction } => self.loading(model, *fraction),
            Event::Started(started) => self.started(started),
            Event::Step(step) => self.step(step),
            Event::Image(image) => self.image(image.index),
            _ => {}
        }
    }

    /// Shows what an event of a job says.
    pub(crate) fn follow_job(&mut self, event: &JobEvent) {
        match event {
            JobEvent::Snapshot(job) => {
                self.in_flight.clear();
                for image in &job.in_flight {
                    let picture = self.in_flight.entry(image.image_index).or_default();
                    (picture.done, picture.count) =
                        (image.evaluations_done, image.evaluation_count);
                    (picture.step, picture.steps) = (picture.done, picture.count);
                }
                self.job(job);
            }
            JobEvent::Changed(job) => self.job(job),
            JobEvent::Loading { model, fraction } => self.loading(model, *fraction),
            JobEvent::Started(started) => self.started(started),
            JobEvent::Step(step) => self.step(step),
            JobEvent::Image(image) => self.image(image.image_index),
            _ => {}
        }
    }

    fn job(&mut self, job: &Job) {
        self.image_count = job.image_count;
        self.images_done = job.images_done;
        match job.state() {
            JobState::Queued if self.in_flight.is_empty() => self.waiting(job.position),
            JobState::Paused => {
                self.in_flight.clear();
                self.line(match job.pause_reason() {
                    PauseReason::Held => "held, until someone says which pictures to finish",
                    PauseReason::DiskFull => "waiting for room on the disk",
                    PauseReason::Asked | PauseReason::Unspecified => "paused",
                });
            }
            _ => self.draw(),
        }
    }

    fn waiting(&mut self, position: u32) {
        match position {
            0 => {}
            1 => self.line("waiting: 1 request ahead"),
            _ => self.line(&format!("waiting: {position} requests ahead")),
        }
    }

    fn started(&mut self, started: &Started) {
        self.image_count = started.image_count;
        let picture = InFlight {
            done: started.evaluations_done,
            count: started.evaluation_count,
            step: 0,
            steps: started.settings.num_inference_steps,
            left: None,
        };
        self.in_flight.insert(started.image_index, picture);
        self.draw();
    }

    fn step(&mut self, step: &Step) {
        let picture = self.in_flight.entry(step.image_index).or_default();
        (picture.done, picture.count) = (step.index, step.count);
        if picture.steps == 0 || picture.steps < step.inference_step {
            picture.steps = step.count;
        }
        (picture.step, picture.left) = (step.inference_step, step.eta);
        self.draw();
    }

    fn image(&mut self, index: u32) {
        if self.in_flight.remove(&index).is_some() {
            self.images_done += 1;
            self.draw();
        }
    }

    fn draw(&mut self) {
        let sum = |of: fn(&InFlight) -> u32| self.in_flight.values().map(of).sum();
        let (done, count) = (sum(|picture| picture.done), sum(|picture| picture.count));
        if count > 0 {
            let text = self.text();
            self.bar("drawing", done, count, &text);
        }
    }

    fn text(&self) -> String {
        let pictures = self.in_flight.values();
        let Some(behind) = pictures.clone().min_by_key(|picture| picture.step) else {
            return String::new();
        };
        let mut text = format!("step {:2}/{}", behind.step, behind.steps);
        match (self.image_count, self.in_flight.len()) {
            (0 | 1, _) => {}
            (count, 1) => {
                let index = self.in_flight.keys().next().map_or(0, |index| index + 1);
                text = format!("picture {index}/{count}  {text}");
            }
            (count, at_once) => {
                text = format!(
                    "{}/{count} done, {at_once} at once  {text}",
                    self.images_done
                );
            }
        }
        let left = pictures.filter_map(|picture| picture.left).max();
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            text = format!("{text}  {} left", durations::short(left));
        }
        text
    }

    /// Shows the share of a model that is loaded, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is clamped to 0..=100"
    )]
    pub(crate) fn loading(&mut self, model: &str, fraction: f64) {
        let percent = (fraction.clamp(0.0, 1.0) * 100.0) as u32;
        self.bar(
            "loading",
            percent,
            100,
            &format!("{percent:3} %  {}", short_name(model)),
        );
    }

    /// Takes the line away while `write` writes where it stood.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the line away until there is more to show.
    pub(crate) fn rest(&mut self) {
        if self.bar.is_some() {
            self.clear();
            self.bar = Some(new_bar());
        }
    }

    /// Takes the line away for good.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.shape = Shape::Nothing;
        self.in_flight.clear();
    }

    fn line(&mut self, text: &str) {
        self.shape(Shape::Line, LINE);
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    fn bar(&mut self, prefix: &'static str, position: u32, length: u32, text: &str) {
        self.shape(Shape::Bar, BAR);
        if let Some(bar) = &self.bar {
            bar.set_prefix(prefix);
            bar.set_length(u64::from(length));
            bar.set_message(text.to_owned());
            bar.set_position(u64::from(position));
            bar.tick();
        }
    }

    fn shape(&mut self, shape: Shape, template: &str) {
        if self.shape != shape
            && let Some(bar) = &self.bar
        {
            let style = ProgressStyle::with_template(template)
                .expect("the templates above are well formed")
                .progress_chars("━╸─");
            bar.set_style(style);
            self.shape = shape;
        }
    }
}

/// A line that is not drawn before it has something to say.
fn new_bar() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20))
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The last part of a model's path.
fn short_name(model: &str) -> &str {
    model
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use imgd_client::v1;

    use super::*;

    fn started(index: u32) -> Started {
        Started {
            image_index: index,
            image_count: 8,
            evaluation_count: 20,
            evaluations_done: 0,
            settings: v1::Settings {
                num_inference_steps: 10,
                ..v1::Settings::default()
            },
        }
    }

    fn step(index: u32, step: u32) -> Step {
        Step {
            image_index: index,
            index: step * 2,
            count: 20,
            inference_step: step,
            sigma: 1.0,
            eta: Some(Duration::from_secs(u64::from(step))),
            preview: None,
        }
    }

    #[test]
    fn pictures_that_are_drawn_in_turns_share_the_line() {
        let mut progress = Progress::new(false);
        progress.started(&started(0));
        progress.step(&step(0, 3));
        assert_eq!(progress.text(), "picture 1/8  step  3/10  3.0 s left");
        progress.started(&started(1));
        progress.step(&step(1, 2));
        assert_eq!(
            progress.text(),
            "0/8 done, 2 at once  step  2/10  3.0 s left"
        );
        progress.image(0);
        assert_eq!(progress.text(), "picture 2/8  step  2/10  2.0 s left");
    }
}
