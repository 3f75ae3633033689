//! Which models are in memory: several under a budget, the least recently used going first, and memory given back.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{fs, path::Path, time::Duration};

use imgd_e2e::{Daemon, Home, processes, repository};

/// A daemon that has the starter in three places, so as three models, and keeps what it loads.
fn daemon(settings: &str) -> Daemon {
    let models = ["one", "two", "three"].map(|name| format!("{name} = \"~/{name}\"\n"));
    let models = models.concat();
    let config = format!("keep_alive = \"-1\"\n{settings}\n[models]\n{models}");
    let home = Home::with_config(&config);
    for name in ["one", "two", "three"] {
        copy(
            &repository().join("models/starter"),
            &home.path().join("home").join(name),
        );
    }
    Daemon::start_in(home, |_| {})
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Names of the models in memory, and the memory each takes in bytes.
fn loaded(daemon: &Daemon) -> Vec<(String, u64)> {
    let lines = daemon.run(["ps", "--json"]).ok().json();
    let model = |line: &serde_json::Value| {
        let bytes = &line["memory_bytes"];
        let bytes = bytes.as_u64().or_else(|| bytes.as_str()?.parse().ok());
        Some((line["name"].as_str()?.to_owned(), bytes?))
    };
    lines.iter().map(|line| model(line).unwrap()).collect()
}

fn names(daemon: &Daemon) -> Vec<String> {
    let mut names: Vec<_> = loaded(daemon).into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

fn draw(daemon: &Daemon, model: &str, file: &str) -> Vec<u8> {
    let arguments = ["generate", "a red apple", "--seed", "7", "--steps", "2"];
    let arguments = arguments.into_iter().chain(["--model", model, "-o", file]);
    daemon.run(arguments).ok();
    fs::read(daemon.work().join(file)).unwrap()
}

#[test]
fn unloading_one_of_two_models_gives_its_memory_back_to_the_system() {
    let daemon = daemon("");
    let picture = draw(&daemon, "one", "1.png");
    let worker = daemon.worker().unwrap();
    let with_one = processes::resident_bytes(worker);
    draw(&daemon, "two", "2.png");
    let with_both = processes::resident_bytes(worker);
    let models = loaded(&daemon);
    assert_eq!(models.len(), 2, "{models:?}");
    let (_, measured) = models.iter().find(|(name, _)| name == "two").unwrap();
    daemon.run(["unload", "two"]).ok();
    let mut after = 0;
    let falls = processes::within(Duration::from_secs(10), || {
        after = processes::resident_bytes(worker);
        with_both.saturating_sub(after) >= measured / 10 * 9
    });
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "worker's RSS in MiB: one model {}, two {}, one again {}; the second was measured at {}",
        mib(with_one),
        mib(with_both),
        mib(after),
        mib(*measured)
    );
    assert!(falls, "the memory did not come back");
    // The other model is where it was, in the same process, and as it was.
    assert_eq!(names(&daemon), ["one"]);
    assert_eq!(daemon.worker(), Some(worker));
    assert!(draw(&daemon, "one", "3.png") == picture);
    // The last one goes with its process.
    daemon.run(["unload", "one"]).ok();
    assert!(processes::gone_within(worker, Duration::from_secs(10)));
}

#[test]
fn loading_and_unloading_again_and_again_takes_no_more_memory() {
    let daemon = daemon("");
    daemon.run(["load", "one"]).ok();
    let worker = daemon.worker().unwrap();
    let with_one = processes::resident_bytes(worker);
    let mut sizes = Vec::new();
    for round in 0..6 {
        draw(&daemon, "two", &format!("{round}.png"));
        daemon.run(["unload", "two"]).ok();
        // The answer comes before the memory does.
        let is_back = || processes::resident_bytes(worker) <= with_one + (40 << 20);
        let comes_back = processes::within(Duration::from_secs(10), is_back);
        sizes.push(processes::resident_bytes(worker) >> 20);
        assert!(comes_back, "from {} MiB to {sizes:?}", with_one >> 20);
    }
    println!(
        "worker's RSS in MiB: {} with one model, {sizes:?} after each round with another",
        with_one >> 20
    );
}

#[test]
fn the_least_recently_used_model_makes_room() {
    let own = {
        let daemon = daemon("");
        daemon.run(["load", "one"]).ok();
        loaded(&daemon)[0].1
    };
    // Room for two and what their pictures take, not for three.
    let daemon = daemon(&format!("max_memory = {}", own * 2 + own / 4));
    for (model, expected) in [
        ("one", &["one"][..]),
        ("two", &["one", "two"]),
        // One is used again, so that two has not been for longest.
        ("one", &["one", "two"]),
        ("three", &["one", "three"]),
        ("two", &["three", "two"]),
    ] {
        daemon.run(["load", model]).ok();
        assert_eq!(names(&daemon), expected, "after {model}");
    }
}

#[test]
fn a_model_that_cannot_fit_is_refused_before_it_is_read_and_the_others_stay() {
    let daemon = daemon("max_memory = \"8MiB\"");
    let run = daemon.run(["load", "one"]);
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("needs"), "{}", run.stderr);
    assert!(
        run.stderr.contains("8.0 MiB is available"),
        "{}",
        run.stderr
    );
    assert!(names(&daemon).is_empty());
}

#[test]
fn a_stay_of_nothing_unloads_at_once_and_a_negative_one_never() {
    let daemon = daemon("");
    let draw = |stay: &str, file: &str| {
        let arguments = ["generate", "a red apple", "--steps", "1", "--model", "one"];
        let stay = format!("--keep-alive={stay}");
        let arguments = arguments.into_iter().chain([stay.as_str(), "-o", file]);
        daemon.run(arguments).ok();
    };
    draw("0", "0.png");
    let is_empty = || names(&daemon).is_empty();
    assert!(processes::within(Duration::from_secs(10), is_empty));
    for (stay, file) in [("-1", "1.png"), ("10m", "2.png"), ("600", "3.png")] {
        draw(stay, file);
        assert_eq!(names(&daemon), ["one"], "{stay}");
    }
    draw("1s", "4.png");
    assert!(processes::within(Duration::from_secs(15), is_empty));
}
