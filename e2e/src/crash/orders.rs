//! What the crash run asks for: jobs of every kind whose saved state differs.

use imgd_proto::v1::{GenerateRequest, ImageFormat, ImageVariation, Priority, SubmitJobRequest};

use super::Plan;
use crate::random::Random;

/// Solvers with no, one and many earlier steps in their state, with noise of their own and with half steps.
const SAMPLERS: [&str; 8] = [
    "",
    "ddim",
    "euler_a",
    "heun",
    "dpmpp_2m_sde",
    "unipc",
    "lms",
    "pndm",
];

const PROMPTS: [&str; 6] = [
    "a red apple",
    "a cat on grass",
    "a sailing boat on the sea",
    "a fox on a blue background",
    "a castle in the mountains",
    "line art of a bicycle",
];

/// One job of a plan: its settings do not depend on any other's.
pub(super) fn make(plan: &Plan) -> Vec<SubmitJobRequest> {
    let mut random = Random::new(plan.seed);
    let full_every = plan.jobs.checked_div(plan.full_jobs).unwrap_or(usize::MAX);
    (0..plan.jobs)
        .map(|index| {
            // the first of each stretch, as many as asked for
            let is_full =
                index % full_every.max(1) == 0 && index / full_every.max(1) < plan.full_jobs;
            order(plan, index, is_full, &mut random)
        })
        .collect()
}

fn order(plan: &Plan, index: usize, is_full: bool, random: &mut Random) -> SubmitJobRequest {
    let (side_px, steps) = if is_full { (256, 25) } else { (128, 6) };
    let prompt = *random.pick(&PROMPTS);
    let format = *random.pick(&[ImageFormat::Png, ImageFormat::Png, ImageFormat::Webp]);
    let priority = *random.pick(&[Priority::Batch, Priority::Batch, Priority::Interactive]);
    // seeds are small, so that the request's plus the picture's index stays a number
    let generate = GenerateRequest {
        prompt: prompt.to_owned(),
        width_px: Some(side_px),
        height_px: Some(side_px),
        num_inference_steps: Some(steps),
        guidance_scale: (random.below(4) == 0).then_some(1.0),
        seed: Some(random.below(1 << 32)),
        sampler: (*random.pick(&SAMPLERS)).to_owned(),
        format: format.into(),
        priority: priority.into(),
        request_id: format!("crash-{}-{index}", plan.seed),
        ..GenerateRequest::default()
    };
    // a third of the jobs have prompts and seeds of each picture's own
    let varies = random.below(3) == 0;
    let images = (0..plan.images)
        .filter(|_| varies)
        .map(|image| ImageVariation {
            prompt: (image % 2 == 0).then(|| (*random.pick(&PROMPTS)).to_owned()),
            negative_prompt: (image % 3 == 0).then(|| "blurry".to_owned()),
            seed: (image % 2 == 1).then(|| random.below(1 << 32)),
            loras: Vec::new(),
        })
        .collect::<Vec<_>>();
    SubmitJobRequest {
        generate: Some(GenerateRequest {
            num_images: images.is_empty().then_some(plan.images),
            ..generate
        }),
        images,
        hold_after_steps: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn a_plan_has_as_many_full_jobs_as_it_says_and_each_a_name_of_its_own() {
        for (jobs, full_jobs) in [(150, 20), (12, 1), (5, 0), (4, 4)] {
            let plan = Plan {
                seed: 1,
                jobs,
                images: 4,
                full_jobs,
                kills: 0,
                clean_percent: 0,
                apart: Duration::ZERO..Duration::ZERO,
                patience: Duration::ZERO,
            };
            let orders = make(&plan);
            let generate = |order: &SubmitJobRequest| order.generate.clone().unwrap();
            let full = orders
                .iter()
                .filter(|order| generate(order).width_px == Some(256));
            assert_eq!(full.count(), full_jobs);
            let names: BTreeSet<_> = orders
                .iter()
                .map(|order| generate(order).request_id)
                .collect();
            assert_eq!(names.len(), jobs);
            assert_eq!(orders, make(&plan));
            imgd_proto::limits::validate_submit(&orders[jobs - 1]).unwrap();
        }
    }
}
