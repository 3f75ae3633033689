use std::time::{Duration, Instant};

use super::{
    Beginning, Fingerprint, Group, Job, JobId, Known, Progress, Resident, State, Tick, WorkerState,
    pick,
};
use crate::{
    engine::{GenerationId, ModelKey},
    fake_engine::model,
    keep_alive::KeepAlive,
};

fn job(id: u64, key: &ModelKey) -> Job {
    Job {
        fingerprint: Some(Fingerprint(1)),
        ..Job::new(JobId(id), key.clone(), Instant::now())
    }
}

fn begin(state: &mut State, id: u64, generation: u64) {
    let beginning = Beginning {
        generation: GenerationId(generation),
        index: 0,
        evaluations_done: 0,
        evaluation_count: 3,
        group: Group {
            width_px: 64,
            height_px: 64,
            is_guided: false,
            adapters: 0,
        },
        second: None,
        alone_until: 0,
    };
    state.begun(JobId(id), beginning, Instant::now());
}

fn resident(key: &ModelKey, used: Instant, stay_secs: u64) -> Resident {
    Resident {
        key: key.clone(),
        fingerprint: Fingerprint(1),
        memory_bytes: 10,
        used,
        keep_alive: KeepAlive::For(Duration::from_secs(stay_secs)),
        is_unwanted: false,
    }
}

fn state(now: Instant) -> State {
    State {
        worker: WorkerState::Present { used: now },
        available_bytes: 100,
        ..State::new()
    }
}

fn known(state: &mut State, key: &ModelKey, memory_bytes: u64) {
    state.known.insert(
        key.clone(),
        Known {
            fingerprint: Fingerprint(1),
            weights_bytes: memory_bytes,
            working_bytes_per_pixel: 0,
            width_px: 64,
            height_px: 64,
        },
    );
}

#[test]
fn what_a_model_takes_more_is_not_available_until_it_goes() {
    let now = Instant::now();
    let mut state = state(now);
    let key = model("a");
    state.loaded(resident(&key, now, 60), Duration::from_secs(1));
    assert_eq!(state.available_bytes, 90);
    for (bytes, available) in [(40, 60), (15, 85), (15, 85)] {
        state.takes(&key, bytes);
        assert_eq!(state.available_bytes, available);
    }
    state.unloaded(&key);
    assert_eq!(state.available_bytes, 100);
}

#[test]
fn the_size_of_a_picture_counts_before_the_model_is_loaded_and_before_it_is_begun() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    known(&mut state, &key, 40);
    state.known.get_mut(&key).unwrap().working_bytes_per_pixel = 1;
    state.jobs.push(Job {
        width_px: Some(6),
        height_px: Some(10),
        ..job(1, &key)
    });
    // 40 for the weights and 60 for the picture are what there is.
    assert_eq!(pick(&state, now), Tick::Load(JobId(1)));
    state.jobs[0].height_px = Some(11);
    let refused = |need_bytes| Tick::Refuse {
        job: JobId(1),
        need_bytes,
        have_bytes: 100,
    };
    assert_eq!(pick(&state, now), refused(106));
    state.jobs[0].height_px = Some(9);
    state.jobs[0].controls_bytes = 6;
    assert_eq!(pick(&state, now), Tick::Load(JobId(1)));
    state.jobs[0].controls_bytes = 12;
    assert_eq!(pick(&state, now), refused(106));
    state.jobs[0].controls_bytes = 0;
    state.jobs[0].height_px = Some(11);
    // What is in memory counts no more; another model that nobody needs makes room, its own does not.
    state.models.push(resident(&key, now, 100));
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
    state.jobs[0].height_px = Some(17);
    assert_eq!(pick(&state, now), refused(102));
    state.models.push(resident(&model("other"), now, 100));
    assert_eq!(pick(&state, now), Tick::Unload(model("other")));
    // A job that only loads draws nothing, and one that names no size gets the model's.
    state.models.clear();
    state.jobs[0].only_loads = true;
    assert_eq!(pick(&state, now), Tick::Load(JobId(1)));
    state.jobs[0].only_loads = false;
    (state.jobs[0].width_px, state.jobs[0].height_px) = (None, None);
    assert_eq!(pick(&state, now), refused(40 + 64 * 64));
}

#[test]
fn nothing_to_do_waits_for_ever_without_a_worker() {
    let now = Instant::now();
    assert_eq!(pick(&State::new(), now), Tick::Wait { until: None });
}

#[test]
fn work_starts_a_worker_but_not_before_its_time() {
    let now = Instant::now();
    let mut state = State::new();
    state.jobs.push(job(1, &model("m")));
    assert_eq!(pick(&state, now), Tick::StartWorker);
    let later = now + Duration::from_secs(1);
    state.worker = WorkerState::Absent {
        retry_at: Some(later),
    };
    assert_eq!(pick(&state, now), Tick::Wait { until: Some(later) });
    assert_eq!(pick(&state, later), Tick::StartWorker);
}

