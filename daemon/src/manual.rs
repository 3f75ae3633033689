//! The page of the manual and the completions, made from the command line's definition. The pages of imgctl are its own.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use imgd_manual::{Manual, Page, Section};

use crate::{args::Args, config::KEYS, failure::Reason};

/// The page imgd(1).
pub(crate) fn page() -> io::Result<Page> {
    let manual = Manual {
        command: shown(),
        sections: vec![
            configuration(),
            section(
                "SIGNALS",
                &[(
                    "SIGTERM, SIGINT",
                    "Takes no more requests, lets running pictures finish within `drain_timeout`, saves what goes on later, and ends.",
                )],
            ),
            statuses(),
            section("ENVIRONMENT", &ENVIRONMENT),
            section("FILES", &FILES),
        ],
        see_also: vec!["imgctl(1)", "systemctl(1)"],
    };
    let page = manual.pages()?.into_iter().next();
    page.ok_or_else(|| io::Error::other("a manual without pages"))
}

/// The script for a shell; nothing for none.
pub(crate) fn completions(shell: Option<Shell>) -> Vec<u8> {
    let mut script = Vec::new();
    if let Some(shell) = shell {
        clap_complete::generate(shell, &mut shown(), "imgd", &mut script);
    }
    script
}

/// The command line without what only the daemon itself asks for.
fn shown() -> Command {
    let full = Args::command();
    let about = full.get_about().cloned().unwrap_or_default();
    let arguments = full
        .get_arguments()
        .filter(|argument| !argument.is_hide_set());
    Command::new("imgd")
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .args(arguments.cloned())
}

/// That a setting has three places.
fn configuration() -> Section {
    let first = KEYS.first().map(|key| (key.name, key.variable()));
    let (name, variable) = first.unwrap_or_default();
    Section {
        title: "CONFIGURATION",
        text: format!(
            "None is needed. A setting comes from its option, else from the environment, else from the configuration file, \
else it is the default: `--{}`, `{variable}` and `{name}` are one. `imgd --print-config` explains each setting; the file's \
tables [models] and [styles] are explained there too.",
            name.replace('_', "-")
        ),
        entries: Vec::new(),
    }
}

/// With what the daemon ends, in the words of the reasons that it ends for.
fn statuses() -> Section {
    let code = |reason: Reason| reason.exit_code().to_string();
    let entries = [
        ("0".to_owned(), "It was asked to end, and has."),
        (code(Reason::Internal), "It failed."),
        ("2".to_owned(), "The command line is wrong."),
        (
            code(Reason::NotIdle),
            "Another daemon serves this socket, or has these data.",
        ),
        (
            code(Reason::ConfigInvalid),
            "The configuration, the socket's place or the journal is wrong: trying again changes nothing.",
        ),
    ];
    Section {
        title: "EXIT STATUS",
        text: String::new(),
        entries: entries
            .into_iter()
            .map(|(code, meaning)| (code, meaning.to_owned()))
            .collect(),
    }
}

const ENVIRONMENT: [(&str, &str); 5] = [
    ("IMGD_CONFIG", "The configuration file."),
    ("IMGD_…", "Any setting, in capitals: `IMGD_KEEP_ALIVE=1h`."),
    (
        "HF_HOME, HF_HUB_CACHE",
        "Where the Hugging Face cache is; else `~/.cache/huggingface`.",
    ),
    ("INVOKEAI_ROOT", "Where InvokeAI keeps its models."),
    ("NO_COLOR", "A log without colours."),
];

const FILES: [(&str, &str); 6] = [
    (
        "~/.config/imgd/config.toml",
        "The configuration (macOS: ~/Library/Application Support/imgd/config.toml).",
    ),
    (
        "$XDG_RUNTIME_DIR/imgd/imgd.sock",
        "The socket; else /tmp/imgd-$UID/imgd.sock. None but its owner is served.",
    ),
    (
        "~/.local/share/imgd",
        "Jobs, finished pictures and saved states, and folders for adapters, ControlNets, upscalers, wildcards and embeddings.",
    ),
    (
        "~/.local/state/imgd/imgd.log",
        "The log of a daemon that imgctl started. Under systemd it is in the journal.",
    ),
    (
        "/usr/lib/systemd/user/imgd.socket",
        "Where a package installed it: `imgctl service install` puts it in force.",
    ),
    (
        "/usr/lib/systemd/user/imgd.service",
        "The service that it starts.",
    ),
];

fn section(title: &'static str, entries: &[(&str, &str)]) -> Section {
    Section {
        title,
        text: String::new(),
        entries: entries
            .iter()
            .map(|(term, meaning)| ((*term).to_owned(), (*meaning).to_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use clap_complete::Shell;

    use super::{completions, page};
    use crate::config::KEYS;

    #[test]
    fn the_page_has_every_setting_and_no_fault() {
        let page = page().unwrap();
        assert_eq!(page.file, "imgd.1");
        assert_eq!(
            imgd_manual::faults(&page),
            Vec::<String>::new(),
            "{}",
            page.text
        );
        for key in KEYS {
            let option = format!("\\fB\\-\\-{}\\fR", key.name.replace('_', "\\-"));
            assert!(page.text.contains(&option), "{option}");
        }
        // what only the daemon itself asks for is no user's affair
        assert!(!page.text.contains("worker") && !page.text.contains("\\-\\-started"));
    }

    #[test]
    fn every_shell_completes_every_setting() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(completions(Some(*shell))).unwrap();
            for key in KEYS {
                assert!(
                    script.contains(&key.name.replace('_', "-")),
                    "{shell}: {}",
                    key.name
                );
            }
            assert!(!script.contains("started-by-client"), "{shell}");
        }
    }
}
