//! A disk without room stops a batch and damages nothing; with room it goes on by itself.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use imgd_e2e::{
    Daemon, Home, SmallDisk,
    library::{self, Library},
    line::{self, Line},
    processes, program,
};
use imgd_proto::{
    Failure, Reason,
    v1::{
        GenerateRequest, JobState, PauseReason, Priority, SubmitJobRequest, WatchJobRequest,
        watch_job_response::Event,
    },
};
use rustix::process::Signal;

/// Enough at 128x128 to fill the disk several times.
const IMAGES: u32 = 150;
const SOON: Duration = Duration::from_secs(120);

fn batch(images: u32) -> SubmitJobRequest {
    SubmitJobRequest {
        generate: Some(GenerateRequest {
            prompt: "a red apple".into(),
            width_px: Some(128),
            height_px: Some(128),
            num_inference_steps: Some(1),
            guidance_scale: Some(1.0),
            seed: Some(7),
            num_images: Some(images),
            priority: Priority::Batch.into(),
            ..GenerateRequest::default()
        }),
        ..SubmitJobRequest::default()
    }
}

/// Nothing in the folder is unfinished, and every file is a picture of the job.
async fn nothing_is_half(line: &Line, job: &str, folder: &Path) -> BTreeSet<String> {
    // pictures first: one that is finished meanwhile has a file and is not yet counted
    let library = Library::read(folder).unwrap();
    let mut known = BTreeSet::new();
    for image in line.pictures(job).await.unwrap() {
        for thumbnail in [false, true] {
            let picture = line
                .picture(job, image.image_index, thumbnail)
                .await
                .unwrap();
            known.insert(library::sha256(&picture.bytes));
        }
    }
    assert_eq!(library.leftovers(), Vec::<&Path>::new());
    for (path, sum) in &library.blobs {
        assert!(
            known.contains(sum),
            "{} is no picture of the job",
            path.display()
        );
    }
    known
}

#[test]
fn a_full_disk_pauses_a_batch_which_goes_on_when_there_is_room() {
    let home = Home::new();
    fs::create_dir_all(home.data()).unwrap();
    let disk = match SmallDisk::mount(&home.data(), "5m") {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut daemon = Daemon::start_by(home, disk.starter(program("imgd")));
    line::runtime().block_on(async {
        let line = Line::to(daemon.socket());
        let job = line.submit(batch(IMAGES)).await.unwrap().job.unwrap().id;
        let watcher = tokio::spawn(notices(line.clone(), job.clone()));

        let is_stopped = |state| matches!(state, JobState::Paused) || line::is_final(state);
        let full = line
            .job_when(&job, SOON, |job| is_stopped(job.state()))
            .await
            .unwrap();
        assert_eq!(full.state(), JobState::Paused, "{full:?}");
        assert_eq!(full.pause_reason(), PauseReason::DiskFull, "{full:?}");
        assert!((1..IMAGES).contains(&full.images_done), "{full:?}");
        let before = nothing_is_half(&line, &job, &disk.folder()).await;

        // not one byte is left
        let filler = disk.folder().join("filler");
        let written = fs::write(&filler, vec![1; 8 << 20]);
        assert!(written.is_err(), "the disk is larger than was said");
        let refused = line.submit(batch(1)).await.unwrap_err();
        let failure = Failure::from_status(&refused);
        assert_eq!(failure.reason, Reason::DiskFull, "{refused}");
        let at = Instant::now();
        line.status().await.unwrap();
        assert!(
            at.elapsed() < Duration::from_millis(500),
            "{:?}",
            at.elapsed()
        );
        let still = line.job(&job).await.unwrap();
        assert_eq!(still.state(), JobState::Paused, "{still:?}");

        fs::remove_file(filler).unwrap();
        disk.resize(daemon.home(), "64m");
        let ended = line.ended(&job, SOON).await.unwrap();
        assert_eq!(ended.state(), JobState::Succeeded, "{ended:?}");
        assert_eq!(ended.images_done, IMAGES);
        let after = nothing_is_half(&line, &job, &disk.folder()).await;
        assert!(after.is_superset(&before));
        assert!(watcher.await.unwrap() > 0, "no watcher was told");
        // what was refused for want of room is taken now
        line.submit(batch(1)).await.unwrap();
    });
    processes::signal(daemon.pid(), Signal::TERM);
    assert_eq!(daemon.exit_code_within(SOON), Some(0), "{}", daemon.log());
    assert_eq!(library::check(&disk.folder()), Ok(1));
}

/// Notices of a full disk that a watcher gets.
async fn notices(line: Line, job_id: String) -> usize {
    let request = WatchJobRequest { job_id, cursor: 0 };
    let mut stream = line.jobs().watch_job(request).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(message) = stream.message().await.unwrap() {
        let is_it =
            |event| matches!(event, Some(Event::Notice(notice)) if notice.reason == "disk_full");
        count += usize::from(is_it(message.event));
    }
    count
}

#[test]
fn a_daemon_killed_on_a_full_disk_goes_on_when_there_is_room() {
    let home = Home::new();
    fs::create_dir_all(home.data()).unwrap();
    let disk = match SmallDisk::mount(&home.data(), "4m") {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut daemon = Daemon::start_by(home, disk.starter(program("imgd")));
    let runtime = line::runtime();
    let job = runtime.block_on(async {
        let line = Line::to(daemon.socket());
        let job = line.submit(batch(IMAGES)).await.unwrap().job.unwrap().id;
        let is_full = |job: &imgd_proto::v1::Job| job.pause_reason() == PauseReason::DiskFull;
        line.job_when(&job, SOON, is_full).await.unwrap();
        job
    });
    daemon.kill();
    assert_eq!(library::check(&disk.folder()), Ok(1));
    disk.resize(daemon.home(), "64m");
    daemon.start_again();
    daemon.wait_until_it_listens();
    runtime.block_on(async {
        let line = Line::to(daemon.socket());
        let ended = line.ended(&job, SOON).await.unwrap();
        assert_eq!(ended.state(), JobState::Succeeded, "{ended:?}");
        nothing_is_half(&line, &job, &disk.folder()).await;
    });
}
