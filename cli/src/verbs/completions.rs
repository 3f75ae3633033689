//! `imgctl completions`: scripts for shells, and the names of models that they ask for.

mod names;

use std::time::Duration;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use imgd_client::{Client, ConnectOptions};

use crate::{Context, args::Cli, failure::Failure};

/// Who presses a key waits no longer for names.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "For example, for the current shell:
  bash:  source <(imgctl completions bash)
  zsh:   source <(imgctl completions zsh)
  fish:  imgctl completions fish | source")]
pub(crate) struct Completions {
    /// The shell
    #[arg(required_unless_present = "names")]
    shell: Option<Shell>,
    /// Print the names of models that may follow these words, for the scripts
    #[arg(long, hide = true, value_name = "WORD", num_args = 0.., allow_hyphen_values = true)]
    names: Option<Vec<String>>,
}

impl Completions {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(words) = self.names {
            return print_names(&words, context).await;
        }
        let Some(shell) = self.shell else {
            return Ok(());
        };
        context.terminal.line(script(shell).trim_end())
    }
}

/// The script for a shell.
fn script(shell: Shell) -> String {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "imgctl", &mut script);
    names::add(shell, &String::from_utf8_lossy(&script), &command)
}

/// Names of a daemon that runs; none is started for it, and nobody wants to read why there are no names.
async fn print_names(words: &[String], context: &Context) -> Result<(), Failure> {
    let options = ConnectOptions {
        answer_timeout: PATIENCE,
        on_notice: None,
        ..context.connect_running()
    };
    let Ok(client) = Client::connect(options).await else {
        return Ok(());
    };
    let found = if words.iter().any(|word| word == "upscale") {
        client.upscalers().await
    } else {
        client.models().await.map(|list| list.models)
    };
    for model in found.unwrap_or_default() {
        for name in [model.name].into_iter().chain(model.aliases) {
            context.terminal.line(&name)?;
        }
    }
    Ok(())
}
