//! Bad input: each a clear error that names the field or the file, the right exit code, and a daemon that still answers.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use imgd_e2e::{Daemon, Home, processes};

/// Must appear in no error.
const CANARY: &str = "heliotropecanary";

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNAVAILABLE: i32 = 69;
const CANNOT_CREATE: i32 = 73;
const BUSY: i32 = 75;
const CONFIG: i32 = 78;

/// What is asked of `imgctl generate CANARY`, how it must end, and words that its message must have.
type Case = (&'static [&'static str], i32, &'static [&'static str]);

const REQUESTS: &[Case] = &[
    (
        &["--model", "startr"],
        USAGE,
        &["startr", "did you mean", "starter"],
    ),
    (
        &["--model", "nonesuch"],
        USAGE,
        &["nonesuch", "imgctl models"],
    ),
    (
        &["--model", "/nonexistent/model"],
        USAGE,
        &["/nonexistent/model"],
    ),
    (&["--model", "../etc"], USAGE, &["../etc"]),
    (
        &["--sampler", "dpm++2m"],
        USAGE,
        &["dpm++2m", "did you mean", "dpmpp_2m"],
    ),
    (
        &["--sampler", "eular"],
        USAGE,
        &["eular", "did you mean", "euler"],
    ),
    (&["--sampler", "Ω"], USAGE, &["Ω", "sampler"]),
    (
        &["--schedule", "karas"],
        USAGE,
        &["karas", "did you mean", "karras"],
    ),
    (
        &["--sampler", "ddim", "--schedule", "karras"],
        USAGE,
        &["ddim", "karras"],
    ),
    (
        &["--sampler", "lcm", "--schedule", "beta"],
        USAGE,
        &["lcm", "beta"],
    ),
    (&["--steps", "0"], USAGE, &["steps", "1 to 1,000"]),
    (&["--steps", "-3"], USAGE, &["steps", "-3"]),
    (&["--steps", "1001"], USAGE, &["steps", "1001"]),
    (
        &["--steps", "99999999999999999999"],
        USAGE,
        &["steps", "99999999999999999999"],
    ),
    (&["--steps", "3.5"], USAGE, &["steps", "3.5"]),
    (&["--cfg", "NaN"], USAGE, &["guidance-scale", "NaN"]),
    (&["--cfg", "inf"], USAGE, &["guidance-scale", "inf"]),
    (&["--cfg", "-1"], USAGE, &["guidance-scale", "-1"]),
    (&["--cfg", "100.5"], USAGE, &["guidance-scale", "100.5"]),
    (&["--cfg", "seven"], USAGE, &["seven"]),
    (&["--width", "0"], USAGE, &["width"]),
    (
        &["--width", "250"],
        USAGE,
        &["width", "250", "multiple of 8", "248 or 256"],
    ),
    (&["--height", "-8"], USAGE, &["height", "-8"]),
    (&["--height", "5000"], USAGE, &["height", "5000"]),
    (&["--width", "4294967296"], USAGE, &["width", "4294967296"]),
    (&["--size", "256"], USAGE, &["size", "256"]),
    (&["--size", "256xx256"], USAGE, &["size", "256xx256"]),
    (
        &["--size", "4096x4096", "--steps", "1000", "-n", "64"],
        USAGE,
        &["images"],
    ),
    (&["-n", "0"], USAGE, &["1 to 64"]),
    (&["-n", "65"], USAGE, &["1 to 64"]),
    (&["--seed", "-1"], USAGE, &["seed", "-1"]),
    (
        &["--seed", "18446744073709551616"],
        USAGE,
        &["seed", "18446744073709551616"],
    ),
    (&["--clip-skip", "0"], USAGE, &["clip", "1 to 12"]),
    (&["--clip-skip", "12"], USAGE, &["clip-skip"]),
    (&["--format", "gif"], USAGE, &["format", "gif"]),
    (&["--precision", "f8"], USAGE, &["precision", "f8"]),
    (&["--timeout", "-5s"], USAGE, &["timeout"]),
    (&["--timeout", "1ms"], BUSY, &["time"]),
    (&["--keep-alive", "soon"], USAGE, &["keep", "soon"]),
    (&["--nonsense"], USAGE, &["--nonsense"]),
    (
        &["-o", "/nonexistent/folder/a.png"],
        CANNOT_CREATE,
        &["/nonexistent/folder"],
    ),
    (&["-o", "/dev/full/a.png"], CANNOT_CREATE, &["/dev/full"]),
];

fn check(daemon: &Daemon, arguments: &[&str], code: i32, words: &[&str]) -> Result<(), String> {
    let mut all = vec!["generate", CANARY];
    all.extend(arguments);
    // one step is enough where something is drawn; given twice it would be another mistake than the one meant
    if !arguments.contains(&"--steps") {
        all.extend(["--steps", "1"]);
    }
    let run = daemon.run(all);
    let explain = |what: &str| {
        Err(format!(
            "{arguments:?}: {what}\n  code {}: {}",
            run.code,
            run.stderr.trim_end()
        ))
    };
    if run.code != code {
        return explain(&format!("expected exit code {code}"));
    }
    let message = run.stderr.to_lowercase();
    for word in words {
        if !message.contains(&word.to_lowercase()) {
            return explain(&format!("the message lacks {word:?}"));
        }
    }
    if run.stderr.contains(CANARY) {
        return explain("the message has the prompt");
    }
    if !run.stdout.is_empty() {
        return explain("something on standard output");
    }
    Ok(())
}

