//! Pictures to look at: what does not work is told before anything is drawn, and the daemon goes on.

use imgd_e2e::{Daemon, refusal::USAGE};

#[test]
fn what_cannot_be_looked_at_is_told_by_its_flag() {
    let daemon = Daemon::start();
    daemon
        .run([
            "generate",
            "a red apple",
            "--seed",
            "3",
            "--steps",
            "2",
            "-o",
            "seen.png",
        ])
        .ok();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let run = ["generate", "a red apple", "-o", "-"].into_iter();
        let run = daemon.run(run.chain(arguments.iter().copied()));
        assert_eq!(run.code, USAGE, "{arguments:?}: {}", run.stderr);
        for part in parts {
            assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
        }
    };
    let seen = ["--ref-image", "seen.png"];
    refused(
        &seen,
        &[
            "--ref-image is set, but this model looks at no pictures",
            "flux2_klein",
        ],
    );
    refused(
        &[&seen[..], &seen, &seen, &seen, &seen].concat(),
        &["--ref-image", "0 to 4"],
    );
    refused(
        &["--ref-image", "nowhere.png"],
        &["--ref-image", "cannot read"],
    );
    std::fs::write(daemon.work().join("text.png"), "text").expect("a file");
    refused(&["--ref-image", "text.png"], &["--ref-image", "no PNG"]);
    refused(
        &[&seen[..], &["--init-image", "seen.png"]].concat(),
        &["--ref-image", "--init-image"],
    );

    let lines = "{\"prompt\": \"a red apple\", \"ref_images\": \"seen.png;nowhere.png\"}\n";
    std::fs::write(daemon.work().join("lines.jsonl"), lines).expect("a batch");
    std::fs::create_dir(daemon.work().join("made")).expect("a folder");
    let batch = daemon.run(["batch", "lines.jsonl", "-o", "made/"]);
    assert_eq!(batch.code, USAGE, "{}", batch.stderr);
    assert!(
        batch.stderr.contains("nowhere.png: cannot read"),
        "{}",
        batch.stderr
    );

    daemon
        .run([
            "generate",
            "a red apple",
            "--seed",
            "3",
            "--steps",
            "2",
            "-o",
            "again.png",
        ])
        .ok();
    let file = |name: &str| std::fs::read(daemon.work().join(name)).expect("a picture");
    assert!(file("seen.png") == file("again.png"));
}
