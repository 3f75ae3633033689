//! The command line of `imgd`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Keeps image-generation models resident and serves them over a private Unix socket.
#[derive(Debug, Parser)]
#[command(
    name = "imgd",
    version,
    after_help = "Settings come from a flag, else the environment (IMGD_…), else the \
config file, else the default. `imgd --print-config` explains each."
)]
pub(crate) struct Args {
    /// Read this config file instead of the usual one.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the commented default config file and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Print the page of the manual and exit.
    #[arg(long)]
    pub(crate) print_man: bool,
    /// Print a script that completes imgd in a shell and exit.
    #[arg(long, value_name = "SHELL")]
    pub(crate) print_completions: Option<Shell>,
    /// Say whether the settings are right, and where things are kept, and exit.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Serve this Unix socket.
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Keep journal and pictures here.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// What computes: auto or cpu.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Threads that compute.
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// The model of a request that names none.
    #[arg(long, value_name = "NAME")]
    default_model: Option<String>,
    /// How long an idle model stays in memory: 5m, 300, 0, -1 (for ever).
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    keep_alive: Option<String>,
    /// Memory that models may take, e.g. 8GiB.
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
    /// Requests that may wait at once.
    #[arg(long, value_name = "N")]
    queue_capacity: Option<String>,
    /// Requests of one client that may wait at once.
    #[arg(long, value_name = "N")]
    capacity_per_client: Option<String>,
    /// Keep neither prompts nor pictures of `imgctl generate`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    private: Option<String>,
    /// Pictures that are kept, or unlimited.
    #[arg(long, value_name = "N")]
    history_max_images: Option<String>,
    /// How long pictures are kept: 30d, unlimited.
    #[arg(long, value_name = "DURATION")]
    history_max_age: Option<String>,
    /// Disk that pictures may take: 10GiB, unlimited.
    #[arg(long, value_name = "SIZE")]
    history_max_size: Option<String>,
    /// The least time between two saves of a running picture; 0 saves after every evaluation.
    #[arg(long, value_name = "DURATION")]
    save_interval: Option<String>,
    /// Run background jobs once nobody touched the machine for this long.
    #[arg(long, value_name = "DURATION")]
    background_idle: Option<String>,
    /// Run background jobs on battery power too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    background_on_battery: Option<String>,
    /// Run background jobs in these hours of local time only: 22:00-07:00.
    #[arg(long, value_name = "HOURS")]
    background_hours: Option<String>,
    /// Share of the time that background jobs may compute, in percent.
    #[arg(long, value_name = "PERCENT")]
    background_duty: Option<String>,
    /// Connections at once.
    #[arg(long, value_name = "N")]
    max_connections: Option<String>,
    /// Close a connection that says nothing for this long.
    #[arg(long, value_name = "DURATION")]
    first_byte_timeout: Option<String>,
    /// How long running work may go on after SIGTERM.
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// Under systemd or launchd, end once nobody needed the daemon for this long: 15m, never.
    #[arg(long, value_name = "DURATION")]
    idle_exit: Option<String>,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Where the starter model lies when it is not inside the program.
    #[arg(long, value_name = "DIR")]
    starter_dir: Option<String>,
    /// Where LoRAs lie that requests name.
    #[arg(long, value_name = "DIR")]
    lora_dir: Option<String>,
    /// Where ControlNets lie that requests name.
    #[arg(long, value_name = "DIR")]
    control_dir: Option<String>,
    /// Where upscalers lie that requests name.
    #[arg(long, value_name = "DIR")]
    upscaler_dir: Option<String>,
    /// Where text files lie whose lines prompts choose from.
    #[arg(long, value_name = "DIR")]
    wildcard_dir: Option<String>,
    /// Where embeddings lie that prompts name.
    #[arg(long, value_name = "DIR")]
    embedding_dir: Option<String>,
    /// Where tiny autoencoders lie that make previews.
    #[arg(long, value_name = "DIR")]
    vae_approx_dir: Option<String>,
    /// Where the Hugging Face cache is.
    #[arg(long, value_name = "DIR")]
    hub_cache: Option<String>,
    /// Where other programs and their models are, with `:` between: auto, none, or folders.
    #[arg(long, value_name = "DIRS")]
    model_dirs: Option<String>,
    /// Says that a client started the daemon because there was none.
    #[arg(long, hide = true)]
    pub(crate) started_by_client: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else the program can be.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// The process that owns a device; started by the daemon alone.
    #[command(hide = true)]
    Worker {
        /// Where tiny autoencoders lie that make previews.
        #[arg(long)]
        vae_approx_dir: Option<PathBuf>,
    },
}

