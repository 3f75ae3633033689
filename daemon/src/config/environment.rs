//! What the daemon takes from the environment: with the socket's place, the only code of the daemon that reads it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use imgd_models::apps::{self, AppPlace};

use super::{ConfigError, ModelDir, Settings};

/// Variables that are not settings.
const OTHERS: [&str; 8] = [
    "JOURNAL_STREAM",
    "NO_COLOR",
    "NOTIFY_SOCKET",
    // where the Hugging Face cache is
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    // where InvokeAI is
    "INVOKEAI_ROOT",
];

/// The variables that the daemon looks at, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    config_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's own environment.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| {
                (name.starts_with("IMGD_") || OTHERS.contains(&name.as_str())) && !value.is_empty()
            })
            .collect();
        let project = directories::ProjectDirs::from("", "", "imgd");
        Self {
            variables,
            home: directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned()),
            config_dir: project.as_ref().map(|dirs| dirs.config_dir().to_owned()),
            data_dir: project.map(|dirs| dirs.data_dir().to_owned()),
        }
    }

    /// An environment of the given variables alone, without a home.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            variables,
            home: Some(PathBuf::from("/home/ann")),
            config_dir: None,
            data_dir: Some(PathBuf::from("/home/ann/.local/share/imgd")),
        }
    }

    /// What may be passed on to a worker; the spawner's list decides what is.
    pub fn for_worker(&self) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        std::env::vars_os()
    }

    /// The value of a variable; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// Where journal and pictures are kept: what is set, else the user's usual place.
    pub fn data_dir(&self, settings: &Settings) -> Result<PathBuf, ConfigError> {
        let usual = || self.data_dir.clone().ok_or(ConfigError::NoDataDir);
        settings.data_dir.clone().map_or_else(usual, Ok)
    }

    /// Where the Hugging Face cache is: what is set, else where huggingface_hub has it; none without a home.
    pub fn hub_cache(&self, settings: &Settings) -> Option<PathBuf> {
        let usual = || {
            let variable = |name: &str| self.get(name).map(PathBuf::from);
            imgd_models::cache_dir(variable, self.home.as_deref())
        };
        let found = settings.hub_cache.clone().or_else(usual);
        // A daemon works in no folder of the user's.
        found.filter(|path| path.is_absolute())
    }

    /// Where other programs and their models are looked for.
    pub fn model_dirs(&self, settings: &Settings) -> Vec<AppPlace> {
        let usual = || {
            let invokeai_root = self.get("INVOKEAI_ROOT").map(PathBuf::from);
            apps::usual_places(self.home.as_deref(), invokeai_root)
        };
        let places = settings.model_dirs.iter().flat_map(|place| match place {
            ModelDir::Usual => usual(),
            ModelDir::At(path) => vec![AppPlace {
                path: path
                    .to_str()
                    .map_or_else(|| path.clone(), |path| self.expand_home(path)),
                is_named: true,
            }],
        });
        places.collect()
    }

    /// The user's home directory.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The device and inode of the journal's stream, where systemd connected one.
    pub fn journal_stream(&self) -> Option<(u64, u64)> {
        let value = self.get("JOURNAL_STREAM")?;
        let (device, inode) = value.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    }

    /// Where the service manager that started this process wants to hear from it.
    pub fn notify_socket(&self) -> Option<String> {
        self.get("NOTIFY_SOCKET")
    }

    /// Variables of this process that a worker may not see.
    pub(crate) fn not_for_workers() -> usize {
        let allowed = |name: &OsString| {
            crate::spawner::ENVIRONMENT
                .iter()
                .chain([&crate::spawner::THREADS])
                .any(|allowed| name == allowed)
        };
        std::env::vars_os()
            .filter(|(name, _)| !allowed(name))
            .count()
    }

    /// True when the user wants no colours.
    pub fn no_color(&self) -> bool {
        self.variables.contains_key("NO_COLOR")
    }

    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.get("IMGD_CONFIG").map(PathBuf::from)
    }

    pub(super) fn usual_config_file(&self) -> Option<PathBuf> {
        Some(self.config_dir.as_ref()?.join("config.toml"))
    }

    /// Puts the home directory in the place of a leading `~/`.
    pub(super) fn expand_home(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => Path::new(path).to_owned(),
        }
    }
}
