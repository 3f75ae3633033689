//! The units for systemd and the agent for launchd: their text, and the real daemon under socket activation.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixDatagram,
    process::Command,
    time::{Duration, Instant},
};

use imgd_e2e::{Home, processes, program, repository, run::Run};

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// Whether a tool is there; says so when it is not.
fn tool(name: &str) -> bool {
    let found = Command::new(name)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: `{name}` is not installed");
    }
    found
}

#[test]
fn systemd_accepts_the_units() {
    if !tool("systemd-analyze") {
        return;
    }
    let home = Home::new();
    // the check wants the program to exist
    let service = text("systemd/imgd.service");
    let here = service.replace("%h/.local/bin/imgd", program("imgd").to_str().unwrap());
    assert_ne!(service, here);
    fs::write(home.work().join("imgd.service"), here).unwrap();
    fs::write(home.work().join("imgd.socket"), text("systemd/imgd.socket")).unwrap();
    let batch = text("systemd/imgd-batch@.service");
    let here = batch.replace("%h/.local/bin/imgctl", program("imgctl").to_str().unwrap());
    assert_ne!(batch, here);
    fs::write(home.work().join("imgd-batch@.service"), here).unwrap();
    let timer = text("systemd/imgd-batch@.timer");
    fs::write(home.work().join("imgd-batch@.timer"), timer).unwrap();
    let verify = |home: &Home| {
        let mut command = home.command("systemd-analyze");
        command.args(["verify", "--user", "./imgd.service", "./imgd.socket"]);
        Run::of(command.args(["./imgd-batch@.service", "./imgd-batch@.timer"]))
    };
    let run = verify(&home);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));

    // and the check can fail
    let typo = text("systemd/imgd.socket").replace("SocketMode=", "SocketMood=");
    fs::write(home.work().join("imgd.socket"), typo).unwrap();
    let run = verify(&home);
    assert!(
        run.code != 0 || run.stderr.contains("SocketMood"),
        "{run:?}"
    );
}

#[test]
fn the_service_promises_what_the_threat_model_asks() {
    let service = text("systemd/imgd.service");
    let lines: BTreeSet<&str> = service.lines().map(str::trim).collect();
    for line in [
        "Type=notify",
        "OOMPolicy=continue",
        "LimitCORE=0",
        "UMask=0077",
        "RestartPreventExitStatus=78",
        "WatchdogSignal=SIGKILL",
        "KillMode=mixed",
        "RestrictAddressFamilies=AF_UNIX",
        "NoNewPrivileges=yes",
    ] {
        assert!(lines.contains(line), "{line}");
    }
    let socket = text("systemd/imgd.socket");
    for line in [
        "SocketMode=0600",
        "DirectoryMode=0700",
        "ListenStream=%t/imgd/imgd.sock",
    ] {
        assert!(socket.lines().any(|other| other == line), "{line}");
    }
    // the service manager waits longer than the daemon drains and then saves
    assert!(text("daemon/config.toml").contains("#drain_timeout = \"40s\""));
    assert!(lines.contains("TimeoutStopSec=60"));
    // the folder that jobs and pictures are kept in can be written
    let is_read_only = |line: &&&str| {
        let keys = [
            "ProtectSystem=",
            "ProtectHome=",
            "ReadOnlyPaths=",
            "InaccessiblePaths=",
        ];
        keys.iter().any(|key| line.starts_with(key))
    };
    assert_eq!(lines.iter().find(is_read_only), None);
}

#[test]
fn launchd_agent_is_a_plist_with_a_private_socket() {
    let plist = plist::Value::from_file(repository().join("launchd/dev.imgd.imgd.plist")).unwrap();
    let agent = plist.as_dictionary().unwrap();
    let label = agent["Label"].as_string().unwrap();
    assert_eq!(label, "dev.imgd.imgd");
    assert_eq!(agent["ProcessType"].as_string(), Some("Interactive"));
    assert!(agent["ExitTimeOut"].as_signed_integer() > Some(50));
    assert_eq!(agent["Umask"].as_signed_integer(), Some(0o077));
    let socket = agent["Sockets"].as_dictionary().unwrap()["imgd"]
        .as_dictionary()
        .unwrap();
    assert_eq!(socket["SockPathMode"].as_signed_integer(), Some(0o600));
    let path = socket["SockPathName"].as_string().unwrap();
    assert!(path.ends_with("/Library/Caches/imgd/run/imgd.sock"));
    // the client looks for the agent under this name
    assert!(text("client/src/service_manager.rs").contains(&format!("\"{label}\"")));
}