impl Args {
    /// The settings that flags give, as pairs of key and value.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        [
            ("socket", self.socket.as_deref().map(absolute)),
            ("data_dir", self.data_dir.as_deref().map(absolute)),
            ("device", self.device.clone()),
            ("threads", self.threads.clone()),
            ("default_model", self.default_model.clone()),
            ("keep_alive", self.keep_alive.clone()),
            ("max_memory", self.max_memory.clone()),
            ("queue_capacity", self.queue_capacity.clone()),
            ("capacity_per_client", self.capacity_per_client.clone()),
            ("private", self.private.clone()),
            ("history_max_images", self.history_max_images.clone()),
            ("history_max_age", self.history_max_age.clone()),
            ("history_max_size", self.history_max_size.clone()),
            ("save_interval", self.save_interval.clone()),
            ("background_idle", self.background_idle.clone()),
            ("background_on_battery", self.background_on_battery.clone()),
            ("background_hours", self.background_hours.clone()),
            ("background_duty", self.background_duty.clone()),
            ("max_connections", self.max_connections.clone()),
            ("first_byte_timeout", self.first_byte_timeout.clone()),
            ("drain_timeout", self.drain_timeout.clone()),
            ("idle_exit", self.idle_exit.clone()),
            ("log_level", self.log_level.clone()),
            ("starter_dir", self.starter_dir.as_deref().map(absolute)),
            ("lora_dir", self.lora_dir.as_deref().map(absolute)),
            ("control_dir", self.control_dir.as_deref().map(absolute)),
            ("upscaler_dir", self.upscaler_dir.as_deref().map(absolute)),
            ("wildcard_dir", self.wildcard_dir.as_deref().map(absolute)),
            ("embedding_dir", self.embedding_dir.as_deref().map(absolute)),
            (
                "vae_approx_dir",
                self.vae_approx_dir.as_deref().map(absolute),
            ),
            ("hub_cache", self.hub_cache.as_deref().map(absolute)),
            ("model_dirs", self.model_dirs.as_deref().map(absolutes)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

/// Each of several paths.
fn absolutes(paths: &str) -> String {
    let known = |path: &str| path == "none" || path.starts_with("~/");
    let one = |path| {
        if known(path) {
            path.to_owned()
        } else {
            absolute(path)
        }
    };
    paths.split(':').map(one).collect::<Vec<_>>().join(":")
}

/// A flag's path is relative to the folder it was typed in.
fn absolute(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(absolute) if path != "auto" => absolute.to_string_lossy().into_owned(),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Args;
    use crate::config::KEYS;

    #[test]
    fn every_setting_has_a_flag_that_is_used() {
        for key in KEYS {
            let flag = format!("--{}", key.name.replace('_', "-"));
            let args = Args::try_parse_from(["imgd", &flag, "/x"]).unwrap();
            assert_eq!(args.settings(), [(key.name, "/x".to_owned())]);
        }
    }

    #[test]
    fn a_switch_without_a_value_is_on() {
        let args = Args::try_parse_from(["imgd", "--private", "--device", "cpu"]).unwrap();
        assert!(args.settings().contains(&("private", "true".to_owned())));
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
