use std::{path::Path, time::Duration};

use super::{ConfigError, DEFAULT_FILE, Environment, KEYS, ModelDir, Settings, file, read};
use crate::{
    courtesy::{Hours, Rules},
    keep_alive::KeepAlive,
};

fn from_file(text: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    file::apply(
        &mut settings,
        Path::new("imgd.toml"),
        text,
        &Environment::of([]),
    )?;
    Ok(settings)
}

/// The default file with its settings no longer commented out.
fn default_file_in_force() -> String {
    let is_setting = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| {
            rest.split_once(" = ")
                .is_some_and(|(key, _)| KEYS.iter().any(|known| known.name == key))
        })
    };
    DEFAULT_FILE
        .lines()
        .filter(is_setting)
        .map(|line| format!("{}\n", &line[1..]))
        .collect()
}

#[test]
fn the_printed_file_parses_and_equals_the_defaults() {
    assert_eq!(from_file(DEFAULT_FILE).unwrap(), Settings::default());
    assert_eq!(
        from_file(&default_file_in_force()).unwrap(),
        Settings::default()
    );
}

#[test]
fn every_setting_is_in_the_printed_file_once_in_order() {
    let text = default_file_in_force();
    let keys: Vec<_> = text
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(keys, known);
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "keep_alive = 1\nthreads = 1\nqueue_capacity = 1\n").unwrap();
    let environment = Environment::of([("IMGD_KEEP_ALIVE", "2"), ("IMGD_THREADS", "2")]);
    let settings = read(&[("keep_alive", "3".to_owned())], Some(&path), &environment).unwrap();
    assert_eq!(settings.keep_alive, KeepAlive::For(Duration::from_secs(3)));
    assert_eq!(settings.threads, Some(2));
    assert_eq!(settings.queue_capacity, 1);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
    let error = from_file("device = \"cpu\"\n\nkeepalive = 3\n")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "imgd.toml:3: there is no setting `keepalive`; did you mean `keep_alive`?"
    );
}

#[test]
fn wrong_values_are_named_with_place_and_what_would_be_right() {
    for (text, expected) in [
        (
            "threads = 0",
            "imgd.toml:1: `threads` must be a number from 1 to 1024 or \"auto\", found `0`",
        ),
        (
            "\ndevice = \"cuda\"",
            "imgd.toml:2: `device` must be \"auto\" or \"cpu\", found `cuda`",
        ),
        (
            "threads = [1]",
            "imgd.toml:1: `threads` must be a number from 1 to 1024 or \"auto\"",
        ),
        (
            "[models]\nx = \"rel/path\"",
            "imgd.toml:2: `models.x` must be an absolute path, found `rel/path`",
        ),
        (
            "[styles]\noil = \"oil\"",
            "imgd.toml:2: `styles.oil` must be a table such as { prompt = \"{prompt}, oil\", negative = \"photo\" }",
        ),
        (
            "[styles]\noil = { prompt = \"oil\", negativ = \"x\" }",
            "imgd.toml:2: `styles.oil` must be a table such as { prompt = \"{prompt}, oil\", negative = \"photo\" }",
        ),
        (
            "[models]\nstarter = \"/x\"",
            "imgd.toml:2: `models.starter` is taken by the starter model",
        ),
    ] {
        assert_eq!(from_file(text).unwrap_err().to_string(), expected);
    }
    let environment = Environment::of([("IMGD_QUEUE_CAPACITY", "many")]);
    let error = read(&[], None, &environment).unwrap_err().to_string();
    assert_eq!(
        error,
        "IMGD_QUEUE_CAPACITY: `queue_capacity` must be a number from 1 to 65536, found `many`"
    );
}

#[test]
fn what_is_kept_is_limited_or_explicitly_not() {
    let settings = from_file(
        "history_max_images = 7\nhistory_max_age = \"2d\"\nhistory_max_size = \"unlimited\"\nprivate = true\n",
    )
    .unwrap();
    assert_eq!(settings.history_max_images, Some(7));
    assert_eq!(
        settings.history_max_age,
        Some(Duration::from_secs(2 * 86_400))
    );
    assert_eq!(settings.history_max_bytes, None);
    assert!(settings.private);
    for ambiguous in [
        "history_max_images = 0",
        "history_max_age = 0",
        "history_max_size = 0",
    ] {
        let error = from_file(ambiguous).unwrap_err().to_string();
        assert!(error.contains("\"unlimited\""), "{error}");
    }
}