/// All failures at once: a table is mended faster that way.
fn report(results: impl IntoIterator<Item = Result<(), String>>) {
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(
        failures.is_empty(),
        "{} wrong:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn bad_requests_are_refused_in_clear_words() {
    let daemon = Daemon::start();
    report(
        REQUESTS
            .iter()
            .map(|(arguments, code, words)| check(&daemon, arguments, *code, words)),
    );
    still_answers(&daemon);
    assert_eq!(
        fs::read_dir(daemon.work()).unwrap().count(),
        0,
        "nothing was written"
    );
}

fn still_answers(daemon: &Daemon) {
    daemon.run(["status"]).ok();
    let arguments = [
        "generate",
        "a fox",
        "--steps",
        "1",
        "--seed",
        "1",
        "-o",
        "after.png",
    ];
    daemon.run(arguments).ok();
    fs::remove_file(daemon.work().join("after.png")).unwrap();
}

/// The starter model's directory with every file a link, below `home`.
fn model(home: &Path, name: &str) -> PathBuf {
    let starter = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models/starter")
        .canonicalize()
        .unwrap();
    let target = home.join("models").join(name);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(target.join(&folder)).unwrap();
        for entry in fs::read_dir(starter.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                symlink(entry.path(), target.join(path)).unwrap();
            }
        }
    }
    target
}

/// Puts `bytes` in the place of a link.
fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Changes one word of a text file.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    replace(path, text.replacen(from, to, 1));
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[test]
fn damaged_and_hostile_models_are_refused_in_clear_words() {
    let daemon = Daemon::start();
    type Damage = fn(&Path);
    let cases: &[(&str, Damage, &[&str])] = &[
        (
            "no_index",
            |m| fs::remove_file(m.join("model_index.json")).unwrap(),
            &["model_index.json"],
        ),
        (
            "bad_json",
            |m| replace(&m.join("unet/config.json"), "{\"a\": 1,"),
            &["unet/config.json", "line"],
        ),
        (
            "no_weights",
            |m| fs::remove_file(m.join(UNET)).unwrap(),
            &["unet", "safetensors"],
        ),
        (
            "pickle",
            |m| {
                fs::remove_file(m.join(UNET)).unwrap();
                fs::write(m.join("unet/diffusion_pytorch_model.bin"), b"PK\x03\x04").unwrap();
            },
            &["pickle", "safetensors", "diffusion_pytorch_model.bin"],
        ),
        (
            "renamed_pickle",
            |m| replace(&m.join(UNET), [b"PK\x03\x04".as_slice(), &[0; 64]].concat()),
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "truncated",
            |m| {
                let bytes = fs::read(m.join(UNET)).unwrap();
                replace(&m.join(UNET), &bytes[..bytes.len() / 2]);
            },
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "empty",
            |m| replace(&m.join(UNET), b""),
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "header_bomb",
            |m| {
                replace(
                    &m.join(UNET),
                    [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(),
                )
            },
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "shapes",
            |m| {
                edit(
                    &m.join("unet/config.json"),
                    "\"cross_attention_dim\": 256",
                    "\"cross_attention_dim\": 255",
                )
            },
            &["attn2.to_k.weight", "255", "256"],
        ),
        (
            "huge_config",
            |m| {
                edit(
                    &m.join("unet/config.json"),
                    "\"cross_attention_dim\": 256",
                    "\"cross_attention_dim\": 9007199254740993",
                )
            },
            &["unet"],
        ),
        (
            "class",
            |m| {
                edit(
                    &m.join("model_index.json"),
                    "\"StableDiffusionPipeline\"",
                    "\"FluxPipeline\"",
                )
            },
            &["FluxPipeline"],
        ),
        (
            "no_vocabulary",
            |m| fs::remove_file(m.join("tokenizer/vocab.json")).unwrap(),
            &["tokenizer"],
        ),
        (
            "fifo",
            |m| {
                fs::remove_file(m.join(UNET)).unwrap();
                let made = std::process::Command::new("mkfifo")
                    .arg(m.join(UNET))
                    .status()
                    .unwrap();
                assert!(made.success());
            },
            &["diffusion_pytorch_model.safetensors"],
        ),
    ];
    report(cases.iter().map(|(name, damage, words)| {
        let model = model(daemon.home().path(), name);
        damage(&model);
        let path = model.to_str().unwrap();
        check(&daemon, &["--model", path], FAILED, words)
            .or_else(|_| check(&daemon, &["--model", path], USAGE, words))
            .map_err(|error| format!("{name}: {error}"))
    }));
    still_answers(&daemon);
}

#[test]
fn unwritable_places_are_refused() {
    let daemon = Daemon::start();
    let file = daemon.work().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("a.png");
    let mut results = vec![check(
        &daemon,
        &["-o", below.to_str().unwrap()],
        CANNOT_CREATE,
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
            CANNOT_CREATE,
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
        .arg(imgd_e2e::program("imgctl"));
    command.args(["generate", "a red apple", "--steps", "1", "-o", "a.png"]);
    let run = imgd_e2e::run::Run::of(&mut command);
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
    let run = imgd_e2e::run::Run::of(
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
    let run = imgd_e2e::run::Run::of(&mut command);
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

#[test]
fn descriptors_come_back_after_many_bad_requests() {
    let daemon = Daemon::start();
    still_answers(&daemon);
    let base = processes::descriptor_count(daemon.pid());
    for (arguments, ..) in REQUESTS.iter().cycle().take(60) {
        daemon.run([&["generate", CANARY][..], arguments].concat());
    }
    let back = || processes::descriptor_count(daemon.pid()) <= base;
    let limit = std::time::Duration::from_secs(10);
    assert!(
        processes::within(limit, back),
        "{} > {base}",
        processes::descriptor_count(daemon.pid())
    );
    still_answers(&daemon);
}