#[test]
fn a_job_is_looked_at_inspected_loaded_begun_stepped_finished_completed() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    state.jobs.push(Job {
        fingerprint: None,
        ..job(1, &key)
    });
    assert_eq!(pick(&state, now), Tick::Look(JobId(1)));
    state.jobs[0].fingerprint = Some(Fingerprint(1));
    state.jobs[0].is_running = true;
    assert_eq!(pick(&state, now), Tick::Inspect(key.clone()));
    known(&mut state, &key, 10);
    assert_eq!(pick(&state, now), Tick::Load(JobId(1)));
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
    begin(&mut state, 1, 7);
    assert_eq!(pick(&state, now), Tick::Step(vec![GenerationId(7)]));
    let last = Progress {
        generation: GenerationId(7),
        evaluations_done: 3,
        inference_step: 3,
        is_done: true,
    };
    state.stepped(&[last], now);
    assert_eq!(pick(&state, now), Tick::Decode(GenerationId(7)));
    state.decoded(GenerationId(7), false, now);
    assert_eq!(pick(&state, now), Tick::Decode(GenerationId(7)));
    state.decoded(GenerationId(7), true, now);
    assert_eq!(pick(&state, now), Tick::Finish(GenerationId(7)));
    assert_eq!(state.ended(GenerationId(7)), Some(JobId(1)));
    assert_eq!(pick(&state, now), Tick::Complete(JobId(1)));
}

#[test]
fn a_job_that_only_loads_is_complete_once_its_model_is_resident() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    state.jobs.push(Job {
        only_loads: true,
        images_left: 0,
        is_running: true,
        ..job(1, &key)
    });
    known(&mut state, &key, 10);
    assert_eq!(pick(&state, now), Tick::Load(JobId(1)));
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    assert_eq!(pick(&state, now), Tick::Complete(JobId(1)));
}

#[test]
fn a_model_whose_files_changed_is_loaded_anew() {
    let now = Instant::now();
    let (key, other) = (model("m"), model("other"));
    let mut state = state(now);
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    state.jobs.push(Job {
        fingerprint: Some(Fingerprint(2)),
        ..job(1, &key)
    });
    assert_eq!(
        pick(&state, now),
        Tick::EndWorker,
        "the last model goes with its process"
    );
    state.loaded(resident(&other, now, 300), Duration::ZERO);
    assert_eq!(pick(&state, now), Tick::Unload(key.clone()));
    state.unloaded(&key);
    assert_eq!(pick(&state, now), Tick::Inspect(key));
}

#[test]
fn an_idle_model_goes_when_its_time_is_over_and_not_before() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    known(&mut state, &key, 10);
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    let end = now + Duration::from_secs(300);
    assert_eq!(pick(&state, now), Tick::Wait { until: Some(end) });
    assert_eq!(pick(&state, end), Tick::EndWorker);
    state.jobs.push(job(1, &key));
    assert_eq!(
        pick(&state, end),
        Tick::Begin(JobId(1)),
        "a model that is needed stays"
    );
}

#[test]
fn an_unwanted_model_goes_at_once_unless_it_is_needed() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    known(&mut state, &key, 10);
    let unwanted = Resident {
        is_unwanted: true,
        ..resident(&key, now, 300)
    };
    state.loaded(unwanted, Duration::ZERO);
    assert_eq!(pick(&state, now), Tick::EndWorker);
    state.jobs.push(job(1, &key));
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
}

#[test]
fn a_cancelled_picture_is_forgotten_before_anything_else() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    state.jobs.push(job(1, &key));
    begin(&mut state, 1, 7);
    state.jobs[0].is_cancelled = true;
    state.jobs.push(job(2, &key));
    state.inquiries.push(key);
    assert_eq!(pick(&state, now), Tick::Forget(GenerationId(7)));
}

#[test]
fn questions_about_models_are_answered_between_two_steps() {
    let now = Instant::now();
    let (key, other) = (model("m"), model("other"));
    let mut state = state(now);
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    state.jobs.push(job(1, &key));
    begin(&mut state, 1, 7);
    state.inquiries.push(other.clone());
    assert_eq!(pick(&state, now), Tick::Inspect(other));
}

#[test]
fn the_least_recently_used_model_goes_first_and_a_job_that_cannot_fit_is_refused() {
    let now = Instant::now();
    let (old, young, large) = (model("old"), model("young"), model("large"));
    let mut state = state(now);
    known(&mut state, &large, 100);
    state.loaded(
        resident(&young, now + Duration::from_secs(1), 300),
        Duration::ZERO,
    );
    state.loaded(resident(&old, now, 300), Duration::ZERO);
    assert_eq!(state.available_bytes, 80);
    state.jobs.push(job(1, &large));
    assert_eq!(pick(&state, now), Tick::Unload(old.clone()));
    state.unloaded(&old);
    assert_eq!(pick(&state, now), Tick::EndWorker);
    // For what can never fit nobody has to go.
    known(&mut state, &large, 1000);
    let refused = Tick::Refuse {
        job: JobId(1),
        need_bytes: 1000,
        have_bytes: 100,
    };
    assert_eq!(pick(&state, now), refused);
}

#[test]
fn a_blocked_job_lets_the_next_one_pass_but_finishes_its_picture() {
    let now = Instant::now();
    let key = model("m");
    let mut state = state(now);
    known(&mut state, &key, 10);
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    state.jobs.push(Job {
        is_blocked: true,
        is_running: true,
        ..job(1, &key)
    });
    state.jobs.push(job(2, &key));
    assert_eq!(pick(&state, now), Tick::Begin(JobId(2)));
    state.jobs.pop();
    begin(&mut state, 1, 3);
    assert_eq!(pick(&state, now), Tick::Step(vec![GenerationId(3)]));
}

#[test]
fn a_worker_without_models_lingers_a_little() {
    let now = Instant::now();
    let state = state(now);
    let Tick::Wait { until: Some(end) } = pick(&state, now) else {
        panic!()
    };
    assert_eq!(pick(&state, end), Tick::EndWorker);
}

mod sharing;
mod turns;
