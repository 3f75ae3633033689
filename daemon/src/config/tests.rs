use std::{path::Path, time::Duration};

use super::{ConfigError, DEFAULT_FILE, Environment, KEYS, Settings, file, read};
use crate::keep_alive::KeepAlive;

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
fn broken_toml_says_where() {
    let error = from_file("device = \"cpu\"\nthreads = = 3\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("imgd.toml:2: "), "{error}");
}

#[test]
fn a_home_is_put_before_a_models_path() {
    let settings = from_file("[models]\nsdxl = \"~/sdxl\"\n").unwrap();
    assert_eq!(settings.models["sdxl"], Path::new("/home/ann/sdxl"));
}

#[test]
fn a_default_model_must_exist() {
    let error = read(
        &[("default_model", "sdxl".to_owned())],
        None,
        &Environment::of([]),
    )
    .unwrap_err();
    assert!(error.to_string().contains("`sdxl`"), "{error}");
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
