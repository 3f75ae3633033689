//! From a request of the contract to an order for the scheduler.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use imgd_proto::{limits, v1};

use super::{
    controls, embeddings, loras,
    names::{self, Names, Resolved},
    parts, prompts, upscalers,
};
use crate::{
    engine::ModelKey,
    failure::Failure,
    keep_alive::KeepAlive,
    scheduler::{Lifetime, Order, Work},
    submission::Submission,
};

/// The job whose life is the stream of a checked request. `is_private` is for one that does not say.
pub(super) fn attached(
    request: v1::GenerateRequest,
    names: &Names,
    client: String,
    is_private: bool,
) -> Result<Order, Failure> {
    let is_private = request.private.unwrap_or(is_private);
    let request = v1::SubmitJobRequest {
        generate: Some(request),
        ..v1::SubmitJobRequest::default()
    };
    order(request, names, client, (Lifetime::Attached, is_private))
}

/// The job that a checked request makes, and that outlives its client. `is_private` is for one that does not say: what
/// is private cannot be kept, and so cannot outlive anybody.
pub(super) fn detached(
    request: v1::SubmitJobRequest,
    names: &Names,
    client: String,
    is_private: bool,
) -> Result<Order, Failure> {
    let said = request.generate.as_ref().and_then(|common| common.private);
    if said.unwrap_or(is_private) {
        let message = "`private = true` is set for this daemon, and a job that outlives its client is written to disk";
        return Err(Failure::invalid("private", message).with_hint(
            "make the pictures while you wait (without --detach), or allow this job: `private: false` in the request",
        ));
    }
    order(request, names, client, (Lifetime::Detached, false))
}

fn order(
    request: v1::SubmitJobRequest,
    names: &Names,
    client: String,
    (lifetime, is_private): (Lifetime, bool),
) -> Result<Order, Failure> {
    let mut request = request;
    let common = request.generate.get_or_insert_default();
    if let Some(upscale) = &common.upscale {
        let model = upscalers::find(&upscale.upscaler, &names.upscaler_dir, &names.found)?;
        let submission = Submission::new(request, random_seed);
        return finished(submission, model, client, (lifetime, is_private));
    }
    names::check(common)?;
    let Resolved {
        key: model, preset, ..
    } = names.resolve(&common.model)?;
    preset.fill(common);
    let submission = prompts::expand(Submission::new(request, random_seed), names)?;
    let submission = submission.changed(|request| {
        let found = &names.found;
        if let Some(common) = &mut request.generate {
            parts::find(&mut common.model_parts, found)?;
        }
        loras::find(request, &names.lora_dir, found)?;
        embeddings::find(request, &names.embedding_dir, found)?;
        controls::find(request, &names.control_dir, found)
    })?;
    let common = submission.generate();
    let model = names::with_files(model, &common.model_config, &common.model_parts)?;
    finished(submission, model, client, (lifetime, is_private))
}

fn finished(
    submission: Submission,
    model: ModelKey,
    client: String,
    (lifetime, is_private): (Lifetime, bool),
) -> Result<Order, Failure> {
    let common = submission.generate();
    Ok(Order {
        model: model.with_precision(common.precision()),
        keep_alive: keep_alive(common.keep_alive.as_ref())?,
        priority: submission.priority(),
        request_id: common.request_id.clone(),
        work: Work::Draw(submission),
        lifetime,
        is_private,
        client,
    })
}

/// How long the model stays, where a request says so.
pub(super) fn keep_alive(
    wanted: Option<&prost_types::Duration>,
) -> Result<Option<KeepAlive>, Failure> {
    let wanted = wanted.map(limits::keep_alive).transpose()?;
    Ok(wanted.map(KeepAlive::from))
}

/// A seed that other tools take as well: 32 bits. The hasher's keys are random.
fn random_seed() -> u64 {
    RandomState::new().hash_one(Instant::now()) >> 32
}

#[cfg(test)]
mod tests {
    use imgd_proto::v1;

    use super::{Names, detached};
    use crate::failure::{Failure, Reason};

    fn submit(private: Option<bool>, is_private: bool) -> Result<bool, Failure> {
        let names = Names {
            models: [("m".to_owned(), "/m".into())].into(),
            default_model: "m".to_owned(),
            ..Names::bare()
        };
        let request = v1::SubmitJobRequest {
            generate: Some(v1::GenerateRequest {
                prompt: "apple".to_owned(),
                private,
                ..v1::GenerateRequest::default()
            }),
            ..v1::SubmitJobRequest::default()
        };
        let order = detached(request, &names, "test".to_owned(), is_private)?;
        Ok(order.is_private)
    }

    #[test]
    fn a_private_daemon_writes_a_job_down_only_where_the_request_says_so() {
        for (said, setting) in [(None, false), (Some(false), false), (Some(false), true)] {
            assert_eq!(submit(said, setting), Ok(false), "{said:?} {setting}");
        }
        for (said, setting) in [(None, true), (Some(true), true), (Some(true), false)] {
            let failure = submit(said, setting).unwrap_err();
            assert_eq!(failure.reason, Reason::InvalidField);
            assert_eq!(failure.field.as_deref(), Some("private"));
        }
        let failure = submit(None, true).unwrap_err();
        assert!(failure.message.contains("`private = true`"), "{failure}");
        assert!(failure.hint.unwrap().contains("`private: false`"));
    }
}
