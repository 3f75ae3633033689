//! The daemon's settings, as the daemon itself reads them: `imgd --check-config`.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{finding::Finding, program};
use crate::Context;

/// What the settings say, as far as they could be read.
#[derive(Default)]
pub(super) struct Configuration {
    pub(super) findings: Vec<Finding>,
    /// The config file, where there is one.
    pub(super) file: Option<PathBuf>,
    /// Where jobs and pictures are kept.
    pub(super) data_dir: Option<PathBuf>,
    /// Memory that models may take, where it is set.
    pub(super) max_memory_bytes: Option<u64>,
}

pub(super) async fn look(imgd: &Path, context: &Context) -> Configuration {
    let mut arguments = vec![OsStr::new("--check-config")];
    if let Some(socket) = &context.connect.socket {
        arguments.extend([OsStr::new("--socket"), socket.as_os_str()]);
    }
    arguments.extend(
        context
            .connect
            .imgd_arguments
            .iter()
            .map(|argument| argument.as_os_str()),
    );
    let said = match program::run(imgd, &arguments).await {
        Ok(said) => said,
        Err(why) => {
            return only(Finding::problem(
                "settings",
                format!("imgd cannot read them: {why}"),
            ));
        }
    };
    if !said.is_success && said.stderr.contains("--check-config") {
        return only(Finding::note(
            "settings",
            "not looked at: this imgd is older and cannot be asked for them",
        ));
    }
    if !said.is_success {
        return only(refused(&said.stderr));
    }
    let value = |name: &str| {
        said.stdout.lines().find_map(|line| {
            let (key, value) = line.split_once(" = ")?;
            (key == name).then(|| value.to_owned())
        })
    };
    let file = value("config").map(PathBuf::from);
    let found = match &file {
        Some(file) => format!("{} is right", file.display()),
        None => "no config file: the defaults".to_owned(),
    };
    let default_model = value("default_model").unwrap_or_default();
    Configuration {
        findings: vec![
            Finding::ok("settings", found),
            Finding::ok("default model", default_model),
        ],
        file,
        data_dir: value("data_dir").map(PathBuf::from),
        max_memory_bytes: value("max_memory_bytes").and_then(|bytes| bytes.parse().ok()),
    }
}

fn only(finding: Finding) -> Configuration {
    Configuration {
        findings: vec![finding],
        ..Configuration::default()
    }
}

/// The daemon's own words: `error: …` and `hint: …`.
fn refused(words: &str) -> Finding {
    let line = |label: &str| {
        let lines = words.lines();
        lines
            .filter_map(|line| line.strip_prefix(label))
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (error, hint) = (line("error:"), line("hint:"));
    let found = if error.is_empty() {
        words.trim().to_owned()
    } else {
        error
    };
    let finding = Finding::problem("settings", found);
    if hint.is_empty() {
        return finding.advice("no daemon starts before this is mended");
    }
    finding.advice(format!("no daemon starts before this is mended; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_words_are_told() {
        let finding = refused("error: config.toml:1: there is no setting `x`\nhint: see y\n");
        assert_eq!(finding.found, "config.toml:1: there is no setting `x`");
        assert!(finding.advice.unwrap().ends_with("; see y"));
        assert_eq!(refused("panicked\n").found, "panicked");
    }
}
