//! What is promised about privacy, checked from outside.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use imgd_e2e::{
    Daemon, Home, library,
    line::{self, Line},
    processes,
    run::Run,
};
use imgd_proto::v1;

const CANARY: &str = "heliotropecanary";

/// Runs `imgctl generate` with canaries through successes and failures; the picture it drew is in `a.png`.
fn draw_canaries(daemon: &Daemon, more: &[&str]) {
    let prompt = format!("a {CANARY} flower");
    let base = [
        "generate",
        prompt.as_str(),
        "--steps",
        "2",
        "--negative-prompt",
        CANARY,
        "--no-metadata",
    ];
    let base = [&base[..], more].concat();
    daemon.run([&base[..], &["-o", "a.png"]].concat()).ok();
    for bad in [
        ["--model", "/nonexistent"],
        ["--sampler", "nonesuch"],
        ["--timeout", "1ms"],
    ] {
        assert_ne!(daemon.run([&base[..], &bad].concat()).code, 0);
    }
    let long = format!("{CANARY} ").repeat(200);
    let long = [
        "generate",
        &long,
        "--steps",
        "1",
        "--no-metadata",
        "-o",
        "long.png",
    ];
    daemon.run([&long[..], more].concat()).ok();
}

fn traced() -> Daemon {
    Daemon::start_in(Home::new(), |imgd| {
        imgd.env("IMGD_LOG_LEVEL", "trace").env("RUST_LOG", "trace");
    })
}

/// A part of a picture's pixels as they are in its file: no two files have it by chance.
fn pixels_of(picture: &Path) -> Vec<u8> {
    let bytes = fs::read(picture).expect("imgctl wrote it");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 48].to_vec()
}

#[test]
fn a_private_picture_and_its_prompt_are_in_no_file_and_no_command_line() {
    let daemon = traced();
    draw_canaries(&daemon, &["--private"]);

    assert!(!daemon.log().is_empty(), "something is logged");
    let nothing = Vec::<std::path::PathBuf>::new();
    let home = daemon.home();
    let found = |needle: &[u8]| home.files_containing(needle, Path::new(""));
    assert_eq!(found(CANARY.as_bytes()), nothing);
    // imgctl wrote the picture where it was told to, and it is nowhere else
    let picture = daemon.work().join("a.png");
    assert_eq!(found(&pixels_of(&picture)), [picture]);
    for pid in processes::family(daemon.pid()) {
        for file in ["cmdline", "environ", "comm"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(
                !String::from_utf8_lossy(&bytes).contains(CANARY),
                "{file} of {pid}"
            );
        }
        // what it has open to write lies where was searched
        for path in processes::files_open_for_writing(pid) {
            assert!(path.starts_with(home.path()), "{pid}: {}", path.display());
        }
    }
}

#[test]
fn prompts_reach_no_log() {
    let daemon = traced();
    draw_canaries(&daemon, &[]);
    let log = daemon.log();
    assert!(!log.is_empty(), "something is logged");
    assert!(!log.contains(CANARY));
}

#[test]
fn the_history_has_prompt_and_picture_until_the_job_is_deleted() {
    let daemon = Daemon::start();
    draw_canaries(&daemon, &[]);
    let (home, work) = (daemon.home(), daemon.work());
    let pixels = pixels_of(&work.join("a.png"));
    let found = |needle: &[u8]| home.files_containing(needle, &work);
    // so the searches can fail
    assert_ne!(found(CANARY.as_bytes()), Vec::<std::path::PathBuf>::new());
    assert_ne!(found(&pixels), Vec::<std::path::PathBuf>::new());

    line::runtime().block_on(async {
        let line = Line::to(daemon.socket());
        for job in line.list(&[]).await.unwrap() {
            let request = v1::DeleteJobRequest {
                job_id: job.id,
                force: false,
            };
            line.jobs().delete_job(request).await.unwrap();
        }
        assert_eq!(line.list(&[]).await.unwrap(), []);
    });
    // in no row, log, free page or file
    assert_eq!(found(CANARY.as_bytes()), Vec::<std::path::PathBuf>::new());
    assert_eq!(found(&pixels), Vec::<std::path::PathBuf>::new());
    assert_eq!(library::check(&home.data()), Ok(1));
}