#[test]
fn launchd_batch_agent_is_a_plist_of_the_background() {
    let plist = plist::Value::from_file(repository().join("launchd/dev.imgd.batch.plist")).unwrap();
    let agent = plist.as_dictionary().unwrap();
    assert_eq!(agent["Label"].as_string(), Some("dev.imgd.batch.@NAME@"));
    assert_eq!(agent["ProcessType"].as_string(), Some("Background"));
    assert_eq!(agent["Umask"].as_signed_integer(), Some(0o077));
    assert_eq!(agent["StandardOutPath"].as_string(), Some("/dev/null"));
    let moments = agent["StartCalendarInterval"].as_array().unwrap();
    let moment = moments[0].as_dictionary().unwrap();
    assert_eq!(moment["Hour"].as_signed_integer(), Some(3));
    // it begins by itself at its time alone
    for key in ["RunAtLoad", "KeepAlive", "Sockets"] {
        assert!(!agent.contains_key(key), "{key}");
    }
    let words: Vec<_> = agent["ProgramArguments"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert!(words.iter().all(|word| word.as_string().is_some()));
}

#[test]
fn a_batch_is_low_and_private_and_catches_up() {
    let service = text("systemd/imgd-batch@.service");
    for line in [
        "Type=oneshot",
        "ConditionPathExists=%E/imgd/batch/%i.txt",
        "StandardOutput=null",
        "Nice=19",
        "IOSchedulingClass=idle",
        "CPUSchedulingPolicy=batch",
        "UMask=0077",
    ] {
        assert!(service.lines().any(|other| other == line), "{line}");
    }
    let timer = text("systemd/imgd-batch@.timer");
    assert!(timer.lines().any(|line| line == "Persistent=true"));
}

/// Everything the daemon says to the service manager, until `last` is said or time is up.
fn messages_until(socket: &UnixDatagram, last: &str, limit: Duration) -> Vec<String> {
    let start = Instant::now();
    let mut messages = Vec::new();
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    while start.elapsed() < limit {
        let mut bytes = [0; 4096];
        if let Ok(length) = socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]);
            messages.extend(text.lines().map(str::to_owned));
        }
        if messages.iter().any(|message| message == last) {
            break;
        }
    }
    messages
}

#[test]
fn the_daemon_serves_a_socket_it_was_given() {
    if !tool("systemd-socket-activate") {
        return;
    }
    let home = Home::new();
    let notify = home.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    let folder = home.socket().parent().unwrap().to_path_buf();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();

    // the tool passes on only what `-E` names; systemd makes the socket with mode 0600, here the umask does
    let mut activate = home.command("sh");
    activate.args(["-c", "umask 077; exec systemd-socket-activate \"$@\"", "sh"]);
    activate
        .arg("--listen")
        .arg(home.socket())
        .arg("--fdname=imgd");
    let environment = home.command("true");
    for (name, value) in environment.get_envs() {
        let pair = format!(
            "{}={}",
            name.to_str().unwrap(),
            value.unwrap().to_str().unwrap()
        );
        activate.args(["-E", &pair]);
    }
    activate.args(["-E", &format!("NOTIFY_SOCKET={}", notify.display())]);
    activate.args(["-E", "WATCHDOG_USEC=1000000"]);
    activate
        .arg(program("imgd"))
        .stdin(std::process::Stdio::null());
    let log = fs::File::create(home.path().join("activate.log")).unwrap();
    let mut child = activate
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(home.path().join("activate.log")).unwrap();
    assert!(
        processes::within(Duration::from_secs(10), || home.socket().exists()),
        "{}",
        said()
    );

    // the first connection starts the daemon
    let status = Run::of(home.imgctl().args(["status", "--json"]));
    assert_eq!(status.code, 0, "{}{}", status.stderr, said());
    assert_eq!(
        status.json()[0]["started_by"],
        "service_manager",
        "{}",
        status.stdout
    );
    let messages = messages_until(&manager, "READY=1", Duration::from_secs(10));
    assert!(messages.contains(&"READY=1".to_owned()), "{messages:?}");
    let messages = messages_until(&manager, "WATCHDOG=1", Duration::from_secs(10));
    assert!(messages.contains(&"WATCHDOG=1".to_owned()), "{messages:?}");

    // the socket is the manager's: it stays when the daemon ends
    processes::signal(child.id(), rustix::process::Signal::TERM);
    let messages = messages_until(&manager, "STOPPING=1", Duration::from_secs(10));
    assert!(messages.contains(&"STOPPING=1".to_owned()), "{messages:?}");
    let status = child.wait().unwrap();
    assert!(status.success(), "{status:?}\n{}", said());
    assert!(home.socket().exists());
}
