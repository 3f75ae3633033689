//! Starting and replacing daemons. This test's own program plays `imgd`, behind a script that starts it so.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use imgd_client::{Client, ConnectNotice, ConnectOptions, Error, v1::StartedBy};
use support::{FakeDaemon, Script, Seen};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An `imgd` that runs these lines of shell; `$3` is the socket.
    fn imgd(&self, lines: &str) -> PathBuf {
        let path = self.path("imgd");
        let starts = self.path("starts");
        let script = format!(
            "#!/bin/sh\necho started >>'{}'\n{lines}\n",
            starts.display()
        );
        // Written by another process: a program that is open for writing anywhere, as in a child that another
        // test is just starting, cannot be run.
        let mut writer = Command::new("sh")
            .args(["-c", "rm -f \"$0\" && cat >\"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        assert!(writer.wait().unwrap().success());
        path
    }

    fn working_imgd(&self) -> PathBuf {
        self.imgd(&daemon_lines())
    }

    fn options(&self, imgd: &Path) -> ConnectOptions {
        ConnectOptions {
            socket: Some(self.path("run/imgd.sock")),
            imgd: Some(imgd.to_owned()),
            log_file: Some(self.path("state/imgd.log")),
            answer_timeout: Duration::from_secs(20),
            ..ConnectOptions::default()
        }
    }

    fn starts(&self) -> usize {
        fs::read_to_string(self.path("starts")).map_or(0, |text| text.lines().count())
    }
}

/// Shell that plays a daemon that works. The test harness lets an argument through as one more name to skip.
fn daemon_lines() -> String {
    let own = std::env::current_exe().unwrap();
    format!(
        "[ \"$1 $2\" = '--started-by-client --socket' ] || exit 64\n\
         exec '{}' --ignored --exact plays_imgd --skip \"$3\" >/dev/null",
        own.display()
    )
}

fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// No test, but the daemon of the others: runs only when a script says where to listen.
#[test]
#[ignore = "plays the daemon of the other tests"]
fn plays_imgd() {
    let Some(socket) = std::env::args()
        .skip_while(|argument| argument != "--skip")
        .nth(1)
    else {
        return;
    };
    let mut script = Script::default();
    script.status.started_by = StartedBy::Client.into();
    support::serve(Path::new(&socket), script, &Arc::new(Seen::default()));
}

#[tokio::test]
async fn of_ten_that_start_at_once_one_wins() {
    let place = Place::new();
    let options = place.options(&place.working_imgd());
    let starters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(Client::connect(options.clone())))
        .collect();
    let mut clients = Vec::new();
    for starter in starters {
        clients.push(starter.await.unwrap().unwrap());
    }
    assert_eq!(place.starts(), 1);
    clients[0].shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_ends_first_says_why() {
    let place = Place::new();
    let imgd = place.imgd("echo 'error: config: `deviec` is not a key' >&2; exit 78");
    let error = Client::connect(place.options(&imgd)).await.unwrap_err();
    assert!(
        error.to_string().contains("`deviec` is not a key"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 78);
    // The words of an earlier failure are not shown again.
    let imgd = place.imgd("exit 3");
    let error = Client::connect(place.options(&imgd)).await.unwrap_err();
    assert_eq!(error.to_string(), "imgd could not start (exit status 3)");
    assert_eq!(error.exit_code(), 69);
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_given_up() {
    let place = Place::new();
    let imgd = place.imgd("exec sleep 2");
    let mut options = place.options(&imgd);
    options.answer_timeout = Duration::from_millis(100);
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn a_program_that_is_missing_or_broken_is_said() {
    let place = Place::new();
    let error = Client::connect(place.options(Path::new("/nonexistent")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ProgramNotFound { .. }), "{error:?}");
    let broken = place.path("broken");
    fs::write(&broken, "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(&broken, Permissions::from_mode(0o755)).unwrap();
    let error = Client::connect(place.options(&broken)).await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 69);
}

#[tokio::test]
async fn without_autostart_nothing_is_started() {
    let place = Place::new();
    let options = ConnectOptions {
        autostart: false,
        ..place.options(&place.working_imgd())
    };
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
    assert_eq!(place.starts(), 0);
    assert!(!place.path("run").exists());
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_no_obstacle() {
    let place = Place::new();
    // As after `kill -9`. The fake needs help in replacing it, a real daemon does that itself.
    let socket = place.path("run/imgd.sock");
    imgd_proto::socket::prepare_directory(&place.path("run"), uid()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let options = place.options(&place.imgd(&format!("rm \"$3\"\n{}", daemon_lines())));
    let client = Client::connect(options).await.unwrap();
    client.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_others_may_enter_is_refused() {
    let place = Place::new();
    let options = place.options(&place.working_imgd());
    fs::create_dir(place.path("run")).unwrap();
    fs::set_permissions(place.path("run"), Permissions::from_mode(0o755)).unwrap();
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, Error::Socket(_)), "{error:?}");
    assert_eq!(error.exit_code(), 78);
}

/// A daemon of build `old`, as `running` and `started_by` say, met by a client whose `imgd` is another file.
async fn meet_old_daemon(running: u32, started_by: StartedBy) -> (bool, Vec<ConnectNotice>, usize) {
    let mut script = Script::default();
    script.status.build_id = "old".into();
    script.status.started_by = started_by.into();
    script.status.queue.as_mut().unwrap().running = running;
    // Not the process id of the daemon that comes after it.
    script.status.pid = 1;
    let daemon = FakeDaemon::with(script);
    let place = Place::new();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let options = ConnectOptions {
        socket: Some(daemon.socket.clone()),
        on_notice: Some({
            let notices = notices.clone();
            Arc::new(move |notice: &ConnectNotice| notices.lock().unwrap().push(notice.clone()))
        }),
        ..place.options(&place.working_imgd())
    };
    let client = Client::connect(options).await.unwrap();
    let is_new = client.status().await.unwrap().pid != 1;
    if is_new {
        client.shutdown(false).await.unwrap();
    }
    let notices = notices.lock().unwrap().clone();
    (is_new, notices, place.starts())
}

#[tokio::test]
async fn an_idle_daemon_of_another_build_is_replaced() {
    let (is_new, notices, starts) = meet_old_daemon(0, StartedBy::Client).await;
    assert!(is_new);
    assert_eq!(notices, [ConnectNotice::Replacing, ConnectNotice::Starting]);
    assert_eq!(starts, 1);
}

#[tokio::test]
async fn one_at_work_or_not_ours_gets_a_warning() {
    for (running, started_by) in [(1, StartedBy::Client), (0, StartedBy::Hand)] {
        let (is_new, notices, starts) = meet_old_daemon(running, started_by).await;
        assert!(!is_new);
        assert!(
            matches!(notices[..], [ConnectNotice::OtherBuild { .. }]),
            "{notices:?}"
        );
        assert_eq!(starts, 0);
    }
}

#[tokio::test]
async fn a_log_that_grew_large_is_put_aside() {
    let place = Place::new();
    let options = place.options(&place.imgd("echo 'why' >&2; exit 1"));
    fs::create_dir(place.path("state")).unwrap();
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(place.path("state/imgd.log"))
        .unwrap();
    log.write_all(&vec![b'\n'; 5 << 20]).unwrap();
    let error = Client::connect(options).await.unwrap_err();
    assert!(error.to_string().contains("why"), "{error}");
    assert!(fs::metadata(place.path("state/imgd.log")).unwrap().len() < 100);
    assert!(place.path("state/imgd.log.old").exists());
}
