//! Places that cannot be written, a disk that is full, a daemon that cannot start: each said clearly.

use std::{fs, os::unix::fs::PermissionsExt as _};

use imgd_e2e::{
    Daemon, Home, program,
    refusal::{CANARY, CANNOT_CREATE, CONFIG, UNAVAILABLE, check, report, still_answers},
    run::Run,
};

#[test]
fn unwritable_places_are_refused() {
    let daemon = Daemon::start();
    let file = daemon.work().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("a.png");
    let mut results = vec![check(
        &daemon,
        &["-o", below.to_str().unwrap()],
        &[CANNOT_CREATE],
        &["file/a.png"],
    )];
    let locked = daemon.work().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    // the superuser may write there all the same
    if fs::write(locked.join("probe"), "").is_err() {
        let path = locked.join("a.png");
        results.push(check(
            &daemon,
            &["-o", path.to_str().unwrap()],
            &[CANNOT_CREATE],
            &["locked", "permission"],
        ));
    } else {
        println!("skipped: the superuser can write everywhere");
    }
    report(results);
    still_answers(&daemon);
}

#[test]
fn a_full_disk_leaves_no_half_picture() {
    let home = Home::new();
    let script = "mkdir full && mount -t tmpfs -o size=16k tmpfs full && cd full && \
                  { \"$@\"; code=$?; ls -A; exit $code; }";
    let probe = home.command("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: no user namespaces here");
        return;
    }
    let daemon = Daemon::start_in(home, |_| {});
    let mut command = daemon.home().command("unshare");
    command
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(program("imgctl"));
    command.args(["generate", "a red apple", "--steps", "1", "-o", "a.png"]);
    let run = Run::of(&mut command);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (CANNOT_CREATE, ""),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("a.png") && run.stderr.contains("space"),
        "{}",
        run.stderr
    );
    still_answers(&daemon);
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let home = Home::with_config("keep_alive = \"soon\"\n");
    let run = home.run(["generate", CANARY, "--steps", "1"]);
    assert_eq!(run.code, CONFIG, "{}", run.stderr);
    for word in ["config.toml", "keep_alive", "soon"] {
        assert!(run.stderr.contains(word), "{word} in {}", run.stderr);
    }
    assert_eq!(home.daemon_pid(), None);

    let home = Home::new();
    let run = Run::of(
        home.imgctl()
            .env("IMGD_BIN", "/nonexistent/imgd")
            .arg("status"),
    );
    // status starts nothing; a verb that needs the daemon names what it tried
    assert_eq!(run.code, UNAVAILABLE, "{}", run.stderr);
    let mut command = home.imgctl();
    command
        .env("IMGD_BIN", "/nonexistent/imgd")
        .args(["generate", "a fox"]);
    let run = Run::of(&mut command);
    assert_eq!(run.code, UNAVAILABLE, "{}", run.stderr);
    assert!(run.stderr.contains("/nonexistent/imgd"), "{}", run.stderr);
}

#[test]
fn an_empty_prompt_is_allowed_and_says_so() {
    let daemon = Daemon::start();
    let run = daemon
        .run(["generate", "", "--steps", "1", "-o", "empty.png"])
        .ok();
    assert!(run.stderr.contains("empty"), "{}", run.stderr);
    assert!(daemon.work().join("empty.png").is_file());
}
