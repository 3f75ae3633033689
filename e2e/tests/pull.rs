//! A model is pulled by its name, and drawn with by its name, with the settings that the catalogue gives it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "imgctl's own tests use the rest")]
#[path = "../../cli/tests/hub/mod.rs"]
mod hub;

use std::{fs, path::Path};

use hub::Hub;
use imgd_e2e::{Daemon, repository};

/// The files of the starter, as a hub has them.
fn starter() -> Vec<(String, Vec<u8>)> {
    let root = repository().join("models/starter");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("it lies below");
            let bytes = fs::read(&path).expect("a file");
            files.push((name.display().to_string(), bytes));
        }
    }
    files
}

#[test]
fn a_pulled_model_is_drawn_with_by_its_name_and_its_own_settings() {
    let files = starter();
    let files: Vec<_> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    let hub = Hub::honest(&files);
    let daemon = Daemon::start();
    let draw = |model: &str, to: &str| {
        let line = [
            "generate",
            "a red apple",
            "--seed",
            "7",
            "--size",
            "64x64",
            "--steps",
            "3",
            "-m",
            model,
        ];
        daemon.run(line.into_iter().chain(["-o", to, "--json"]))
    };

    let refused = draw("sd15", "no.png");
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("`imgctl pull sd15`"),
        "{}",
        refused.stderr
    );

    let endpoint = format!("http://{}", hub.address);
    let mut pull = daemon.home().imgctl();
    let pulled = pull
        .args(["pull", "sd15"])
        .env("HF_ENDPOINT", endpoint)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&pulled.stderr).into_owned();
    assert!(pulled.status.success(), "{told}");
    let path = String::from_utf8(pulled.stdout).expect("a path");
    let path = path.trim();
    assert!(Path::new(path).join("unet/config.json").exists(), "{path}");

    let named = draw("sd15", "named.png").ok();
    assert!(
        named.stdout.contains(r#""sampler":"dpmpp_2m""#),
        "{}",
        named.stdout
    );
    assert!(
        named.stdout.contains(r#""schedule":"karras""#),
        "{}",
        named.stdout
    );
    assert!(
        named.stdout.contains(r#""guidance_scale":7.0"#),
        "{}",
        named.stdout
    );
    assert!(
        named.stdout.contains(r#""model":"sd:1.5""#),
        "{}",
        named.stdout
    );
    let picture = |name: &str| fs::read(daemon.work().join(name)).expect("the picture");
    for (model, to) in [
        (path, "path.png"),
        ("hf:stable-diffusion-v1-5/stable-diffusion-v1-5", "hf.png"),
    ] {
        draw(model, to).ok();
        assert!(picture(to) == picture("named.png"), "{model}");
    }
    let listed = daemon.run(["models"]).ok();
    assert!(
        listed.stdout.contains("sd:1.5   cache  loaded"),
        "{}",
        listed.stdout
    );
    let shown = daemon.run(["models", "show", "sd-1.5"]).ok();
    assert!(
        shown.stdout.contains("25 of dpmpp_2m, schedule karras"),
        "{}",
        shown.stdout
    );
}
