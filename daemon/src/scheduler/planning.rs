//! What a request would do: settings from the engine, memory from the model's headers, times from what was measured.

use std::time::Duration;

use imgd_proto::v1;
use tokio::sync::oneshot;

use super::{
    Command, Order, Scheduler, Work,
    actor::Actor,
    curves::{group_of, second_pass_of},
    desk::to_proto,
    writing::Report,
};
use crate::{
    engine::{ModelKey, Planned},
    failure::{Failure, Reason},
    queue::{Class, Group, Resident},
};

/// A worker that is needed to plan may end before it is asked; so often is another one started.
const ATTEMPTS: u32 = 3;

/// Who asked for a plan; an answer of `None` means that no engine was there to ask.
pub(super) type PlanReply = oneshot::Sender<Result<Option<v1::PlanJobResponse>, Failure>>;

impl Scheduler {
    /// Says what a request would do now. Starts a worker where there is none, and loads nothing.
    pub async fn plan(&self, order: Order) -> Result<v1::PlanJobResponse, Failure> {
        let Work::Draw(submission) = &order.work else {
            return Err(Failure::new(Reason::Internal, "a load has no plan"));
        };
        for _ in 0..ATTEMPTS {
            self.describe(order.model.clone()).await?;
            let order = Order {
                model: order.model.clone(),
                work: Work::Draw(submission.clone()),
                request_id: String::new(),
                client: String::new(),
                ..order
            };
            let plan = self.ask(|reply| Command::Plan {
                order: Box::new(order),
                reply,
            });
            if let Some(plan) = plan.await?? {
                return Ok(plan);
            }
        }
        Err(Failure::new(
            Reason::WorkerDied,
            "the worker ended before it could plan",
        ))
    }
}

/// How long things take, as far as it was measured.
#[derive(Default)]
struct Times {
    /// One evaluation of one picture, and of so many together.
    evaluation: Option<(Duration, u32, Duration)>,
    basis: String,
}

impl Actor {
    /// Asks the engine for the settings. It answers between two calls of the work at hand.
    pub(super) fn plan(&mut self, order: Box<Order>, reply: PlanReply) {
        let (Some(engine), Work::Draw(submission)) = (&self.engine, &order.work) else {
            // Who has gone needs no answer.
            drop(reply.send(Ok(None)));
            return;
        };
        let planned = engine.plan(&order.model, submission.picture(0));
        self.reports
            .spawn(async move { Report::Planned(order, planned.await.map(Box::new), reply) });
    }

    pub(super) fn planned(
        &self,
        order: &Order,
        planned: Result<Box<Planned>, Failure>,
        reply: PlanReply,
    ) {
        let plan = planned.map(|planned| self.compose(order, *planned));
        drop(reply.send(plan));
    }

    fn compose(&self, order: &Order, planned: Planned) -> Option<v1::PlanJobResponse> {
        let Work::Draw(submission) = &order.work else {
            return None;
        };
        let known = self.state.known.get(&order.model)?;
        let Planned {
            settings,
            evaluation_count,
        } = planned;
        let group = group_of(&settings);
        let second = second_pass_of(&settings);
        let largest = second.map_or(group, |second| second.group);
        let (width_px, height_px) = submission
            .enlarged_size_px()
            .unwrap_or((largest.width_px, largest.height_px));
        let pixels = u64::from(width_px) * u64::from(height_px);
        let is_loaded = self.state.resident(&order.model).is_some();
        let working_bytes = pixels.saturating_mul(known.working_bytes_per_pixel);
        let load_bytes = if is_loaded { 0 } else { known.weights_bytes };
        let available_bytes = self.available_now();
        let (evictions, fits) =
            self.evictions(&order.model, load_bytes + working_bytes, available_bytes);
        let image_count = submission.image_count();
        let times = self.times(&order.model, group, image_count);
        let loading = (!is_loaded)
            .then(|| self.state.load_times.get(&order.model).copied())
            .flatten();
        let decoding = Some(self.pace.finish_estimate()).filter(|time| !time.is_zero());
        let total = times.evaluation.map(|(_, together, time)| {
            // Those of a second pass by their pixels.
            let first = second.map_or(evaluation_count, |second| second.after);
            let later = largest.work(evaluation_count.saturating_sub(first));
            let evaluations = f64::from(first) + later as f64 / group.work(1).max(1) as f64;
            let evaluations = evaluations * f64::from(image_count);
            time.mul_f64(evaluations / f64::from(together.max(1)))
                + decoding.unwrap_or_default() * image_count
                + loading.unwrap_or_default()
        });
        let mut basis = times.basis;
        if !is_loaded && loading.is_none() && total.is_some() {
            basis += "; loading was not measured and is not counted";
        }
        if decoding.is_none() && total.is_some() {
            basis += "; decoding was not measured and is not counted";
        }
        Some(v1::PlanJobResponse {
            image_count,
            evaluation_count,
            device: "cpu".to_owned(),
            is_loaded,
            weights_bytes: known.weights_bytes,
            working_bytes,
            available_bytes,
            fits,
            evictions,
            position: self.place_of(order.priority),
            batch_size: times.evaluation.map_or(1, |(_, together, _)| together),
            loading: loading.and_then(to_proto),
            evaluation: times.evaluation.and_then(|(one, _, _)| to_proto(one)),
            decoding: decoding.and_then(to_proto),
            total: total.and_then(to_proto),
            basis,
            settings: Some(settings),
        })
    }

