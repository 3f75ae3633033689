//! `imgctl pull` against a hub that misbehaves in every way that is known of hubs, proxies and networks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hub;

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hub::{COMMIT, Hub, Mischief, Reply, Request, Then, git, noise, sha256};
use serde_json::Value;

const FOLDER: &str = "models--org--model";

/// A home with a cache, and `imgctl` in it.
struct Home {
    folder: tempfile::TempDir,
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Something of another repository, which nobody may touch.
        let other = folder.path().join("hub/models--other--thing/refs");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("main"), COMMIT).unwrap();
        Self { folder }
    }

    fn command(&self, hub: &Hub, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgctl"));
        command
            .args(line.split(' '))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("HF_HOME", self.folder.path())
            .env("HF_ENDPOINT", format!("http://{}", hub.address))
            .env("HF_TOKEN", "hf_canary")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, hub: &Hub, line: &str) -> Child {
        self.command(hub, line).spawn().unwrap()
    }

    fn run(&self, hub: &Hub, line: &str) -> Ran {
        finish(self.start(hub, line))
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("hub").join(FOLDER)
    }

    fn blob(&self, name: &str) -> PathBuf {
        self.repository().join("blobs").join(name)
    }

    /// Everything in the cache but locks, with its size or target.
    fn listing(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        list(&self.folder.path().join("hub"), &mut found);
        found
    }
}

fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn list(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let what = if metadata.is_dir() {
            if path.ends_with(".locks") {
                continue;
            }
            list(&path, found);
            "folder".to_owned()
        } else if metadata.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            metadata.len().to_string()
        };
        found.insert(path, what);
    }
}

fn weights() -> Vec<u8> {
    noise(300_000, 1)
}

/// A diffusers directory of two parts, with what nobody needs beside it.
fn model() -> Vec<(&'static str, Vec<u8>)> {
    let index =
        r#"{"_class_name": "X", "unet": ["diffusers", "U"], "scheduler": ["diffusers", "S"]}"#;
    vec![
        ("README.md", b"hello".to_vec()),
        ("model_index.json", index.into()),
        ("scheduler/scheduler_config.json", b"{}".to_vec()),
        ("unet/config.json", b"{ }".to_vec()),
        ("unet/diffusion_pytorch_model.bin", noise(1000, 9)),
        ("unet/diffusion_pytorch_model.fp16.safetensors", weights()),
        (
            "unet/diffusion_pytorch_model.safetensors",
            noise(600_000, 2),
        ),
    ]
}

