//! `imgctl mcp`: imgd as tools of a language model, over standard input and output.

use std::{io::IsTerminal as _, path::PathBuf};

use clap::Args;
use imgd_mcp::{Options, ServeError, default_output_dir};

use crate::{
    Context,
    failure::{Failure, exit},
};

#[derive(Debug, Args)]
#[command(
    after_help = "A program such as Claude Desktop, VS Code or Cursor starts this and speaks the Model Context Protocol with it; \
docs/mcp.md has the lines for each. It reads pictures in the output folder and in folders that --allow-dir names, and nowhere else."
)]
pub(crate) struct Mcp {
    /// Folder that pictures are written to [default: imgd in your folder of pictures]
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Folder below which pictures may be read to be changed; may be repeated
    #[arg(long = "allow-dir", value_name = "DIR")]
    allowed_dirs: Vec<PathBuf>,
    /// Keep nothing at the daemon: no prompt, no picture, and no job that could be asked for later
    #[arg(long)]
    private: bool,
}

impl Mcp {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if context.json {
            return Err(Failure::usage(
                "`imgctl mcp` has an output of its own: leave --json out",
            ));
        }
        if std::io::stdin().is_terminal() && !context.quiet {
            context.terminal.note(
                "this waits for a program that speaks the Model Context Protocol; docs/mcp.md says how to add it to one",
            );
        }
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let output_dir = self.output_dir.map(absolute).or_else(default_output_dir);
        let output_dir = output_dir.ok_or_else(|| {
            Failure::usage("there is no home directory to keep pictures in")
                .hint("name a folder with --output-dir")
        })?;
        let options = Options {
            connect: context.connect.clone(),
            output_dir,
            allowed_dirs: self.allowed_dirs.into_iter().map(absolute).collect(),
            private: self.private,
        };
        imgd_mcp::serve(options).await.map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map_or_else(String::new, |cause| format!(": {cause}"));
            let failure = Failure::new(exit::FAILED, format!("{error}{cause}"));
            match error {
                ServeError::Folder { .. } => {
                    failure.hint("--allow-dir names a folder that is there")
                }
                ServeError::OutputFolder { .. } => {
                    failure.hint("--output-dir names a folder that you may write to; it is made where it is missing")
                }
                ServeError::Protocol(_) | ServeError::Failed(_) => failure,
            }
        })
    }
}
