//! What `systemctl status` says that the daemon does.

use super::actor::Actor;
use crate::{queue::Job, service_manager};

/// Progress is told in steps of so many percent.
const STEP_PERCENT: u32 = 5;

/// What there is to tell. Neither prompts nor names of jobs are in it.
#[derive(Debug, Default)]
struct Doing {
    is_ending: bool,
    /// Name of the model that is being loaded.
    loading: Option<String>,
    /// Pictures in flight.
    pictures: usize,
    /// Names of the models that draw them, without doubles.
    drawing: Vec<String>,
    evaluations_done: u32,
    evaluation_count: u32,
    /// Jobs that wait for their turn.
    waiting: usize,
    /// Jobs that wait for something else.
    paused: usize,
    /// Why background jobs do not run.
    background_blocked: Option<&'static str>,
    /// Names of the models in memory.
    models: Vec<String>,
    /// Whether something cannot be written.
    is_stuck: bool,
}

impl Actor {
    /// Tells the service manager what is done, where there is one and that has changed.
    pub(super) fn tell_service_manager(&mut self) {
        if !service_manager::is_connected() {
            return;
        }
        let words = self.doing().words();
        if words != self.told {
            service_manager::status(&words);
            self.told = words;
        }
    }

    fn doing(&self) -> Doing {
        let jobs = || self.state.jobs.iter().filter(|job| !job.is_cancelled);
        let is_between = |job: &Job| job.is_running && !job.is_paused;
        let in_flight: usize = jobs().map(|job| job.images.len()).sum();
        // Between two pictures of a job there is a moment without one.
        let is_at_work = |job: &&Job| {
            !job.images.is_empty()
                || (in_flight == 0 && is_between(job) && self.background_blocked().is_none())
        };
        let at_work = || jobs().filter(is_at_work);
        let mut drawing: Vec<String> = at_work().map(|job| job.model.name.clone()).collect();
        drawing.sort_unstable();
        drawing.dedup();
        let (done, count) = self
            .desks
            .values()
            .map(super::desk::Desk::evaluations)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let waits = |job: &&Job| !job.is_running && !job.is_paused;
        Doing {
            is_ending: self.is_draining,
            loading: self.loading.as_ref().map(|model| model.name.clone()),
            pictures: at_work().map(|job| job.images.len().max(1)).sum(),
            drawing,
            evaluations_done: done,
            evaluation_count: count,
            waiting: jobs().filter(waits).count(),
            paused: jobs()
                .filter(|job| job.is_paused && !job.is_running)
                .count(),
            background_blocked: self.background_blocked(),
            models: self
                .state
                .models
                .iter()
                .map(|model| model.key.name.clone())
                .collect(),
            is_stuck: !self.stuck.is_empty(),
        }
    }
}

impl Doing {
    /// One line: what is at work first, then what waits.
    fn words(&self) -> String {
        let mut parts = Vec::new();
        if self.is_ending {
            parts.push("Ending".to_owned());
        }
        if let Some(model) = &self.loading {
            parts.push(format!("Loading {model}"));
        } else if self.pictures > 0 {
            let with = self.drawing.join(" and ");
            let pictures = number(self.pictures, "picture", "pictures");
            parts.push(format!("Drawing {pictures} with {with}{}", self.percent()));
        } else if !self.is_ending {
            parts.push(if self.models.is_empty() {
                "Ready, no model in memory".to_owned()
            } else {
                format!("Ready, {} in memory", self.models.join(" and "))
            });
        }
        if self.waiting > 0 {
            parts.push(format!("{} waiting", number(self.waiting, "job", "jobs")));
        }
        if self.paused > 0 && !self.is_ending {
            parts.push(format!("{} paused", number(self.paused, "job", "jobs")));
        }
        if let Some(why) = self.background_blocked {
            parts.push(format!("background work waits: {why}"));
        }
        if self.is_stuck {
            parts.push("cannot write to its disk".to_owned());
        }
        parts.join("; ")
    }

    /// How far the pictures in flight are; nothing before their number of evaluations is known, and between two pictures.
    fn percent(&self) -> String {
        let percent =
            (100 * u64::from(self.evaluations_done)).checked_div(self.evaluation_count.into());
        let step = u64::from(STEP_PERCENT);
        percent.map_or_else(String::new, |percent| {
            format!(", {} %", percent / step * step)
        })
    }
}

fn number(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::Doing;

    #[test]
    fn work_comes_first_then_what_waits() {
        let one = || vec!["starter".to_owned()];
        let idle = Doing::default();
        assert_eq!(idle.words(), "Ready, no model in memory");
        let ready = Doing {
            models: one(),
            paused: 1,
            ..Doing::default()
        };
        assert_eq!(ready.words(), "Ready, starter in memory; 1 job paused");
        let loading = Doing {
            loading: Some("sdxl".to_owned()),
            waiting: 2,
            ..Doing::default()
        };
        assert_eq!(loading.words(), "Loading sdxl; 2 jobs waiting");
        let drawing = Doing {
            pictures: 2,
            drawing: one(),
            evaluations_done: 19,
            evaluation_count: 40,
            waiting: 3,
            background_blocked: Some("on battery power"),
            ..Doing::default()
        };
        assert_eq!(
            drawing.words(),
            "Drawing 2 pictures with starter, 45 %; 3 jobs waiting; background work waits: on battery power"
        );
        let ending = Doing {
            is_ending: true,
            pictures: 1,
            drawing: one(),
            is_stuck: true,
            ..Doing::default()
        };
        assert_eq!(
            ending.words(),
            "Ending; Drawing 1 picture with starter; cannot write to its disk"
        );
    }
}