#[test]
fn background_work_has_hours_a_share_and_conditions() {
    let settings = from_file(
        "background_idle = \"5m\"\nbackground_on_battery = true\nbackground_hours = \"22:00-07:00\"\nbackground_duty = 25\n",
    )
    .unwrap();
    assert_eq!(
        settings.background,
        Rules {
            idle: Duration::from_secs(300),
            on_battery: true,
            hours: Hours::parse("22:00-07:00"),
            duty_percent: 25,
        }
    );
    for (text, expected) in [
        (
            "background_hours = \"22-7\"",
            "imgd.toml:1: `background_hours` must be hours such as \"22:00-07:00\", or \"\" for any, found `22-7`",
        ),
        (
            "background_duty = 0",
            "imgd.toml:1: `background_duty` must be a percentage from 1 to 100, found `0`",
        ),
        (
            "private = 1",
            "imgd.toml:1: `private` must be true or false, found `1`",
        ),
    ] {
        assert_eq!(from_file(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn data_is_kept_where_it_is_set_or_in_the_users_usual_place() {
    let environment = Environment::of([]);
    let mut settings = Settings::default();
    let usual = environment.data_dir(&settings).unwrap();
    assert_eq!(usual, Path::new("/home/ann/.local/share/imgd"));
    settings.data_dir = Some("/srv/imgd".into());
    assert_eq!(
        environment.data_dir(&settings).unwrap(),
        Path::new("/srv/imgd")
    );
    let error = Environment::default()
        .data_dir(&Settings::default())
        .unwrap_err();
    assert!(matches!(error, ConfigError::NoDataDir), "{error}");
}

#[test]
fn broken_toml_says_where() {
    let error = from_file("device = \"cpu\"\nthreads = = 3\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("imgd.toml:2: "), "{error}");
}

#[test]
fn styles_have_a_template_for_each_prompt() {
    let settings = from_file(
        "[styles]\noil = { prompt = \"{prompt}, oil\", negative = \"photo\" }\n[styles.old]\nprompt = \"old\"\n",
    )
    .unwrap();
    let parts = |name: &str| {
        let style = &settings.styles[name];
        (style.prompt.clone(), style.negative.clone())
    };
    assert_eq!(parts("oil"), ("{prompt}, oil".into(), "photo".into()));
    assert_eq!(parts("old"), ("old".into(), String::new()));
}

#[test]
fn a_home_is_put_before_a_models_path() {
    let settings = from_file("[models]\nsdxl = \"~/sdxl\"\n").unwrap();
    assert_eq!(settings.models["sdxl"], "/home/ann/sdxl".into());
}

#[test]
fn places_of_other_programs_are_a_list_that_may_be_empty() {
    let at = |path: &str| ModelDir::At(path.into());
    for (text, expected) in [
        (
            "model_dirs = [\"auto\", \"/mnt/ComfyUI\"]",
            vec![ModelDir::Usual, at("/mnt/ComfyUI")],
        ),
        (
            "model_dirs = \"~/a:/b/extra_model_paths.yaml\"",
            vec![at("~/a"), at("/b/extra_model_paths.yaml")],
        ),
        ("model_dirs = \"none\"", vec![]),
        ("model_dirs = []", vec![]),
    ] {
        let settings = from_file(text).unwrap();
        assert_eq!(settings.model_dirs, expected, "{text}");
    }
    for wrong in [
        "model_dirs = [\"ComfyUI\"]",
        "model_dirs = [1]",
        "model_dirs = [\"/a:/b\"]",
        "socket = [\"/a\"]",
    ] {
        let error = from_file(wrong).unwrap_err().to_string();
        assert!(error.contains("must be"), "{error}");
    }
    let environment = Environment::of([("INVOKEAI_ROOT", "/invoke")]);
    let mut settings = Settings::default();
    let usual = environment.model_dirs(&settings);
    assert!(
        usual
            .iter()
            .any(|place| place.path == Path::new("/home/ann/ComfyUI") && !place.is_named)
    );
    assert!(usual.iter().any(|place| place.path == Path::new("/invoke")));
    settings.model_dirs = vec![at("~/a")];
    let named = environment.model_dirs(&settings);
    assert_eq!(named.len(), 1);
    assert!(named[0].is_named && named[0].path == Path::new("/home/ann/a"));
}

#[test]
fn the_cache_of_models_is_where_it_is_set_or_where_others_have_it() {
    let cache = |variables: &[(&'static str, &'static str)], set: Option<&str>| {
        let environment = match variables {
            [one] => Environment::of([*one]),
            _ => Environment::of([]),
        };
        let settings = Settings {
            hub_cache: set.map(Into::into),
            ..Settings::default()
        };
        environment.hub_cache(&settings)
    };
    let usual = Path::new("/home/ann/.cache/huggingface/hub");
    assert_eq!(cache(&[], None).as_deref(), Some(usual));
    let of_home = cache(&[("HF_HOME", "/hf")], None);
    assert_eq!(of_home.as_deref(), Some(Path::new("/hf/hub")));
    let set = cache(&[("HF_HOME", "/hf")], Some("/set"));
    assert_eq!(set.as_deref(), Some(Path::new("/set")));
    assert_eq!(cache(&[("HF_HOME", "relative")], None), None);
}

#[test]
fn a_named_file_must_exist() {
    let error = read(
        &[],
        Some(Path::new("/nonexistent/c.toml")),
        &Environment::of([]),
    )
    .unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
}

#[test]
fn a_model_has_other_names_and_settings_within_the_limits_of_requests() {
    let settings = from_file(
        "[models]\nplain = \"/p\"\nxl = { path = \"~/xl.gguf\", config = \"/c\", alias = [\"x\", \"big\"], sampler = \"euler\", steps = 9, guidance = 2, width = 512 }\nstarter = { alias = \"apple\", guidance = 1.5 }\n",
    )
    .unwrap();
    let xl = &settings.models["xl"];
    assert_eq!(xl.path.as_deref(), Some(Path::new("/home/ann/xl.gguf")));
    assert_eq!(xl.config.as_deref(), Some(Path::new("/c")));
    assert_eq!(xl.aliases, ["x", "big"]);
    assert_eq!(xl.preset.sampler.as_deref(), Some("euler"));
    assert_eq!(xl.preset.num_inference_steps, Some(9));
    assert_eq!(xl.preset.guidance_scale, Some(2.0));
    assert_eq!((xl.preset.width_px, xl.preset.height_px), (Some(512), None));
    assert_eq!(settings.models["starter"].aliases, ["apple"]);
    for (line, expected) in [
        (
            "steps = 1001",
            "`models.m.steps` must be 1 to 1,000, found `1001`",
        ),
        (
            "steps = 2.5",
            "`models.m.steps` must be 1 to 1,000, found `2.5`",
        ),
        (
            "width = 12",
            "`models.m.width` must be 8 to 4,096, a multiple of 8, found `12`",
        ),
        (
            "guidance = nan",
            "`models.m.guidance` must be 0 to 100, found `nan`",
        ),
        ("schedule = \"best\"", "`models.m.schedule` must be one of "),
        (
            "alias = [\"a/b\"]",
            "`models.m.alias` names `a/b`, which must be 1 to 80 bytes long",
        ),
        (
            "path = \"x\"",
            "`models.m.path` must be an absolute path, found `x`",
        ),
        (
            "config = \"/c\"",
            "`models.m` has a `config`, which is for a single file",
        ),
        ("style = \"x\"", "`models.m.style` is no setting of a model"),
    ] {
        let error = from_file(&format!("[models.m]\n{line}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
    let twice = "[models]\na = { path = \"/a\", alias = [\"b\"] }\nb = \"/b\"\n";
    assert!(
        from_file(twice)
            .unwrap_err()
            .to_string()
            .contains("names `b`, which another model is called")
    );
}
