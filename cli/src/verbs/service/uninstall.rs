//! `imgctl service uninstall`: takes away what `install` wrote, and nothing else.

use clap::Args;

use super::{
    install::{run, say_file},
    manager::Manager,
    marked::{self, Outcome},
    named::Name,
};
use crate::{Context, failure::Failure};

#[derive(Debug, Args)]
#[command(
    after_help = "Pictures, jobs, prompts and settings stay. The daemon ends once its running pictures are done; jobs that \
wait go on when imgctl starts the next."
)]
pub(super) struct Uninstall {
    /// Take away this batch alone
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    batch: Option<Name>,
    /// Remove files that you changed as well
    #[arg(long)]
    force: bool,
    /// Show what would be run and removed, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Uninstall {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let manager = Manager::here();
        let batch = self.batch.as_ref().map(Name::as_str);
        let removal = manager.uninstall(&context.places, batch)?;
        if self.dry_run {
            for invocation in &removal.stop {
                context.terminal.line(&format!("would run {invocation}"))?;
            }
            for path in removal.files.iter().filter(|path| path.exists()) {
                context
                    .terminal
                    .line(&format!("would remove {}", path.display()))?;
            }
            return Ok(());
        }
        manager.reach(&context.places)?;
        for invocation in &removal.stop {
            // What is not there cannot be stopped.
            if let Err(failure) = run(context, invocation)
                && failure.is_broken_pipe
            {
                return Err(failure);
            }
        }
        let mut kept = 0;
        let mut removed = 0;
        for path in &removal.files {
            let outcome = marked::remove(path, self.force);
            let Some(outcome) = outcome.map_err(|error| marked::failure(path, &error))? else {
                continue;
            };
            say_file(context, path, outcome)?;
            match outcome {
                Outcome::Kept => kept += 1,
                _ => removed += 1,
            }
        }
        if let Some(reload) = removal.reload.as_ref().filter(|_| removed > 0) {
            run(context, reload)?;
        }
        if kept > 0 {
            context
                .terminal
                .notice("what you changed stays and is not in force; `--force` removes it too");
        } else if removed == 0 && !context.quiet {
            context
                .terminal
                .note("there was nothing that `imgctl service install` wrote");
        }
        Ok(())
    }
}
