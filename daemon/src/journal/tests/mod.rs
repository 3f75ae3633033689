//! The journal on real disks, with real databases.

mod choices;
mod crash;
mod deletion;
mod full;
mod lifecycle;
mod limits;
mod lists;
mod model;
mod refusals;
mod speed;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use imgd_proto::v1::{self, ImageState, JobState};

use super::*;
use crate::engine::{ModelKey, Place as ModelPlace};

/// A word that must not be found where it was deleted.
const CANARY: &str = "canary7351";

fn open(directory: &Path) -> (Journal, Recovered) {
    Journal::open(directory, Limits::default()).unwrap()
}

/// A new job of so many pictures; `number` decides its id.
fn record(number: u32, image_count: u32) -> Record {
    let submission = v1::SubmitJobRequest {
        generate: Some(v1::GenerateRequest {
            prompt: format!("{CANARY} {number}"),
            seed: Some(u64::from(number)),
            num_images: Some(image_count),
            ..Default::default()
        }),
        ..Default::default()
    };
    Record {
        id: format!("{number:032x}"),
        submit_key: None,
        model_key: ModelKey {
            place: ModelPlace::Directory("/models/a \u{fc}".into()),
            name: "a".to_owned(),
            precision: v1::Precision::Auto,
        },
        submission: Arc::new(submission),
        attached: false,
        client: "tests".to_owned(),
        priority: v1::Priority::Batch,
        state: JobState::Queued,
        pause_reason: v1::PauseReason::Unspecified,
        is_released: false,
        problem: None,
        image_count,
        images_done: 0,
        images_failed: 0,
        images_held: 0,
        images_dropped: 0,
        submitted: UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
        started: None,
        finished: None,
        timings: v1::Finished::default(),
        worker_deaths: 0,
        cursor: (7 << 32) | u64::from(number),
    }
}

fn ended(mut record: Record, state: JobState) -> Record {
    record.state = state;
    record.finished = Some(SystemTime::now());
    record
}

/// A picture whose bytes are decided by `number`.
fn image(number: u32, size: usize) -> FinishedImage {
    let (mut state, mut bytes) = (number, Vec::with_capacity(size));
    for _ in 0..size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push(state.to_be_bytes()[0]);
    }
    FinishedImage {
        bytes: bytes.into(),
        thumbnail: format!("thumbnail {number} {CANARY}").into_bytes().into(),
        metadata: v1::ImageMetadata {
            format: v1::ImageFormat::Png.into(),
            parameters: format!("{CANARY} picture {number}"),
            ..Default::default()
        },
    }
}

fn saved(index: u32, evaluations_done: u32, size: usize) -> SavedImage {
    SavedImage {
        index,
        evaluations_done,
        evaluation_count: 20,
        bytes: [CANARY.as_bytes(), &vec![index.to_le_bytes()[0]; size]]
            .concat()
            .into(),
        preview: None,
    }
}

fn problem() -> v1::Problem {
    v1::Problem {
        reason: "NUMERICS".to_owned(),
        message: "not a number".to_owned(),
        ..Default::default()
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Pictures and thumbnails in the library.
fn in_library(directory: &Path) -> usize {
    files(&directory.join("library")).len()
}

/// Files that hold the canary.
fn with_canary(directory: &Path) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes())
    };
    files(directory).into_iter().filter(holds).collect()
}

/// What SQLite says of the whole database.
fn integrity(directory: &Path) -> String {
    let connection = rusqlite::Connection::open(directory.join("journal.db")).unwrap();
    connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap()
}
