//! `imgctl man`: the manual's pages, made from the command line's definition.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory as _};
use imgd_manual::{Manual, Section};

use crate::{
    Context,
    args::Cli,
    failure::{Failure, exit},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl man ~/.local/share/man/man1
  imgd --print-man > ~/.local/share/man/man1/imgd.1
  man imgctl-generate")]
pub(crate) struct Man {
    /// Where they go; it is made if it is not there, and pages of an earlier version are replaced
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let folder = &self.folder;
        let write = || {
            fs::create_dir_all(folder)?;
            let pages = manual().pages()?;
            for page in &pages {
                fs::write(folder.join(&page.file), &page.text)?;
            }
            Ok(pages.len())
        };
        let count = write().map_err(|error: std::io::Error| {
            let folder = folder.display();
            Failure::cannot_create(format!("cannot write pages into `{folder}`: {error}"))
        })?;
        let folder = folder.display();
        context.terminal.line(&format!("{count} pages in {folder}"))
    }
}

/// The manual: a page for imgctl and one for each verb.
fn manual() -> Manual {
    // The statuses that help names in a line have a section of their own here.
    let command = Cli::command().after_help(None::<&str>);
    Manual {
        command,
        sections: vec![
            section("EXIT STATUS", "", exit::MEANINGS),
            section("ENVIRONMENT", "", &ENVIRONMENT),
            section(
                "FILES",
                "On macOS the folders are ~/Library/Application Support/imgd and ~/Library/Caches/imgd.",
                &FILES,
            ),
        ],
        see_also: vec!["imgd(1)"],
    }
}

const ENVIRONMENT: [(&str, &str); 8] = [
    (
        "IMGD_SOCKET",
        "Path of the daemon's socket; `--socket` is stronger.",
    ),
    (
        "IMGD_BIN",
        "The imgd to start when no daemon runs; else the one beside imgctl, else the one on PATH.",
    ),
    (
        "IMGD_CONFIG",
        "The configuration of a daemon that imgctl starts.",
    ),
    (
        "HF_HOME, HF_HUB_CACHE",
        "Where pulled models lie; else `~/.cache/huggingface`.",
    ),
    (
        "HF_TOKEN, HF_TOKEN_PATH",
        "Who asks for a model, where that matters to the hub. No other program is told.",
    ),
    (
        "HF_ENDPOINT, HF_HUB_OFFLINE",
        "Another hub for `imgctl pull`, or none.",
    ),
    ("NO_COLOR", "No colours."),
    ("CLICOLOR_FORCE", "Colours, whatever standard output is."),
];

const FILES: [(&str, &str); 4] = [
    (
        "$XDG_RUNTIME_DIR/imgd/imgd.sock",
        "The daemon's socket; else /tmp/imgd-$UID/imgd.sock.",
    ),
    (
        "~/.local/share/imgd",
        "Jobs and pictures that the daemon keeps.",
    ),
    (
        "~/.config/imgd/config.toml",
        "Settings of the daemon; see imgd(1).",
    ),
    (
        "~/.local/state/imgd/imgd.log",
        "What a daemon that imgctl started has to say. Prompts are never in it.",
    ),
];

fn section<T: ToString>(title: &'static str, text: &str, entries: &[(T, &str)]) -> Section {
    Section {
        title,
        text: text.to_owned(),
        entries: entries
            .iter()
            .map(|(term, meaning)| (term.to_string(), (*meaning).to_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use imgd_proto::Reason;

    use super::{Cli, exit, manual};

    #[test]
    fn every_verb_has_a_page_and_no_page_has_a_fault() {
        let pages = manual().pages().unwrap();
        for page in &pages {
            assert_eq!(
                imgd_manual::faults(page),
                Vec::<String>::new(),
                "{}",
                page.text
            );
        }
        let has = |name: &str| pages.iter().any(|page| page.file == name);
        assert!(has("imgctl.1") && has("imgctl-jobs-show.1"));
        for verb in Cli::command().get_subcommands() {
            let name = verb.get_name();
            assert_eq!(
                has(&format!("imgctl-{name}.1")),
                !verb.is_hide_set(),
                "{name}"
            );
        }
    }

    #[test]
    fn every_exit_status_is_explained_in_the_manual_and_in_the_help() {
        let help = Cli::command().get_after_help().unwrap().to_string();
        let codes = Reason::ALL.iter().map(|reason| reason.exit_code());
        let own = [
            exit::FAILED,
            exit::USAGE,
            exit::CANNOT_CREATE,
            exit::INTERRUPTED,
        ];
        for code in codes.chain(own) {
            assert!(
                exit::MEANINGS.iter().any(|(known, _)| *known == code),
                "{code}"
            );
        }
        for (code, _) in exit::MEANINGS {
            assert!(help.contains(&format!(" {code} ")), "{code}");
        }
    }
}