    /// Memory that is there for what is not in memory yet.
    fn available_now(&self) -> u64 {
        let available = (self.options.available_bytes)();
        let taken: u64 = self
            .state
            .models
            .iter()
            .map(|model| model.memory_bytes)
            .sum();
        self.options
            .max_memory_bytes
            .map_or(available, |most| available.min(most.saturating_sub(taken)))
    }

    /// Models that would be unloaded to make room, those not used for longest first; and whether that is enough.
    fn evictions(&self, key: &ModelKey, need: u64, available: u64) -> (Vec<String>, bool) {
        let mut spare: Vec<&Resident> = self.state.models.iter().collect();
        spare.retain(|model| model.key != *key);
        spare.sort_by_key(|model| model.used);
        let (mut evictions, mut available) = (Vec::new(), available);
        for model in spare {
            if need <= available {
                break;
            }
            available = available.saturating_add(model.memory_bytes);
            evictions.push(model.key.name.clone());
        }
        (evictions, need <= available)
    }

    /// Jobs that wait and would be served before one of this priority that comes now.
    fn place_of(&self, priority: v1::Priority) -> u32 {
        let class = Class::of(priority);
        let before = self
            .positions()
            .filter(|(_, id)| self.state.job(*id).is_some_and(|job| job.class <= class));
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    /// Measured evaluations of the same model: of this size, or else of another, in proportion to the pixels.
    fn times(&self, model: &ModelKey, group: Group, image_count: u32) -> Times {
        let of = |group: Group| self.state.curves.get(model, group);
        if let Some(curve) = of(group)
            && let Some(one) = curve.seconds(1)
        {
            let together = curve.best_known(image_count);
            let seconds = curve.seconds(together).unwrap_or(one);
            let time = Duration::from_secs_f64;
            return Times {
                evaluation: Some((time(one), together, time(seconds))),
                basis: format!(
                    "evaluations of this model at {} x {} pixels on this machine",
                    group.width_px, group.height_px
                ),
            };
        }
        let area = |group: Group| f64::from(group.width_px) * f64::from(group.height_px);
        let distance = |other: Group| (area(other) / area(group)).ln().abs();
        let others = self
            .state
            .curves
            .of_model(model)
            .filter(|(other, _)| other.is_guided == group.is_guided && other.adapters == 0)
            .filter_map(|(other, curve)| Some((other, curve.seconds(1)?)));
        let nearest = others.min_by(|(a, _), (b, _)| distance(*a).total_cmp(&distance(*b)));
        let Some((other, seconds)) = nearest else {
            return Times {
                evaluation: None,
                basis: "nothing of this model was measured yet".to_owned(),
            };
        };
        let one = Duration::from_secs_f64(seconds * area(group) / area(other));
        Times {
            evaluation: Some((one, 1, one)),
            basis: format!(
                "evaluations of this model at {} x {} pixels on this machine, in proportion to the pixels",
                other.width_px, other.height_px
            ),
        }
    }
}

impl Class {
    /// The class of a priority.
    pub(super) fn of(priority: v1::Priority) -> Self {
        match priority {
            v1::Priority::Batch => Self::Batch,
            v1::Priority::Background => Self::Background,
            v1::Priority::Interactive | v1::Priority::Unspecified => Self::Interactive,
        }
    }
}
