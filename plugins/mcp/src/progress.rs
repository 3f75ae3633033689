//! How far a call is, for a client that asked to hear of it.

use std::time::Duration;

use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::{Peer, RequestContext},
};

/// A model's loading is this share of the whole, in percent; the protocol wants one number that only grows.
const LOADING_PERCENT: f64 = 10.0;
/// Said only where it grew by so much, in percent.
const LEAST_PERCENT: f64 = 1.0;

/// A call's progress, in percent.
pub(crate) struct Progress {
    listener: Option<(Peer<RoleServer>, ProgressToken)>,
    said: Option<f64>,
    /// Evaluations done of each picture, and in all of each.
    evaluations: Vec<(u32, u32)>,
}

impl Progress {
    /// Of a call; silent where its client did not ask.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Self {
        let token = context.meta.get_progress_token();
        Self {
            listener: token.map(|token| (context.peer.clone(), token)),
            said: None,
            evaluations: Vec::new(),
        }
    }

    /// It waits for `ahead` others.
    pub(crate) async fn queued(&mut self, ahead: u32) {
        let message = match ahead {
            0 => "waiting for its turn".to_owned(),
            1 => "1 job before it".to_owned(),
            ahead => format!("{ahead} jobs before it"),
        };
        self.say(0.0, message).await;
    }

    /// The model is read.
    pub(crate) async fn loading(&mut self, model: &str, fraction: f64) {
        let percent = LOADING_PERCENT * fraction.clamp(0.0, 1.0);
        self.say(percent, format!("loading {model}")).await;
    }

    /// `done` of `count` evaluations of picture `index` of `images` are made.
    pub(crate) async fn step(
        &mut self,
        index: u32,
        images: u32,
        (done, count): (u32, u32),
        eta: Option<Duration>,
    ) {
        let percent = self.percent(index, images, (done, count));
        let mut message = format!("step {done} of {count}");
        if images > 1 {
            message = format!("picture {} of {images}: {message}", index + 1);
        }
        if let Some(eta) = eta {
            message.push_str(&format!(", about {} s left", eta.as_secs().max(1)));
        }
        self.say(percent, message).await;
    }

    fn percent(&mut self, index: u32, images: u32, evaluations: (u32, u32)) -> f64 {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let images = usize::try_from(images).unwrap_or(1).clamp(1, 10_000);
        self.evaluations.resize(images, (0, 1));
        if let Some(known) = self.evaluations.get_mut(index) {
            *known = (evaluations.0, evaluations.1.max(1));
        }
        let shares = self.evaluations.iter();
        let done: f64 = shares
            .map(|(done, count)| f64::from(*done) / f64::from(*count))
            .sum();
        let images = f64::from(u32::try_from(images).unwrap_or(u32::MAX));
        // The last percent is the picture's file.
        LOADING_PERCENT + (99.0 - LOADING_PERCENT) * (done / images)
    }

    async fn say(&mut self, percent: f64, message: String) {
        let Some((peer, token)) = &self.listener else {
            return;
        };
        if self.said.is_some_and(|said| percent < said + LEAST_PERCENT) {
            return;
        }
        self.said = Some(percent);
        let param = ProgressNotificationParam::new(token.clone(), percent)
            .with_total(100.0)
            .with_message(message);
        // A client that has gone needs to hear nothing.
        drop(peer.notify_progress(param).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_grow_over_pictures_that_are_made_together() {
        let mut progress = Progress {
            listener: None,
            said: None,
            evaluations: Vec::new(),
        };
        let mut last = 0.0;
        for done in 1..=4 {
            for index in 0..2 {
                let percent = progress.percent(index, 2, (done, 4));
                assert!(percent > last, "{percent} after {last}");
                last = percent;
            }
        }
        assert!((last - 99.0).abs() < 1e-9, "{last}");
        // a picture out of range changes nothing
        assert!((progress.percent(9, 2, (1, 4)) - 99.0).abs() < 1e-9);
    }
}
