//! `imgctl shutdown`: ends the daemon.

use clap::Args;
use imgd_client::{Client, ConnectOptions, Error};
use serde_json::json;

use crate::{Context, failure::Failure, json};

#[derive(Debug, Args)]
pub(crate) struct Shutdown {
    /// End running work at once instead of finishing it
    #[arg(long)]
    force: bool,
}

impl Shutdown {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        // A daemon of another protocol must be possible to end.
        let options = ConnectOptions {
            check_protocol: false,
            ..context.connect_running()
        };
        let was_running = match Client::connect(options).await {
            Ok(client) => {
                client.shutdown(self.force).await?;
                true
            }
            Err(Error::NotRunning { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if context.json {
            let fields = json!({ "was_running": was_running });
            return context
                .terminal
                .line(&json::object("shutdown", fields).to_string());
        }
        if !was_running && !context.quiet {
            context.terminal.note("imgd was not running");
        }
        Ok(())
    }
}