/// Answers otherwise to requests whose path holds `part`.
fn at(
    part: &'static str,
    change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Mischief {
    Box::new(move |request, honest| {
        if request.path.contains(part) {
            change(request, honest)
        } else {
            honest
        }
    })
}

#[test]
fn a_pull_makes_what_huggingface_hub_makes() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    let ran = home.run(&hub, "pull hf:org/model");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let snapshot = home.repository().join("snapshots").join(COMMIT);
    assert_eq!(ran.stdout.trim(), snapshot.display().to_string());
    assert!(
        ran.stderr.contains("imgctl generate -m hf:org/model"),
        "{}",
        ran.stderr
    );
    let link =
        fs::read_link(snapshot.join("unet/diffusion_pytorch_model.fp16.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(sha256(&weights())));
    assert_eq!(fs::read(home.blob(&sha256(&weights()))).unwrap(), weights());
    assert_eq!(fs::read(home.blob(&git(b"{ }"))).unwrap(), b"{ }");
    assert_eq!(fs::read(snapshot.join("unet/config.json")).unwrap(), b"{ }");
    for reference in ["main", "imgd"] {
        let text = fs::read_to_string(home.repository().join("refs").join(reference)).unwrap();
        assert_eq!(text, COMMIT);
    }
    for left in [
        "README.md",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
    ] {
        assert!(!snapshot.join(left).exists(), "{left}");
    }
    assert_eq!(
        fs::read_dir(home.repository().join("blobs"))
            .unwrap()
            .count(),
        4
    );
}

#[test]
fn the_token_goes_to_the_configured_host_alone() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    let ran = home.run(&hub, "pull hf:org/model");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (cdn, own): (Vec<_>, Vec<_>) = hub
        .requests()
        .into_iter()
        .partition(|request| request.is_at_cdn);
    assert!(own.len() > 4 && cdn.len() == 1);
    let sent = |request: &Request| request.header("authorization").map(str::to_owned);
    assert!(
        own.iter()
            .all(|request| sent(request).as_deref() == Some("Bearer hf_canary"))
    );
    assert!(cdn.iter().all(|request| sent(request).is_none()));
    assert!(!ran.stderr.contains("canary") && !ran.stdout.contains("canary"));
}

#[test]
fn a_pull_interrupted_ten_times_at_random_ends_with_the_right_bytes() {
    let large = noise(6_000_000, 3);
    let files = [
        (
            "model_index.json",
            br#"{"unet": ["d", "U"], "vae": ["d", "V"]}"#.to_vec(),
        ),
        ("unet/diffusion_pytorch_model.safetensors", large.clone()),
        ("vae/diffusion_pytorch_model.safetensors", weights()),
    ];
    // About 40 times 64 KiB in a second: the whole takes longer than all the interrupted runs.
    let slow = |_: &Request, honest: Reply| Reply {
        pace: Duration::from_millis(15),
        ..honest
    };
    let (home, hub) = (Home::new(), Hub::start(&files, at("/cdn/", slow)));
    let random = RandomState::new();
    let part = home.blob(&format!("{}.incomplete", sha256(&large)));
    let mut lengths = vec![0];
    for round in 0..10_u32 {
        let mut child = home.start(&hub, "pull hf:org/model");
        let wait = 60 + random.hash_one(round) % 120;
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            !home.repository().join("snapshots").exists(),
            "round {round}: visible before it is whole"
        );
        assert!(!home.repository().join("refs").exists(), "round {round}");
        lengths.push(part.metadata().map_or(0, |part| part.len()));
    }
    assert!(lengths.is_sorted(), "what was there was kept: {lengths:?}");
    assert!(lengths[10] > 0 && lengths[10] < 6_000_000, "{lengths:?}");
    let ran = home.run(&hub, "pull hf:org/model");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let snapshot = home.repository().join("snapshots").join(COMMIT);
    for (path, body) in files {
        assert_eq!(fs::read(snapshot.join(path)).unwrap(), body, "{path}");
    }
    let resumed = hub
        .requests()
        .iter()
        .filter_map(Request::from)
        .max()
        .unwrap();
    assert_eq!(resumed as u64, lengths[10]);
    let left = home
        .listing()
        .into_keys()
        .filter(|path| path.extension() == Some("incomplete".as_ref()));
    assert_eq!(left.count(), 0);
}

/// What a hub does, and a part of what imgctl says of it.
type Case = (&'static str, Mischief, &'static str);

