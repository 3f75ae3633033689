//! `imgctl completions`: scripts for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{Context, args::Cli, failure::Failure};

#[derive(Debug, Args)]
#[command(after_help = "For example, for the current shell:
  bash:  source <(imgctl completions bash)
  zsh:   source <(imgctl completions zsh)
  fish:  imgctl completions fish | source")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "imgctl", &mut script);
        context
            .terminal
            .line(String::from_utf8_lossy(&script).trim_end())
    }
}
