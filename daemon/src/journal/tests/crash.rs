//! A process that is killed at any moment loses nothing it was told is safe, and leaves nothing half done.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    thread,
};

use super::*;

const IMAGES: u32 = 4;
const EVALUATIONS: u32 = 5;
const JOBS: u32 = 60;

/// Bytes that the picture of this job and index has in every run; two of a job are alike.
fn picture(number: u32, index: u32) -> FinishedImage {
    image(number * IMAGES + index.min(2), 20_000)
}

/// The other process: goes on with the jobs it finds, then makes new ones, and says what the journal has answered.
async fn work(directory: &Path) {
    let (journal, recovered) = open(directory);
    let say = |what: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{what}").unwrap();
        out.flush().unwrap();
    };
    let mut jobs: Vec<Recorded> = recovered.jobs;
    let (known, _) = journal.list(&[], "", 1, "").await.unwrap();
    let next = known
        .first()
        .map_or(0, |job| u32::from_str_radix(&job.id[24..], 16).unwrap() + 1);
    for number in next..JOBS {
        let record = record(number, IMAGES);
        journal.insert(record.clone()).await.unwrap();
        say(format!("job {number}"));
        jobs.push(Recorded {
            record,
            images: Outcomes::default(),
            saved: Vec::new(),
        });
    }
    for Recorded {
        mut record,
        images,
        saved: found,
    } in jobs
    {
        let number = u32::from_str_radix(&record.id[24..], 16).unwrap();
        for index in (0..IMAGES).filter(|&index| images.state(index).is_none()) {
            let done = found
                .iter()
                .find(|saved| saved.index == index)
                .map_or(0, |saved| saved.evaluations_done);
            say(format!("goes on {number} {index} {done}"));
            for evaluations in done + 1..EVALUATIONS {
                let saved = saved(index, evaluations, 30_000);
                journal.save_generation(&record.id, saved).await.unwrap();
                say(format!("saved {number} {index} {evaluations}"));
            }
            record.images_done += 1;
            if record.images_done == IMAGES {
                record = ended(record, JobState::Succeeded);
            }
            let picture = picture(number, index);
            journal
                .finish_image(record.clone(), index, picture)
                .await
                .unwrap();
            say(format!("done {number} {index}"));
        }
    }
    say("all".to_owned());
}

/// What was promised so far.
#[derive(Default)]
struct Promised {
    jobs: Vec<u32>,
    done: Vec<(u32, u32)>,
    saved: std::collections::BTreeMap<(u32, u32), u32>,
}

impl Promised {
    /// Takes a line in, and checks it against what was promised before.
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().unwrap();
        match words[0] {
            "job" => self.jobs.push(number(1)),
            "saved" => drop(self.saved.insert((number(1), number(2)), number(3))),
            "done" => self.done.push((number(1), number(2))),
            "goes" => {
                let which = (number(2), number(3));
                assert!(!self.done.contains(&which), "{which:?} is made twice");
                let saved = self.saved.get(&which).copied().unwrap_or(0);
                assert!(number(4) >= saved, "{line}, but {saved} were saved");
            }
            _ => {}
        }
    }
}

#[test]
fn killed_at_any_moment_nothing_is_lost_twice_or_half() {
    // The other process is this program, which is told where to work.
    let mut arguments = std::env::args().skip_while(|argument| argument != "work-until-killed");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(directory) = arguments.nth(1) {
        runtime.block_on(work(Path::new(&directory)));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut promised = Promised::default();
    let (mut kills, mut seed) = (0, 7_u32);
    loop {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let life = Duration::from_millis(u64::from(seed >> 25) + 30);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("journal::tests::crash::killed_at_any_moment_nothing_is_lost_twice_or_half")
            .arg("work-until-killed")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let reads = thread::spawn(move || lines.lines().map_while(Result::ok).collect::<Vec<_>>());
        thread::sleep(life);
        child.kill().unwrap();
        child.wait().unwrap();
        let lines = reads.join().unwrap();
        for line in &lines {
            promised.take(line);
        }
        if lines.iter().any(|line| line == "all") {
            break;
        }
        kills += 1;
        assert!(kills < 1_000, "no progress");
    }
    assert!(kills > 5, "only {kills} kills: the work is too little");
    runtime.block_on(check(directory.path(), &promised));
    println!("{kills} kills");
}

async fn check(directory: &Path, promised: &Promised) {
    let (journal, recovered) = open(directory);
    assert_eq!(recovered.jobs, []);
    for number in 0..JOBS {
        let job = journal.get(&record(number, IMAGES).id).await.unwrap();
        assert_eq!(job.state, JobState::Succeeded);
        let outcomes = journal.outcomes(&job.id).await.unwrap();
        assert_eq!(outcomes.count(ImageState::Done), IMAGES);
        for index in 0..IMAGES {
            let (bytes, _) = journal.picture(&job.id, index, false).await.unwrap();
            assert_eq!(bytes, picture(number, index).bytes);
        }
    }
    let statistics = journal.statistics().await.unwrap();
    assert_eq!((statistics.jobs, statistics.images), (60, 240));
    // No picture was made again once it was promised, so the promises are at most the pictures.
    assert!(promised.done.len() <= 240 && promised.jobs.len() <= 60);
    journal.close().await.unwrap();
    assert_eq!(integrity(directory), "ok");
    // Three different pictures a job, each with its thumbnail, and nothing that is not whole.
    assert_eq!(in_library(directory), 60 * 3 * 2);
}
