//! The list of settings. To add one: a field of [`Settings`], a line here, a line in `config.toml`, a flag.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, DeviceSetting, ModelDir, Settings, size};
use crate::{courtesy::Hours, keep_alive::KeepAlive};

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

/// Every setting but the tables `[models]` and `[styles]`.
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
        name: "data_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.data_dir = unless_auto(value, path)?;
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
        expected: "a name that `imgctl models` lists or one that `imgctl pull` takes",
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
        name: "capacity_per_client",
        expected: "a number from 1 to 65536",
        apply: |settings, value| {
            settings.capacity_per_client = within(value, 1, 65_536)?;
            Some(())
        },
    },
    Key {
        name: "private",
        expected: "true or false",
        apply: |settings, value| {
            settings.private = boolean(value)?;
            Some(())
        },
    },
    Key {
        name: "history_max_images",
        expected: "a number of pictures from 1 on, or \"unlimited\"",
        apply: |settings, value| {
            settings.history_max_images =
                unless_unlimited(value, |value| value.parse().ok().filter(|count| *count > 0))?;
            Some(())
        },
    },
    Key {
        name: "history_max_age",
        expected: "a duration such as \"30d\", more than 0, or \"unlimited\"",
        apply: |settings, value| {
            settings.history_max_age = unless_unlimited(value, |value| {
                any_duration(value).filter(|age| !age.is_zero() && *age <= MAX_AGE)
            })?;
            Some(())
        },
    },
    Key {
        name: "history_max_size",
        expected: "a number of bytes, a size such as \"10GiB\", or \"unlimited\"",
        apply: |settings, value| {
            settings.history_max_bytes = unless_unlimited(value, size::parse)?;
            Some(())
        },
    },
    Key {
        name: "save_interval",
        expected: "a duration such as \"1s\", or 0",
        apply: |settings, value| {
            settings.save_interval = duration(value)?;
            Some(())
        },
    },
    Key {
        name: "background_idle",
        expected: "a duration such as \"5m\", or 0",
        apply: |settings, value| {
            settings.background.idle = duration(value)?;
            Some(())
        },
    },
    Key {
        name: "background_on_battery",
        expected: "true or false",
        apply: |settings, value| {
            settings.background.on_battery = boolean(value)?;
            Some(())
        },
    },
    Key {
        name: "background_hours",
        expected: "hours such as \"22:00-07:00\", or \"\" for any",
        apply: |settings, value| {
            settings.background.hours = if value.is_empty() {
                None
            } else {
                Some(Hours::parse(value)?)
            };
            Some(())
        },
    },
    Key {
        name: "background_duty",
        expected: "a percentage from 1 to 100",
        apply: |settings, value| {
            let percent = within(value, 1, 100)?;
            settings.background.duty_percent = u32::try_from(percent).ok()?;
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
        name: "idle_exit",
        expected: "a duration such as \"15m\", more than 0, or \"never\"",
        apply: |settings, value| {
            settings.idle_exit = match value {
                "never" => None,
                value => Some(duration(value).filter(|time| !time.is_zero())?),
            };
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
    Key {
        name: "lora_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.lora_dir = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "control_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.control_dir = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "upscaler_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.upscaler_dir = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "wildcard_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.wildcard_dir = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "embedding_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.embedding_dir = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "vae_approx_dir",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.vae_approx_dir = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "hub_cache",
        expected: "an absolute path or \"auto\"",
        apply: |settings, value| {
            settings.hub_cache = unless_auto(value, path)?;
            Some(())
        },
    },
    Key {
        name: "model_dirs",
        expected: "\"none\", or a list of \"auto\" and absolute paths such as [\"auto\", \"/mnt/ComfyUI\"]",
        apply: |settings, value| {
            settings.model_dirs = match value {
                "none" | "" => Vec::new(),
                list => list.split(LIST).map(model_dir).collect::<Option<_>>()?,
            };
            Some(())
        },
    },
];

/// Settings that are lists: in the file such, elsewhere with [`LIST`] between what they hold.
pub(super) const LISTS: &[&str] = &["model_dirs"];

/// What stands between the parts of a list, as in `PATH`.
pub(super) const LIST: char = ':';

/// The longest age of kept pictures that can be set: a hundred years.
const MAX_AGE: Duration = Duration::from_secs(100 * 366 * 86_400);

/// `Some(None)` for "auto", `None` for a value that is wrong.
fn unless_auto<T>(value: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if value == "auto" {
        Some(None)
    } else {
        parse(value).map(Some)
    }
}

/// `Some(None)` for "unlimited", `None` for a value that is wrong. A 0 could be meant as "keep nothing" as well as
/// "keep all", so that it is wrong.
fn unless_unlimited<T>(value: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if value == "unlimited" {
        Some(None)
    } else {
        parse(value).map(Some)
    }
}

fn boolean(value: &str) -> Option<bool> {
    value.parse().ok()
}

fn model_dir(value: &str) -> Option<ModelDir> {
    match value {
        "auto" => Some(ModelDir::Usual),
        below if below.starts_with("~/") => Some(ModelDir::At(below.into())),
        other => path(other).map(ModelDir::At),
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

/// At most a day.
fn duration(value: &str) -> Option<Duration> {
    any_duration(value).filter(|time| *time <= Duration::from_secs(86_400))
}

fn any_duration(value: &str) -> Option<Duration> {
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(value).ok(),
    }
}
