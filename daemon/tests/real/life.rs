//! The daemon's life as its surroundings see it: service manager, other users, changed files, the end.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    process::Command,
    time::{Duration, Instant},
};

use imgd_proto::{
    Failure, Reason,
    v1::{
        self, generate_response::Event, image_service_client::ImageServiceClient,
        model_service_client::ModelServiceClient,
    },
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use crate::{
    house::{House, PATIENCE, generate, small},
    http2::{GREETING, begin},
    models::{UNET, copy},
};

/// Everything the daemon says to a service manager until `last`.
fn messages_until(manager: &UnixDatagram, last: &str) -> Vec<String> {
    manager
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let (start, mut messages) = (Instant::now(), Vec::new());
    while !messages.iter().any(|message| message == last) {
        assert!(start.elapsed() < PATIENCE, "no {last} in {messages:?}");
        let mut bytes = [0; 4096];
        if let Ok(length) = manager.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]);
            messages.extend(text.lines().map(str::to_owned));
        }
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_of_every_stage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut house = House::with(|imgd| {
        imgd.env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "300000");
    })
    .await;
    let messages = messages_until(&manager, "READY=1");
    assert!(!messages.contains(&"STOPPING=1".to_owned()), "{messages:?}");
    let status = house.status().await;
    assert_eq!(status.started_by(), v1::StartedBy::ServiceManager);

    // It is fed while the worker is at work: pictures take longer than the watchdog waits.
    let reader = std::thread::spawn(move || messages_until(&manager, "STOPPING=1"));
    let request = v1::GenerateRequest {
        width_px: Some(256),
        height_px: Some(256),
        num_inference_steps: Some(8),
        ..small()
    };
    let start = Instant::now();
    house.picture(request).await;
    let took = start.elapsed();
    house.signal(Signal::TERM);
    let messages = reader.join().unwrap();
    let count = |wanted: &str| messages.iter().filter(|message| *message == wanted).count();
    for stage in ["STATUS=Loading starter", "STATUS=Ready, starter in memory"] {
        assert_eq!(count(stage), 1, "{stage}: {messages:?}");
    }
    let is_progress = |message: &&String| {
        message.starts_with("STATUS=Drawing 1 picture with starter, ") && message.ends_with(" %")
    };
    assert!(
        messages.iter().filter(is_progress).count() > 1,
        "{messages:?}"
    );
    // Every third of the time that the manager waits; half of it is enough to keep the daemon alive.
    let least = usize::try_from(took.as_millis() / 300).unwrap();
    assert!(
        count("WATCHDOG=1") >= least,
        "{least} in {took:?}: {messages:?}"
    );
    assert!(house.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layers_that_hold_are_told_as_they_are() {
    let house = House::with(|imgd| {
        imgd.env("HF_TOKEN", "canary");
    })
    .await;
    house.picture(small()).await;
    for layer in [
        "private_socket",
        "peer_uid",
        "no_core_dumps",
        "cleared_environment",
    ] {
        assert_eq!(house.sandbox_says(layer).await, Some(true), "{layer}");
    }
    // The worker's word against what the system says.
    let worker = house.worker().unwrap();
    if let Ok(environment) = fs::read(format!("/proc/{worker}/environ")) {
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.contains("RAYON_NUM_THREADS"), "{environment}");
        assert!(
            !environment.contains("HF_TOKEN") && !environment.contains("HOME="),
            "{environment}"
        );
    }
    fs::set_permissions(house.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(house.sandbox_says("private_socket").await, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_estimate_of_a_pictures_memory_is_right_and_too_large_ones_are_refused() {
    let house = House::with(|imgd| {
        imgd.args(["--max-memory", "512MiB"]);
    })
    .await;
    house.picture(small()).await;
    let mut models = ModelServiceClient::new(house.channel().await);
    let asked = v1::GetModelRequest::default();
    let model = models
        .get_model(asked)
        .await
        .unwrap()
        .into_inner()
        .model
        .unwrap();
    let size = |width_px, height_px| v1::GenerateRequest {
        width_px: Some(width_px),
        height_px: Some(height_px),
        ..small()
    };
    let status = generate(&house.channel().await, size(512, 4096))
        .await
        .err()
        .unwrap();
    let failure = Failure::from_status(&status);
    assert_eq!(failure.reason, Reason::OutOfMemory, "{failure}");
    assert_eq!(failure.field.as_deref(), Some("height_px"));
    assert!(failure.message.contains("512 x 4096"), "{failure}");

    let worker = house.worker().unwrap();
    let Ok(()) = fs::write(format!("/proc/{worker}/clear_refs"), "5") else {
        eprintln!("skipped: this user may not measure the worker's memory");
        return;
    };
    let kilobytes = |name: &str| -> u64 {
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim_matches(|letter: char| !letter.is_ascii_digit())
            .parse()
            .unwrap()
    };
    let before = kilobytes("VmRSS");
    house.picture(size(512, 512)).await;
    let measured = (kilobytes("VmHWM") - before) * 1024;
    let estimated = model.working_bytes_per_pixel * 512 * 512;
    eprintln!("{measured} bytes measured, {estimated} estimated");
    assert!(
        measured <= estimated + (16 << 20),
        "{measured} > {estimated}"
    );
    assert!(
        measured * 10 >= estimated * 7,
        "{measured} < 0.7 of {estimated}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_that_does_not_read_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let _deaf = UnixDatagram::bind(&path).unwrap();
    let house = House::with(|imgd| {
        imgd.env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "3000");
    })
    .await;
    // Thousands of messages, where a socket's queue has room for a few hundred at most.
    sleep(Duration::from_secs(2)).await;
    house.picture(small()).await;
}

/// Not a test of its own: what the next one runs as another user, with the socket as a further argument (to the
/// harness it is the name of a test that does not exist).
#[test]
fn connects_for_another_user() {
    use std::{io::Read as _, io::Write as _, os::unix::net::UnixStream};
    let Some(path) = std::env::args().find(|argument| argument.ends_with("imgd.sock")) else {
        return;
    };
    let mut stream = UnixStream::connect(path).expect("the permissions let everyone in");
    drop(stream.write_all(GREETING));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    eprintln!("{} bytes came back", answer.len());
    assert!(answer.is_empty(), "served");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_even_where_permissions_let_him_in() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let house = House::new().await;
    for (path, mode) in [
        (house.home().to_path_buf(), 0o777),
        (house.home().join("imgd"), 0o777),
        (house.socket(), 0o777),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // Where the other user can run it.
    let program = house.home().join("client");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let client = |prefix: &[&str]| {
        let mut command = Command::new(prefix.first().copied().unwrap_or("env"));
        command
            .args(prefix.get(1..).unwrap_or_default())
            .arg(&program)
            .args(["--exact", "life::connects_for_another_user", "--nocapture"])
            .arg(house.socket())
            .current_dir("/");
        command.output()
    };
    let other = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let Ok(refused) = client(&other) else {
        eprintln!("skipped: `setpriv` is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.success(), "{said}");
    assert!(said.contains("0 bytes came back"), "{said}");
    // The same bytes are answered to the daemon's own user.
    let mut own = house.raw().await;
    own.write_all(GREETING).await.unwrap();
    own.read_u8().await.unwrap();
    assert!(
        house
            .sandbox_says("private_socket")
            .await
            .is_some_and(|holds| !holds)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_changes_on_disk_is_loaded_again_and_running_work_keeps_the_old_one() {
    let house = House::new().await;
    let model = house.home().join("model");
    copy(&model);
    let request = |steps| v1::GenerateRequest {
        model: model.to_str().unwrap().to_owned(),
        num_inference_steps: Some(steps),
        ..small()
    };
    let first = house.picture(request(2)).await;
    assert_eq!(house.picture(request(2)).await.file, first.file);

    // Other weights of the same size, by rename, in the middle of a picture.
    let mut client = ImageServiceClient::new(house.channel().await);
    let mut stream = client.generate(request(40)).await.unwrap().into_inner();
    let mut hash = None;
    let mut is_changed = false;
    while let Some(message) = stream.message().await.unwrap() {
        match message.event {
            Some(Event::Step(_)) if !is_changed => {
                let mut bytes = fs::read(model.join(UNET)).unwrap();
                let length = bytes.len();
                bytes[length / 2..length / 2 + 4096].fill(0);
                let new = model.join("new");
                fs::write(&new, bytes).unwrap();
                fs::rename(new, model.join(UNET)).unwrap();
                is_changed = true;
            }
            Some(Event::Image(chunk)) => {
                hash = hash.or(chunk.metadata.map(|metadata| metadata.model_hash));
            }
            _ => {}
        }
    }
    assert!(is_changed);
    assert_eq!(hash.as_ref(), Some(&first.metadata.model_hash));
    let second = house.picture(request(2)).await;
    assert_ne!(second.metadata.model_hash, first.metadata.model_hash);
    assert_ne!(second.file, first.file);

    // And back.
    fs::remove_file(model.join(UNET)).unwrap();
    fs::copy(crate::models::starter().join(UNET), model.join(UNET)).unwrap();
    let third = house.picture(request(2)).await;
    assert_eq!(third.metadata.model_hash, first.metadata.model_hash);
    assert_eq!(third.file, first.file);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_answer_nothing_do_not_hold_the_end_beyond_the_drain_time() {
    let mut house = House::with(|imgd| {
        imgd.args(["--drain-timeout", "2s"]);
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut silent = house.raw().await;
        silent.write_all(GREETING).await.unwrap();
        held.push(silent);
        held.push(house.raw().await);
    }
    // More work than the time allows, for a client that takes nothing; and more that waits.
    let endless = v1::GenerateRequest {
        num_images: Some(64),
        num_inference_steps: Some(1_000),
        ..small()
    };
    for _ in 0..2 {
        held.push(begin(house.raw().await, &endless).await);
    }
    sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    house.signal(Signal::TERM);
    assert_eq!(house.ended().await.code(), Some(0));
    let took = start.elapsed();
    eprintln!("ended after {took:?}");
    assert!(
        took >= Duration::from_secs(2),
        "the work had its time: {took:?}"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!house.socket().exists());
    drop(held);
}
