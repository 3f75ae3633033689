//! The daemon's settings, from flags, environment, file and defaults, in this order.
//!
//! The one place of the daemon that reads the environment. Every setting is a line of [`KEYS`]: its name is its key in
//! the file, in upper case behind `IMGD_` its variable, and with hyphens its flag.

mod environment;
mod file;
mod keys;
mod models;
mod size;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    courtesy,
    keep_alive::KeepAlive,
    services::{own::OwnModel, styles::Style},
};

pub use environment::Environment;
pub use keys::KEYS;

/// The commented default, as `imgd --print-config` prints it.
pub const DEFAULT_FILE: &str = include_str!("../../config.toml");

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSetting {
    /// The best device there is.
    Auto,
    /// The CPU, whatever else there is.
    Cpu,
}

impl DeviceSetting {
    /// The word in config and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
        }
    }
}

/// Where models of other programs are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelDir {
    /// Where those programs usually are: "auto".
    Usual,
    /// A folder, or a file such as `extra_model_paths.yaml`; may begin with `~/`.
    At(PathBuf),
}

/// Everything that can be set. `None` is "auto", for limits of what is kept "unlimited".
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The socket to serve.
    pub socket: Option<PathBuf>,
    /// Where journal and pictures are kept; [`Environment::data_dir`] says where "auto" is.
    pub data_dir: Option<PathBuf>,
    /// What computes.
    pub device: DeviceSetting,
    /// Threads that compute, at least 1.
    pub threads: Option<usize>,
    /// The model of a request that names none.
    pub default_model: String,
    /// How long an idle model stays.
    pub keep_alive: KeepAlive,
    /// Memory that models may take, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Requests that may wait at once.
    pub queue_capacity: usize,
    /// Requests of one client that may wait at once.
    pub capacity_per_client: usize,
    /// Whether a `Generate` that does not say is private: neither its prompt nor its pictures are kept.
    pub private: bool,
    /// Pictures that are kept.
    pub history_max_images: Option<u64>,
    /// How long they are kept after their job's end.
    pub history_max_age: Option<Duration>,
    /// Bytes that they may take on disk.
    pub history_max_bytes: Option<u64>,
    /// The least time between two saves of a running picture; zero: saved after every evaluation.
    pub save_interval: Duration,
    /// When background jobs may run.
    pub background: courtesy::Rules,
    /// Connections at once.
    pub max_connections: usize,
    /// A connection that says nothing for this long is closed.
    pub first_byte_timeout: Duration,
    /// How long running work may go on once the daemon is asked to end.
    pub drain_timeout: Duration,
    /// A daemon whose socket is the service manager's ends once nobody needed it for this long; `None`: it stays.
    pub idle_exit: Option<Duration>,
    /// What is logged.
    pub log_level: tracing::Level,
    /// Where the starter model lies when it is not inside the program.
    pub starter_dir: Option<PathBuf>,
    /// Where adapters lie that requests name; "auto" is `loras` in the data directory.
    pub lora_dir: Option<PathBuf>,
    /// Where ControlNets lie that requests name; "auto" is `controlnets` in the data directory.
    pub control_dir: Option<PathBuf>,
    /// Where upscalers lie that requests name; "auto" is `upscalers` in the data directory.
    pub upscaler_dir: Option<PathBuf>,
    /// Where files of choices lie that prompts name; "auto" is `wildcards` in the data directory.
    pub wildcard_dir: Option<PathBuf>,
    /// Styles by name.
    pub styles: BTreeMap<String, Style>,
    /// Where embeddings lie that prompts name; "auto" is `embeddings` in the data directory.
    pub embedding_dir: Option<PathBuf>,
    /// Where tiny autoencoders lie that make previews; "auto" is `vae_approx` in the data directory.
    pub vae_approx_dir: Option<PathBuf>,
    /// Where the Hugging Face cache is; [`Environment::hub_cache`] says where "auto" is.
    pub hub_cache: Option<PathBuf>,
    /// Where other programs and their models are looked for; [`Environment::model_dirs`] says where "auto" is.
    pub model_dirs: Vec<ModelDir>,
    /// Models by name.
    pub models: BTreeMap<String, OwnModel>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: None,
            data_dir: None,
            device: DeviceSetting::Auto,
            threads: None,
            default_model: "starter".to_owned(),
            keep_alive: KeepAlive::For(Duration::from_secs(300)),
            max_memory_bytes: None,
            queue_capacity: 1000,
            capacity_per_client: 500,
            private: false,
            history_max_images: Some(10_000),
            history_max_age: Some(Duration::from_secs(30 * 86_400)),
            history_max_bytes: Some(10 << 30),
            save_interval: Duration::from_secs(1),
            background: courtesy::Rules::default(),
            max_connections: 128,
            first_byte_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(40),
            idle_exit: Some(Duration::from_secs(15 * 60)),
            log_level: tracing::Level::INFO,
            starter_dir: None,
            lora_dir: None,
            control_dir: None,
            upscaler_dir: None,
            wildcard_dir: None,
            styles: BTreeMap::new(),
            embedding_dir: None,
            vae_approx_dir: None,
            hub_cache: None,
            model_dirs: vec![ModelDir::Usual],
            models: BTreeMap::new(),
        }
    }
}

/// A setting that cannot be used. Exit status 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("could not read the config file {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// Its path.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The file has a key that is none.
    #[error("{}:{line}: there is no setting `{key}`{}", path.display(), did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// Its path.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The nearest key there is.
        suggestion: Option<&'static str>,
    },
    /// A value is wrong.
    #[error("{place}: `{key}` {message}")]
    Value {
        /// Where it was given: `FILE:LINE`, a variable or a flag.
        place: String,
        /// The key.
        key: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// There is no home in which to keep anything.
    #[error(
        "there is no home directory to keep jobs and pictures in; `data_dir` names another place"
    )]
    NoDataDir,
    /// The default model has no entry.
    #[error(
        "`default_model` is `{name}`, which is neither `starter`, a name of [models], a model of another program nor what `imgctl pull` takes"
    )]
    DefaultModel {
        /// The name.
        name: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Reads the settings. `flags` are pairs of key and value; `file` is the path that `--config` names.
///
/// A file that is named must exist; the usual one may be missing.
pub fn read(
    flags: &[(&'static str, String)],
    file: Option<&Path>,
    environment: &Environment,
) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    if let Some(path) = file_read(file, environment) {
        file::apply(&mut settings, &path, &file::read(&path)?, environment)?;
    }
    for key in KEYS {
        let variable = key.variable();
        if let Some(value) = environment.get(&variable) {
            key.set(&mut settings, &value, &variable)?;
        }
    }
    for (name, value) in flags {
        let place = format!("--{}", name.replace('_', "-"));
        if let Some(key) = KEYS.iter().find(|key| key.name == *name) {
            key.set(&mut settings, value, &place)?;
        }
    }
    Ok(settings)
}

/// The config file that [`read`] reads: the one that is named, else the usual one where it is there.
pub fn file_read(file: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = file.map(Path::to_path_buf);
    let usual = || environment.usual_config_file().filter(|path| path.exists());
    named.or_else(|| environment.config_file()).or_else(usual)
}

/// The models that were added, from the file of the data directory that they are kept in; none where it is not there.
pub fn read_added(file: &Path) -> Result<BTreeMap<String, OwnModel>, ConfigError> {
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    file::added(file, &file::read(file)?, &Environment::default())
}

#[cfg(test)]
mod tests;
