//! A disk that is full: nothing half, nothing lost, and it goes on when there is room.

use std::process::Command;

use imgd_proto::errors::Reason;

use super::*;

const NAME: &str = "journal::tests::full::a_full_disk_loses_nothing_and_goes_on_when_there_is_room";

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "on-a-small-disk");
    if let Some(directory) = arguments.nth(1) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(fill(Path::new(&directory)));
        println!("the small disk was filled");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=3m,mode=700 tmpfs \"$1\" && shift && exec \"$@\"";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", NAME, "on-a-small-disk"])
        .arg(directory.path())
        .output();
    let Ok(output) = output else {
        println!("skipped: there is no unshare(1) to make a small disk with");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !said.contains("running 1 test") {
        println!("skipped: no small disk can be made here: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the small disk was filled"), "{said}");
}

/// Asserts that every file in the library is a whole picture or thumbnail of a row.
async fn assert_whole(journal: &Journal, directory: &Path, job: &str, done: u32) {
    for index in 0..done {
        let (bytes, _) = journal.picture(job, index, false).await.unwrap();
        assert_eq!(bytes, image(index, 100_000).bytes);
    }
    let count = usize::try_from(done).unwrap();
    assert_eq!(in_library(directory), 2 * count);
}

async fn fill(directory: &Path) {
    let (journal, _) = open(directory);
    let job = record(1, 100);
    journal.insert(job.clone()).await.unwrap();
    let mut done = 0;
    let full = loop {
        let mut next = job.clone();
        next.images_done = done + 1;
        match journal.finish_image(next, done, image(done, 100_000)).await {
            Ok(()) => done += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(full.reason, Reason::DiskFull, "{full}");
    assert!((5..30).contains(&done), "{done} pictures on 3 MB");
    assert_eq!(journal.get(&job.id).await.unwrap().images_done, done);
    assert_whole(&journal, directory, &job.id, done).await;
    // The last pages go to saves, until the log cannot grow either.
    let mut saves = 0;
    let full = loop {
        saves += 1;
        match journal
            .save_generation(&job.id, saved(99, saves, 3_000 * saves as usize))
            .await
        {
            Ok(()) => {}
            Err(failure) => break failure,
        }
    };
    assert_eq!(full.reason, Reason::DiskFull, "{full}");
    let refused = journal.insert(record(2, 1)).await;
    if let Err(failure) = &refused {
        assert_eq!(failure.reason, Reason::DiskFull, "{failure}");
    }
    assert_whole(&journal, directory, &job.id, done).await;
    // Not one byte is left.
    let mut ballast = fs::File::create(directory.join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[0; 4_096]).is_ok() {}
    // A daemon that ends and starts on the full disk has everything it had.
    journal.close().await.unwrap();
    let (journal, recovered) = open(directory);
    assert_eq!(recovered.jobs[0].record.images_done, done);
    assert_eq!(recovered.jobs[0].saved[0].evaluations_done, saves - 1);
    while std::io::Write::write_all(&mut ballast, &[0; 4_096]).is_ok() {}
    let missing = journal.delete(&record(77, 1).id).await.unwrap_err();
    assert_eq!(missing.reason, Reason::JobNotFound);
    let grown = Command::new("mount")
        .args(["-o", "remount,size=20m"])
        .arg(directory)
        .status()
        .unwrap();
    assert!(grown.success());
    for index in done..20 {
        let mut next = job.clone();
        next.images_done = index + 1;
        journal
            .finish_image(next, index, image(index, 100_000))
            .await
            .unwrap();
    }
    assert_whole(&journal, directory, &job.id, done.max(20)).await;
    delete_on_full_disk(&journal, directory, &job.id).await;
    journal.close().await.unwrap();
    assert_eq!(integrity(directory), "ok");
}

/// Deleting is how room is made: it works where there is none.
async fn delete_on_full_disk(journal: &Journal, directory: &Path, job: &str) {
    // Behind these, the room is set aside again.
    for _ in 0..1_000 {
        if directory.join("reserve").exists() {
            break;
        }
        journal
            .insert(ended(record(5, 1), JobState::Failed))
            .await
            .unwrap();
        journal.delete(&record(5, 1).id).await.unwrap();
    }
    let mut ballast = fs::File::create(directory.join("more ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[0; 4_096]).is_ok() {}
    let full = journal.insert(record(6, 1)).await.unwrap_err();
    assert_eq!(full.reason, Reason::DiskFull, "{full}");
    journal.delete(job).await.unwrap();
    assert_eq!(in_library(directory), 0);
    journal.insert(record(6, 1)).await.unwrap();
}
