//! The list of settings. To add one: a field of [`Settings`], a line here, a line in `config.toml`, a flag.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, DeviceSetting, Settings, size};
use crate::keep_alive::KeepAlive;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// What a value must be, to follow "must be".
    pub expected: &'static str,
    apply: fn(&mut Settings, &str) -> Option<()>,
}

impl Key {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("IMGD_{}", self.name.to_uppercase())
    }

    pub(super) fn set(
        &self,
        settings: &mut Settings,
        value: &str,
        place: &str,
    ) -> Result<(), ConfigError> {
        (self.apply)(settings, value.trim()).ok_or_else(|| ConfigError::Value {
            place: place.to_owned(),
            key: self.name.to_owned(),
            message: format!("must be {}, found `{value}`", self.expected),
        })
    }
}

/// Every setting but the table `[models]`.
pub const KEYS: &[Key] = &[
    Key {
        name: "socket",
        expected: "a path or \"auto\"",
        apply: |settings, value| {
            settings.socket = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "device",
        expected: "\"auto\" or \"cpu\"",
        apply: |settings, value| {
            settings.device = match value {
                "auto" => DeviceSetting::Auto,
                "cpu" => DeviceSetting::Cpu,
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        name: "threads",
        expected: "a number from 1 to 1024 or \"auto\"",
        apply: |settings, value| {
            settings.threads = unless_auto(value, |value| within(value, 1, 1024))?;
            Some(())
        },
    },
    Key {
        name: "default_model",
        expected: "\"starter\" or a name of [models]",
        apply: |settings, value| {
            settings.default_model = (!value.is_empty()).then(|| value.to_owned())?;
            Some(())
        },
    },
    Key {
        name: "keep_alive",
        expected: "a duration such as \"5m\", a number of seconds, 0 or \"-1\"",
        apply: |settings, value| {
            settings.keep_alive = KeepAlive::parse(value)?;
            Some(())
        },
    },
    Key {
        name: "max_memory",
        expected: "a number of bytes, a size such as \"8GiB\" or \"auto\"",
        apply: |settings, value| {
            settings.max_memory_bytes = unless_auto(value, size::parse)?;
            Some(())
        },
    },
    Key {
        name: "queue_capacity",
        expected: "a number from 1 to 65536",
        apply: |settings, value| {
            settings.queue_capacity = within(value, 1, 65_536)?;
            Some(())
        },
    },
    Key {
        name: "max_connections",
        expected: "a number from 16 to 4096",
        apply: |settings, value| {
            settings.max_connections = within(value, 16, 4096)?;
            Some(())
        },
    },
    Key {
        name: "first_byte_timeout",
        expected: "a duration such as \"5s\", more than 0",
        apply: |settings, value| {
            settings.first_byte_timeout = duration(value).filter(|time| !time.is_zero())?;
            Some(())
        },
    },
    Key {
        name: "drain_timeout",
        expected: "a duration such as \"40s\"",
        apply: |settings, value| {
            settings.drain_timeout = duration(value)?;
            Some(())
        },
    },
    Key {
        name: "log_level",
        expected: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        apply: |settings, value| {
            settings.log_level = value
                .parse()
                .ok()
                .filter(|_| value.parse::<u8>().is_err())?;
            Some(())
        },
    },
    Key {
        name: "starter_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.starter_dir = unless_auto(value, path)?;
            Some(())
        },
    },
];

/// `Some(None)` for "auto", `None` for a value that is wrong.
fn unless_auto<T>(value: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if value == "auto" {
        Some(None)
    } else {
        parse(value).map(Some)
    }
}

fn path(value: &str) -> Option<PathBuf> {
    let path = PathBuf::from(value);
    path.is_absolute().then_some(path)
}

fn within(value: &str, least: usize, most: usize) -> Option<usize> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
}

fn duration(value: &str) -> Option<Duration> {
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(value).ok(),
    }
    .filter(|time| *time <= Duration::from_secs(86_400))
}
