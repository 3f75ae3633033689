//! What the engine's lists say of samplers and schedules, as the contract has it.

use imgd_engine::sampling;
use imgd_proto::v1;

/// Every sampler and schedule, and which go together.
pub(super) fn list() -> v1::ListSamplersResponse {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let samplers = sampling::samplers().iter().map(|sampler| v1::Sampler {
        name: sampler.name.to_owned(),
        description: sampler.description.to_owned(),
        diffusers_class: sampler.diffusers_class.to_owned(),
        schedules: owned(sampler.schedules),
        predictions: owned(sampler.predictions),
        zero_snr: sampler.zero_snr,
        stochastic: sampler.stochastic,
        evaluations_per_step: u32::try_from(sampler.evaluations_per_step).unwrap_or(u32::MAX),
    });
    let schedules = sampling::schedules().iter().map(|schedule| v1::Schedule {
        name: schedule.name.to_owned(),
        description: schedule.description.to_owned(),
    });
    v1::ListSamplersResponse {
        samplers: samplers.collect(),
        schedules: schedules.collect(),
    }
}
