//! Names of the user's own: given while the daemon runs and kept over restarts, or written into the config with settings.

use imgd_e2e::{Daemon, Home, repository};
use serde_json::Value;

/// The built-in model as a folder.
fn starter() -> String {
    repository().join("models/starter").display().to_string()
}

fn names(daemon: &Daemon) -> Vec<String> {
    let listed = daemon.run(["models", "--json"]).ok().json();
    let models = listed.iter().filter(|line| line["event"] == "model");
    models
        .map(|model| model["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// What the daemon would draw with.
fn planned(daemon: &Daemon, more: &[&str]) -> Value {
    let common = ["plan", "a red apple", "--json"];
    let run = daemon
        .run(common.into_iter().chain(more.iter().copied()))
        .ok();
    run.json().remove(0)["settings"].clone()
}

#[test]
fn what_was_added_is_there_after_a_restart_until_it_is_removed() {
    let mut daemon = Daemon::start();
    let added = daemon
        .run([
            "models",
            "add",
            &starter(),
            "--name",
            "little",
            "--alias",
            "li",
        ])
        .ok();
    assert!(
        added.stdout.starts_with("added `little`, also `li`: /"),
        "{}",
        added.stdout
    );
    for (arguments, says) in [
        (vec!["/nonexistent/x.safetensors"], "no file or directory"),
        (vec!["/etc/hostname"], "/etc/hostname"),
        (vec!["/elsewhere", "--name", "little"], "another model"),
        (vec!["/elsewhere", "--name", "flux-schnell"], "imgctl pull"),
    ] {
        let refused = daemon.run(["models", "add"].into_iter().chain(arguments));
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }
    daemon.kill();
    daemon.start_again();
    daemon.wait_until_it_listens();
    assert_eq!(names(&daemon), ["starter", "little"]);
    let draw = |model: &str, to: &str| {
        let size = ["--size", "64x64", "--steps", "2", "--seed", "3"];
        let common = ["generate", "a red apple", "-m", model, "-o", to];
        daemon.run(common.into_iter().chain(size)).ok();
        std::fs::read(daemon.work().join(to)).expect("the picture")
    };
    let by_alias = draw("li", "alias.png");
    assert!(by_alias == draw("little", "name.png") && by_alias == draw(&starter(), "path.png"));

    let refused = daemon.run(["models", "rm", "starter"]);
    assert!(
        refused.stderr.contains("inside the program"),
        "{}",
        refused.stderr
    );
    let removed = daemon.run(["models", "rm", "li"]).ok();
    assert!(
        removed.stdout.contains("stays where it is"),
        "{}",
        removed.stdout
    );
    assert_eq!(names(&daemon), ["starter"]);
    assert!(
        repository()
            .join("models/starter/model_index.json")
            .is_file()
    );
    daemon.kill();
    daemon.start_again();
    daemon.wait_until_it_listens();
    assert_eq!(names(&daemon), ["starter"]);
}

#[test]
fn the_configs_settings_stand_between_the_request_and_the_model() {
    let config = format!(
        "[models.little]\npath = {:?}\nalias = [\"li\"]\nsampler = \"heun\"\nschedule = \"karras\"\n\
         steps = 7\nguidance = 2.5\nwidth = 64\nheight = 128\nnegative_prompt = \"blurry\"\n\
         [models.starter]\nsteps = 3\n",
        starter()
    );
    let daemon = Daemon::start_in(Home::with_config(&config), |_| {});
    for name in ["little", "li"] {
        let settings = planned(&daemon, &["-m", name]);
        assert_eq!(settings["sampler"], "heun");
        assert_eq!(settings["schedule"], "karras");
        assert_eq!(settings["num_inference_steps"], 7);
        assert_eq!(settings["guidance_scale"], 2.5);
        assert_eq!(
            (&settings["width_px"], &settings["height_px"]),
            (&64.into(), &128.into())
        );
    }
    let said = planned(&daemon, &["-m", "li", "--steps", "2", "--sampler", "euler"]);
    assert_eq!(said["num_inference_steps"], 2);
    assert_eq!(said["sampler"], "euler");
    assert_eq!(planned(&daemon, &[])["num_inference_steps"], 3);
    let shown = daemon
        .run(["models", "show", "li", "--json"])
        .ok()
        .json()
        .remove(0);
    assert_eq!(shown["defaults"]["num_inference_steps"], 7);
    assert_eq!(shown["aliases"], serde_json::json!(["li"]));
    assert_eq!(shown["negative_prompt"], "blurry");
    daemon
        .run([
            "generate",
            "a red apple",
            "-m",
            "li",
            "--steps",
            "1",
            "-o",
            "one.png",
        ])
        .ok();
    let png = std::fs::read(daemon.work().join("one.png")).expect("the picture");
    let has = |text: &[u8]| png.windows(text.len()).any(|window| window == text);
    assert!(has(b"Negative prompt: blurry") && has(b"Size: 64x128"));
}

#[test]
fn a_setting_that_no_request_may_have_is_refused_at_the_start() {
    for (line, says) in [
        (
            "steps = 0",
            "`models.m.steps` must be 1 to 1,000, found `0`",
        ),
        (
            "width = 65",
            "`models.m.width` must be 8 to 4,096, a multiple of 8, found `65`",
        ),
        ("sampler = \"best\"", "`models.m.sampler` must be one of"),
        (
            "guidance = \"x\"",
            "`models.m.guidance` must be 0 to 100, found `x`",
        ),
        ("stepps = 1", "`models.m.stepps` is no setting of a model"),
        ("alias = [\"starter\"]", "`models.m.alias` names `starter`"),
    ] {
        let home = Home::with_config(&format!("[models.m]\npath = \"/m\"\n{line}\n"));
        let started = home.run(["models"]);
        assert_ne!(started.code, 0, "{line}");
        assert!(started.stderr.contains(says), "{line}: {}", started.stderr);
    }
}