#[expect(clippy::too_many_lines, reason = "a list")]
fn misbehaviours() -> Vec<Case> {
    let other_body = |_: &Request, honest: Reply| {
        let mut body = honest.body;
        let middle = body.len() / 2;
        body[middle] ^= 1;
        Reply { body, ..honest }
    };
    vec![
        (
            "wrong byte",
            at("/cdn/", other_body),
            "other bytes than the hub lists",
        ),
        (
            "wrong byte in a small file",
            at("resolve", |request, honest| {
                if request.path.ends_with("unet/config.json") {
                    Reply {
                        body: b"[ ]".to_vec(),
                        ..honest
                    }
                } else {
                    honest
                }
            }),
            "other bytes than the hub lists",
        ),
        (
            "wrong byte in the index",
            at("model_index.json", |_, honest| Reply {
                body: vec![b' '; honest.body.len()],
                ..honest
            }),
            "other bytes than the hub lists",
        ),
        (
            "no length, and short",
            at("/cdn/", |_, honest| {
                let keep = honest.body.len() / 2;
                Reply {
                    body: honest.body[..keep].to_vec(),
                    length: None,
                    status: "200 OK",
                    headers: Vec::new(),
                    ..honest
                }
            }),
            "ended early",
        ),
        (
            "cut, and no ranges",
            at("/cdn/", |_, honest| Reply {
                body: weights()[..1000].to_vec(),
                length: Some(300_000),
                status: "200 OK",
                headers: Vec::new(),
                ..honest
            }),
            "the connection broke",
        ),
        (
            "endless",
            at("/cdn/", |_, honest| Reply {
                length: None,
                then: Then::Endless,
                ..honest
            }),
            "and more come",
        ),
        (
            "longer than listed",
            at("/cdn/", |_, honest| Reply {
                body: noise(300_001, 1),
                length: Some(300_001),
                ..honest
            }),
            "is listed with 300000 bytes, and 300001 come",
        ),
        (
            "a web page with 403",
            at("resolve", |_, _| {
                Reply::new("403 Forbidden", "<html>no</html>").with("Content-Type", "text/html")
            }),
            "does not hand out `org/model`: 403 Forbidden",
        ),
        (
            "a web page with 200",
            at("/cdn/", |_, _| {
                Reply {
                    length: None,
                    ..Reply::new("200 OK", noise(300_000, 5))
                }
                .with("Content-Type", "text/html; charset=utf-8")
            }),
            "a web page comes in the place of",
        ),
        (
            "a web page for the list",
            at("tree", |_, _| Reply::new("200 OK", "<html>sign in</html>")),
            "something else than JSON",
        ),
        (
            "a list without end",
            at("tree", |_, _| Reply {
                length: None,
                then: Then::Endless,
                ..Reply::new("200 OK", "[")
            }),
            "too long",
        ),
        (
            "404",
            at("revision", |_, _| {
                Reply::new("404 Not Found", "").with("X-Error-Code", "RevisionNotFound")
            }),
            "does not have that revision of `org/model`",
        ),
        (
            "gated",
            at("resolve", |_, _| {
                Reply::new("401 Unauthorized", "").with("X-Error-Code", "GatedRepo")
            }),
            "accept its licence at http",
        ),
        (
            "down",
            at("revision", |_, _| Reply::new("503 Service Unavailable", "")),
            "answered 503 Service Unavailable",
        ),
        (
            "busy",
            at("/cdn/", |_, _| {
                Reply::new("429 Too Many Requests", "").with("Retry-After", "0")
            }),
            "asks to come back later",
        ),
        (
            "silent",
            at("/cdn/", |request, honest| Reply {
                body: honest.body[..if request.earlier == 0 { 5000 } else { 0 }].to_vec(),
                then: Then::Stall,
                ..honest
            }),
            "the host says nothing more",
        ),
        (
            "a hash that is a path",
            at("resolve", |_, honest| {
                honest
                    .with("X-Linked-Etag", "\"/tmp/imgd-pull-test-escape\"")
                    .with("ETag", "\"/tmp/imgd-pull-test-escape\"")
            }),
            "names the hash \"/tmp/imgd-pull-test-escape\"",
        ),
        (
            "another hash",
            at("resolve", |_, honest| {
                honest.with("X-Linked-Etag", format!("\"{}\"", "ab".repeat(32)))
            }),
            "sends another, abab",
        ),
        (
            "another size",
            at("resolve", |_, honest| honest.with("X-Linked-Size", "12")),
            "bytes, and the hub sends \"12\"",
        ),
        (
            "a commit that is a path",
            at("revision", |_, _| {
                Reply::new("200 OK", r#"{"sha": "../../.."}"#)
            }),
            "names the commit \"../../..\"",
        ),
        (
            "no commit",
            at("revision", |_, _| Reply::new("200 OK", "[]")),
            "names the commit \"\"",
        ),
        (
            "another commit",
            at("resolve", |_, honest| {
                honest.with("X-Repo-Commit", "../../..")
            }),
            "answers with commit \"../../..\"",
        ),
        (
            "a path out of the cache",
            at("tree", |_, honest| {
                let text = String::from_utf8(honest.body)
                    .unwrap()
                    .replace("README.md", "../../x");
                Reply::new("200 OK", text)
            }),
            "lists the file \"../../x\"",
        ),
        (
            "an absolute path",
            at("tree", |_, honest| {
                let text = String::from_utf8(honest.body)
                    .unwrap()
                    .replace("README.md", "/tmp/imgd-pull-test-escape");
                Reply::new("200 OK", text)
            }),
            "lists the file \"/tmp/imgd-pull-test-escape\": it is absolute",
        ),
        (
            "a hash in the list that is a path",
            at("tree", |_, honest| {
                let text = String::from_utf8(honest.body)
                    .unwrap()
                    .replace(&git(b"{ }"), "/tmp/imgd-pull-test-escape");
                Reply::new("200 OK", text)
            }),
            "names the hash \"/tmp/imgd-pull-test-escape\" for `unet/config.json`",
        ),
        (
            "a list that goes on elsewhere",
            at("tree", |_, honest| {
                honest.with("Link", "<https://evil.example/api>; rel=\"next\"")
            }),
            "continues its list of files at \"https://evil.example/api\"",
        ),
        (
            "a list that goes round",
            at("tree", |request, honest| {
                let next = format!("<{}>; rel=\"next\"", request.path);
                Reply::new("200 OK", "[]")
                    .with("Link", next)
                    .with("X", honest.status)
            }),
            "list of files has no end",
        ),
        (
            "larger than the disk",
            at("tree", |_, honest| {
                let text = String::from_utf8(honest.body)
                    .unwrap()
                    .replace("300000", "3000000000000")
                    .replace("600000", "3000000000000");
                Reply::new("200 OK", text)
            }),
            "3.0 TB have to come",
        ),
        (
            "a redirect to a file",
            at("resolve", |_, honest| {
                honest.with("Location", "file:///etc/passwd")
            }),
            "redirects to \"file:///etc/passwd\"",
        ),
        (
            "a redirect without encryption",
            at("resolve", |_, honest| {
                honest.with("Location", "http://evil.example/x")
            }),
            "which is not encrypted",
        ),
        (
            "redirects in a circle",
            at("resolve", |request, honest| {
                let circle = request.path.clone();
                if request.path.ends_with(".safetensors") {
                    honest.with("Location", circle)
                } else {
                    honest
                }
            }),
            "redirects in a circle",
        ),
    ]
}

#[test]
fn misbehaviour_ends_in_a_clear_error_and_an_untouched_cache() {
    for (name, mischief, expected) in misbehaviours() {
        let (home, hub) = (Home::new(), Hub::start(&model(), mischief));
        let before = home.listing();
        let ran = home.run(
            &hub,
            "pull hf:org/model --retries 1 --timeout 1s --parallel 1",
        );
        assert!(
            ran.code != 0 && ran.stdout.is_empty(),
            "{name}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(expected), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{name}: {}", ran.stderr);
        let mut after = home.listing();
        // What was received rightly may stay, for the next attempt: under no name that anybody looks for.
        let blobs = home.repository().join("blobs");
        after.retain(|path, _| !path.starts_with(home.repository()) || !is_kept(path, &blobs));
        assert_eq!(after, before, "{name}");
        assert!(!Path::new("/tmp/imgd-pull-test-escape").exists(), "{name}");
    }
}

/// Whether this is the repository's folder of blobs, a whole blob that has its own hash, or a part of one.
fn is_kept(path: &Path, blobs: &Path) -> bool {
    if path == blobs || Some(path) == blobs.parent() {
        return true;
    }
    let name = path.file_name().unwrap().to_str().unwrap();
    let is_part = name.ends_with(".incomplete");
    path.parent() == Some(blobs)
        && (is_part
            || fs::read(path)
                .is_ok_and(|bytes| [sha256(&bytes), git(&bytes)].contains(&name.to_owned())))
}

#[test]
fn what_breaks_off_goes_on_where_it_was() {
    // Every answer ends after 100,000 bytes.
    let cut = |_: &Request, honest: Reply| {
        let keep = honest.body.len().min(100_000);
        Reply {
            body: honest.body[..keep].to_vec(),
            ..honest
        }
    };
    let (home, hub) = (Home::new(), Hub::start(&model(), at("/cdn/", cut)));
    let ran = home.run(&hub, "pull hf:org/model --retries 1");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ranges: Vec<_> = hub
        .requests()
        .iter()
        .filter(|request| request.is_at_cdn)
        .map(Request::from)
        .collect();
    assert_eq!(ranges, [None, Some(100_000), Some(200_000)]);
    assert_eq!(fs::read(home.blob(&sha256(&weights()))).unwrap(), weights());
}

/// Pulls with a part of the weights there, and gives what came of it.
fn resumed(part: &[u8], mischief: Mischief) -> (Home, Hub, Ran) {
    let (home, hub) = (Home::new(), Hub::start(&model(), mischief));
    fs::create_dir_all(home.repository().join("blobs")).unwrap();
    let path = home.blob(&format!("{}.incomplete", sha256(&weights())));
    fs::write(path, part).unwrap();
    let ran = home.run(&hub, "pull hf:org/model --retries 1 --parallel 1");
    (home, hub, ran)
}

#[test]
fn parts_that_cannot_be_continued_begin_again() {
    type Case = (&'static str, Vec<u8>, Mischief, Vec<Option<usize>>);
    let good = weights()[..1000].to_vec();
    let cases: [Case; 5] = [
        (
            "honest",
            good.clone(),
            Box::new(|_, honest| honest),
            vec![Some(1000)],
        ),
        (
            "all of it comes",
            good.clone(),
            at("/cdn/", |_, _| Reply::new("200 OK", weights())),
            vec![Some(1000)],
        ),
        (
            "damaged",
            vec![7; 1000],
            Box::new(|_, honest| honest),
            vec![Some(1000), None],
        ),
        (
            "too long",
            noise(300_001, 4),
            Box::new(|_, honest| honest),
            vec![None],
        ),
        (
            "whole but not renamed",
            weights(),
            Box::new(|_, honest| honest),
            vec![],
        ),
    ];
    for (name, part, mischief, expected) in cases {
        let (home, hub, ran) = resumed(&part, mischief);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        assert_eq!(
            fs::read(home.blob(&sha256(&weights()))).unwrap(),
            weights(),
            "{name}"
        );
        let ranges: Vec<_> = hub
            .requests()
            .iter()
            .filter(|request| request.is_at_cdn)
            .map(Request::from)
            .collect();
        assert_eq!(ranges, expected, "{name}");
    }
}

#[test]
fn a_wrong_range_is_refused_and_the_part_stays() {
    for wrong in [
        "bytes 0-299999/300000",
        "bytes 1000-299999/999999",
        "bytes 1000-1001/300000",
        "",
    ] {
        let mischief = move |_: &Request, honest: Reply| honest.with("Content-Range", wrong);
        let (home, _hub, ran) = resumed(&weights()[..1000], at("/cdn/", mischief));
        assert_eq!(ran.code, 1, "{wrong}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("were asked for, and"),
            "{wrong}: {}",
            ran.stderr
        );
        let part = home.blob(&format!("{}.incomplete", sha256(&weights())));
        assert_eq!(fs::read(part).unwrap(), &weights()[..1000], "{wrong}");
        assert!(!home.repository().join("snapshots").exists());
    }
}

#[test]
fn a_hash_that_changed_since_the_part_came_is_refused() {
    let other = |_: &Request, honest: Reply| {
        honest.with("X-Linked-Etag", format!("\"{}\"", "cd".repeat(32)))
    };
    let (_home, _hub, ran) = resumed(&weights()[..1000], at("safetensors", other));
    assert!(
        ran.code == 1 && ran.stderr.contains("sends another, cdcd"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_busy_hub_is_given_the_time_it_asks_for() {
    let busy = |request: &Request, honest: Reply| match request.earlier {
        0 => Reply::new("429 Too Many Requests", "").with("Retry-After", "1"),
        1 => Reply::new("502 Bad Gateway", "<html>").with("Content-Type", "text/html"),
        _ => honest,
    };
    let (home, hub) = (Home::new(), Hub::start(&model(), at("/cdn/", busy)));
    let began = std::time::Instant::now();
    let ran = home.run(&hub, "pull hf:org/model --retries 2");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(ran.stderr.contains("trying again in 1 s"), "{}", ran.stderr);
}

#[test]
fn ctrl_c_keeps_what_came_and_says_how_to_go_on() {
    let slow = |_: &Request, honest: Reply| Reply {
        pace: Duration::from_millis(200),
        ..honest
    };
    let (home, hub) = (Home::new(), Hub::start(&model(), at("/cdn/", slow)));
    let child = home.start(&hub, "pull hf:org/model");
    let part = home.blob(&format!("{}.incomplete", sha256(&weights())));
    let began = std::time::Instant::now();
    while part.metadata().map_or(0, |part| part.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "something comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    let said = "`imgctl pull hf:org/model` goes on from there";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(part.metadata().unwrap().len() > 0);
    assert!(!home.repository().join("snapshots").exists());
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let slow = |_: &Request, honest: Reply| Reply {
        pace: Duration::from_millis(100),
        ..honest
    };
    let (home, hub) = (Home::new(), Hub::start(&model(), at("/cdn/", slow)));
    let children = [(); 2].map(|()| home.start(&hub, "pull hf:org/model"));
    for ran in children.map(finish) {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!(
        hub.requests()
            .iter()
            .filter(|request| request.is_at_cdn)
            .count(),
        1
    );
}

#[test]
fn a_model_stays_at_its_commit_until_an_update_is_asked_for() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    assert_eq!(home.run(&hub, "pull hf:org/model").code, 0);
    let next = "f".repeat(40);
    hub.commit(&next, "unet/config.json", b"{\"newer\": 1}");
    let asked = |before: usize| {
        let requests = hub.requests();
        requests[before..]
            .iter()
            .any(|request| request.path.ends_with(&format!("/revision/{COMMIT}")))
    };
    let before = hub.requests().len();
    // The hub of the test knows one commit at a time, and imgctl insists on the pinned one.
    let ran = home.run(&hub, "pull hf:org/model");
    assert!(
        asked(before) && ran.stderr.contains("was asked")
            || ran.stderr.contains("asked for the commit"),
        "{}",
        ran.stderr
    );
    let ran = home.run(&hub, "pull hf:org/model --update");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.trim().ends_with(&next));
    for commit in [COMMIT, next.as_str()] {
        assert!(
            home.repository()
                .join("snapshots")
                .join(commit)
                .join("unet/config.json")
                .exists()
        );
    }
}

#[test]
fn a_file_a_catalogue_name_and_a_dry_run() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    let before = home.listing();
    let ran = home.run(&hub, "pull flux-schnell --dry-run");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("unet/diffusion_pytorch_model.fp16.safetensors  300 kB"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("under Apache-2.0"), "{}", ran.stderr);
    assert!(
        hub.requests()[0]
            .path
            .starts_with("/api/models/black-forest-labs/FLUX.1-schnell/")
    );
    assert_eq!(home.listing(), before);
    let ran = home.run(&hub, "pull hf:org/model:README.md --json");
    let objects: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects[0]["event"], "pulling");
    assert_eq!(objects[0]["file_count"], 1);
    let last = objects.last().unwrap();
    assert_eq!(
        (&last["event"], &last["received_bytes"]),
        (&"pulled".into(), &5.into())
    );
    assert_eq!(fs::read(last["path"].as_str().unwrap()).unwrap(), b"hello");
    assert_eq!(last["model"], "hf:org/model:README.md");
    let ran = home.run(&hub, "pull hf:org/model:README.md --json");
    assert!(ran.stdout.contains("\"missing_bytes\":0"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("\"received_bytes\":0"),
        "{}",
        ran.stdout
    );
}

#[test]
fn nothing_is_asked_where_nothing_may_be() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    let mut command = home.command(&hub, "pull hf:org/model");
    let ran = finish(command.env("HF_HUB_OFFLINE", "1").spawn().unwrap());
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("HF_HUB_OFFLINE"), "{}", ran.stderr);
    for (line, said) in [
        ("pull hf:../../x", "names no model of a hub"),
        ("pull hf:org/model:../x", "names no model of a hub"),
        ("pull flux", "did you mean flux:schnell"),
    ] {
        let ran = home.run(&hub, line);
        assert!(
            ran.code == 2 && ran.stderr.contains(said),
            "{line}: {}",
            ran.stderr
        );
    }
    assert!(hub.requests().is_empty());
}

#[test]
fn a_pulled_model_is_verified_and_deleted_without_what_others_need() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    let before = home.listing();
    assert_eq!(home.run(&hub, "pull hf:org/model").code, 0);
    let ran = home.run(&hub, "models verify hf:org/model");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("4 files of 300 kB, every hash is right"),
        "{}",
        ran.stdout
    );

    let next = "f".repeat(40);
    hub.commit(&next, "unet/config.json", b"{\"newer\": 1}");
    assert_eq!(home.run(&hub, "pull hf:org/model --update").code, 0);
    let blob = home.blob(&sha256(&weights()));
    let mut damaged = weights();
    damaged[299_999] ^= 1;
    fs::write(&blob, damaged).unwrap();
    let ran = home.run(&hub, "models verify hf:org/model");
    assert_eq!(ran.code, 1);
    let said = "damaged: unet/diffusion_pytorch_model.fp16.safetensors";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);

    let ran = home.run(&hub, "models rm hf:org/model");
    assert!(
        ran.code == 2 && ran.stderr.contains("--yes"),
        "{}",
        ran.stderr
    );
    assert!(home.repository().join("snapshots").join(&next).exists());
    assert_eq!(home.run(&hub, "models rm hf:org/model --yes").code, 0);
    assert!(!home.repository().join("snapshots").join(&next).exists());
    assert!(
        blob.exists() && home.blob(&git(b"{ }")).exists(),
        "the older commit needs it"
    );
    assert!(!home.blob(&git(b"{\"newer\": 1}")).exists());
    let ran = home.run(&hub, &format!("models rm hf:org/model@{COMMIT} --yes"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut after = home.listing();
    after.retain(|path, _| !path.ends_with("CACHEDIR.TAG"));
    assert_eq!(after, before);
    let ran = home.run(&hub, "models verify hf:org/model");
    assert!(
        ran.code == 1 && ran.stderr.contains("`imgctl pull hf:org/model`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_catalogue_is_listed_without_a_daemon() {
    let (home, hub) = (Home::new(), Hub::honest(&model()));
    let ran = home.run(&hub, "models known");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let line = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("flux:schnell "))
        .unwrap();
    assert!(
        line.contains("~34 GB") && line.contains("Apache-2.0"),
        "{line}"
    );
    let ran = home.run(&hub, "models licence flux-dev");
    assert!(ran.stdout.contains("Non-Commercial"), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("https://huggingface.co/black-forest-labs/FLUX.1-dev"),
        "{}",
        ran.stdout
    );
    let objects = home.run(&hub, "models known --json");
    let object: Value = serde_json::from_str(objects.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(object["name"], "sd:1.5");
    assert!(hub.requests().is_empty());
}
