//! What calls cost. Run by hand: `cargo test -p imgd --lib -- --ignored --nocapture journal::tests::speed`.

use super::*;

/// Prints the middle and the 99th percentile of times, in milliseconds.
fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}

#[tokio::test]
#[ignore = "measures"]
async fn what_calls_cost() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load: {load}");
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let mut times = Vec::new();
    for number in 0..400 {
        let began = Instant::now();
        journal.insert(record(number, 4)).await.unwrap();
        times.push(began.elapsed());
    }
    print("insert", times);
    let mut times = Vec::new();
    for number in 0..400 {
        let began = Instant::now();
        journal.update(record(number, 4)).await.unwrap();
        times.push(began.elapsed());
    }
    print("update", times);
    let job = record(0, 4);
    let mut times = Vec::new();
    for evaluations in 0..400 {
        let saved = saved(evaluations % 4, evaluations, 300 << 10);
        let began = Instant::now();
        journal.save_generation(&job.id, saved).await.unwrap();
        times.push(began.elapsed());
    }
    print("save_generation of 300 KiB", times);
    let mut times = Vec::new();
    for number in 0..400 {
        let image = image(number, 300_000);
        let began = Instant::now();
        journal
            .finish_image(record(number, 4), 0, image)
            .await
            .unwrap();
        times.push(began.elapsed());
    }
    print("finish_image of 300 kB", times);
    let mut times = Vec::new();
    for number in 0..400 {
        let began = Instant::now();
        let id = record(number, 4).id;
        journal.picture(&id, 0, false).await.unwrap();
        times.push(began.elapsed());
    }
    print("picture of 300 kB", times);
    let mut times = Vec::new();
    for number in 0..100 {
        let began = Instant::now();
        journal.delete(&record(number, 4).id).await.unwrap();
        times.push(began.elapsed());
    }
    print("delete of a job with a picture", times);
    let began = Instant::now();
    let answers: Vec<_> = (1_000..11_000)
        .map(|number| journal.insert(record(number, 1)))
        .collect();
    for answer in answers {
        answer.await.unwrap();
    }
    println!(
        "10,000 inserts at once: {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    journal.list(&[], "", 50, "").await.unwrap();
    println!(
        "first page of 10,300 jobs: {:.2} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    journal.close().await.unwrap();
    let size = fs::metadata(directory.path().join("journal.db"))
        .unwrap()
        .len();
    println!("database: {size} bytes");
    let began = Instant::now();
    let (_journal, recovered) = open(directory.path());
    println!(
        "open with {} unfinished jobs: {:.2} s",
        recovered.jobs.len(),
        began.elapsed().as_secs_f64()
    );
}
