//! Progress on standard error: what the work waits for, how far it is, how long it takes.

use std::time::Duration;

use imgd_client::{Event, Started, Step};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::durations;

const BAR: &str = "{prefix:.bold} {bar:24.cyan/dim} {msg}";
const LINE: &str = "{spinner:.cyan} {msg}";

/// One line that follows the work; nothing where it cannot be drawn. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    shape: Shape,
    started: Option<Started>,
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
        let bar = is_drawn
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20)));
        Self {
            bar,
            shape: Shape::Nothing,
            started: None,
        }
    }

    /// Shows what an event says.
    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::Queued { position: 0, .. } => {}
            Event::Queued { position: 1, .. } => self.line("waiting: 1 request ahead"),
            Event::Queued { position, .. } => {
                self.line(&format!("waiting: {position} requests ahead"));
            }
            Event::Loading { model, fraction } => self.loading(model, *fraction),
            Event::Started(started) => {
                self.started = Some(started.clone());
                self.bar(
                    "drawing",
                    0,
                    started.evaluation_count,
                    &self.step_text(0, None),
                );
            }
            Event::Step(step) => self.step(step),
            _ => {}
        }
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

    /// Takes the line away for good.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn step(&mut self, step: &Step) {
        let text = self.step_text(step.inference_step, step.eta);
        self.bar("drawing", step.index, step.count, &text);
    }

    fn step_text(&self, inference_step: u32, eta: Option<Duration>) -> String {
        let Some(started) = &self.started else {
            return String::new();
        };
        let mut text = format!(
            "step {inference_step:2}/{}",
            started.settings.num_inference_steps
        );
        if started.image_count > 1 {
            text = format!(
                "picture {}/{}  {text}",
                started.image_index + 1,
                started.image_count
            );
        }
        if let Some(eta) = eta.filter(|eta| !eta.is_zero()) {
            text = format!("{text}  {} left", durations::short(eta));
        }
        text
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
