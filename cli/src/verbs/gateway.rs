//! `imgctl gateway`: OpenAI's images API and a web page, over HTTP.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use imgd_gateway::{ApiKey, BadKey, Gateway as Server, Settings};
use serde_json::json;

use crate::{
    Context,
    failure::{Failure, exit},
    json,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl gateway
  imgctl gateway --listen 127.0.0.1:8080
  imgctl gateway --listen 0.0.0.0:7860 --api-key-file imgd.key

Then look at http://127.0.0.1:7860/, or set OPENAI_BASE_URL=http://127.0.0.1:7860/v1 for a program that speaks OpenAI's API. \
It ends with Ctrl-C. The key may also be in IMGCTL_API_KEY. See docs/gateway.md.")]
pub(crate) struct Gateway {
    /// Address to listen at; one that other machines reach needs a key
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7860")]
    listen: SocketAddr,
    /// File with the key that callers have to send, which only you may read
    #[arg(long, value_name = "PATH")]
    api_key_file: Option<PathBuf>,
    /// Another name by which it may be called, without port; may be repeated
    #[arg(long = "allow-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
    /// Another web page that may call it, as in `https://example.org`; may be repeated
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
}

impl Gateway {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = self.key(context)?;
        let has_key = key.is_some();
        let settings = Settings {
            connect: context.connect.clone(),
            key,
            allowed_hosts: self.allowed_hosts,
            allowed_origins: self.allowed_origins,
        };
        let server = Server::bind(self.listen, settings)
            .await
            .map_err(|error| failure(&error))?;
        server.reach_daemon().await?;
        let address = server.address();
        let url = format!("http://{address}");
        if context.json {
            let event = json!({ "url": url, "address": address.to_string(), "needs_key": has_key });
            context
                .terminal
                .line(&json::object("listening", event).to_string())?;
        } else {
            let key = if has_key {
                " (it asks for the key)"
            } else {
                ""
            };
            context.terminal.line(&format!("web page    {url}/{key}"))?;
            context.terminal.line(&format!("OpenAI API  {url}/v1"))?;
            if !context.quiet {
                context.terminal.note("Ctrl-C ends it");
            }
        }
        match server.serve().await {}
    }

    fn key(&self, context: &Context) -> Result<Option<ApiKey>, Failure> {
        let (text, place) = match (&self.api_key_file, &context.api_key) {
            (Some(path), _) => (read(path)?, format!("`{}`", path.display())),
            (None, Some(text)) => (text.clone(), "IMGCTL_API_KEY".to_owned()),
            (None, None) => return Ok(None),
        };
        let key = ApiKey::new(&text);
        key.map(Some).map_err(|error: BadKey| {
            Failure::usage(format!("{place} has no key: {error}")).field("api_key_file")
        })
    }
}

/// A key's file, which nobody else may read.
fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display())).field("api_key_file")
    };
    let about = fs::metadata(path).map_err(failed)?;
    if about.mode() & 0o077 != 0 {
        let message = format!("others may read `{}`", path.display());
        return Err(Failure::usage(message).field("api_key_file").hint(format!(
            "`chmod 600 {}`, and make a new key if they have",
            path.display()
        )));
    }
    fs::read_to_string(path).map_err(failed)
}

fn failure(error: &imgd_gateway::Error) -> Failure {
    use std::error::Error as _;
    let hint = error.hint();
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    let message = format!("{error}{cause}");
    let failure = match error {
        imgd_gateway::Error::Listen { .. } => Failure::new(exit::FAILED, message),
        _ => Failure::usage(message),
    };
    failure.hint(hint)
}