#[test]
fn a_private_daemon_keeps_nothing() {
    let home = Home::with_config("private = true\n");
    let daemon = Daemon::start_in(home, |_| {});
    draw_canaries(&daemon, &[]);
    let (home, work) = (daemon.home(), daemon.work());
    let pixels = pixels_of(&work.join("a.png"));
    for needle in [CANARY.as_bytes(), &pixels] {
        let found = home.files_containing(needle, &work);
        assert_eq!(found, Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn no_process_holds_an_internet_socket() {
    let daemon = Daemon::start();
    daemon
        .run(["generate", "a red apple", "--steps", "2", "-o", "a.png"])
        .ok();
    let family = processes::family(daemon.pid());
    assert!(family.len() >= 3, "supervisor, spawner, worker: {family:?}");
    let internet = processes::internet_sockets(daemon.pid());
    for pid in family {
        let shared: Vec<_> = processes::sockets(pid)
            .intersection(&internet)
            .copied()
            .collect();
        assert!(
            shared.is_empty(),
            "process {pid} holds internet sockets {shared:?}"
        );
    }
    // and the comparison can fail
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    let own = std::process::id();
    let shared = processes::sockets(own)
        .intersection(&processes::internet_sockets(own))
        .count();
    assert!(shared > 0, "{socket:?}");
}

#[test]
fn everything_works_without_a_network() {
    let home = Home::new();
    let probe = home.command("unshare").args(["-c", "-n", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: no user namespaces here");
        return;
    }
    let mut command = home.command("unshare");
    command.args(["-c", "-n"]).arg(imgd_e2e::program("imgctl"));
    command.env("IMGD_BIN", imgd_e2e::program("imgd"));
    command.args(["generate", "a red apple", "--steps", "2", "-o", "a.png"]);
    let run = Run::of(&mut command);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(home.work().join("a.png").is_file());
}

#[test]
fn the_worker_inherits_no_secret_and_no_descriptor() {
    let daemon = Daemon::start_in(Home::new(), |imgd| {
        imgd.env("HF_TOKEN", CANARY)
            .env("AWS_SECRET_ACCESS_KEY", CANARY);
    });
    daemon.run(["load", "starter"]).ok();
    let supervisor = processes::sockets(daemon.pid());
    for pid in processes::family(daemon.pid()) {
        if pid == daemon.pid() {
            continue;
        }
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if !command.windows(6).any(|window| window == b"worker") {
            continue;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(
            !environment
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes())
        );
        let inherited: Vec<_> = processes::sockets(pid)
            .intersection(&supervisor)
            .copied()
            .collect();
        assert!(
            inherited.is_empty(),
            "the worker holds the supervisor's sockets {inherited:?}"
        );
        return;
    }
    panic!("no process is the worker");
}

#[test]
fn socket_and_folder_are_the_owners_alone() {
    for mask in ["000", "022", "077"] {
        let home = Home::new();
        let mut command = home.command("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]);
        command
            .arg(imgd_e2e::program("imgctl"))
            .env("IMGD_BIN", imgd_e2e::program("imgd"))
            .args(["load", "starter"]);
        assert_eq!(Run::of(&mut command).code, 0);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&home.socket()), 0o600, "umask {mask}");
        assert_eq!(mode(home.socket().parent().unwrap()), 0o700, "umask {mask}");
        let log = home.path().join("home/.local/state/imgd/imgd.log");
        assert_eq!(mode(&log) & 0o077, 0, "umask {mask}: the log");
    }
}

#[test]
fn core_files_are_off() {
    let daemon = Daemon::start();
    daemon.run(["load", "starter"]).ok();
    for pid in processes::family(daemon.pid()) {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(
            core.split_whitespace().nth(4),
            Some("0"),
            "process {pid}: {core}"
        );
    }
}
