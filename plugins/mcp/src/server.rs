//! The server: from a call of a tool to its reply.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use imgd_client::{Client, ConnectOptions, Reason, v1::Job};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    serve_server,
    service::{RequestContext, ServerInitializeError},
    transport::stdio,
};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    Options, ServeError,
    arguments::Arguments,
    draw::{self, Call, Outcome},
    input::Allowed,
    listing,
    refusal::{Refusal, Result},
    reply, request,
    shelf::Shelf,
    tools::{
        CANCEL_JOB, DEFAULT_WAIT_SECS, EDIT, GENERATE, JOB_STATUS, LIST_MODELS, Spec, TOOLS,
        UPSCALE,
    },
};

/// The name by which the daemon knows jobs of these tools: no other job can be asked for or ended by them.
const CLIENT_NAME: &str = "imgctl-mcp";
/// How long ending the jobs of a client that has gone may take.
const END: Duration = Duration::from_secs(5);

const INSTRUCTIONS: &str = "Draws pictures with image models on this machine; nothing leaves it. generate_image draws from a text, \
edit_image from a picture and a text. Leave size, steps, guidance and sampler out unless there is a reason: the model's own are right. \
A reply has each picture inline, its path and its seed; give the seed again, with a changed prompt, to vary a picture. Large models take \
minutes: a call returns after wait_secs, and job_status goes on waiting.";

/// What calls share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) shelf: Shelf,
    allowed: Allowed,
    /// Jobs that a call waits for: they end with the client.
    waited_for: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone)]
struct Server {
    state: Arc<State>,
}

/// Serves tools on standard input and output until the client closes them. Jobs that a call still waits for are cancelled then; those
/// that were told to the client as unfinished go on.
pub async fn serve(options: Options) -> std::result::Result<(), ServeError> {
    for path in &options.allowed_dirs {
        let look = path.canonicalize().and_then(|real| real.read_dir());
        look.map_err(|source| ServeError::Folder {
            path: path.clone(),
            source,
        })?;
    }
    let shelf = Shelf {
        folder: options.output_dir.clone(),
    };
    shelf.check().map_err(|source| ServeError::OutputFolder {
        path: options.output_dir.clone(),
        source,
    })?;
    let state = Arc::new(State {
        shelf,
        allowed: Allowed {
            folders: [&options.output_dir]
                .into_iter()
                .chain(&options.allowed_dirs)
                .cloned()
                .collect(),
        },
        waited_for: Mutex::default(),
        options,
    });
    let server = Server {
        state: Arc::clone(&state),
    };
    let served = match serve_server(server, stdio()).await {
        Ok(running) => running
            .waiting()
            .await
            .map(drop)
            .map_err(|error| ServeError::Failed(error.to_string())),
        // It came, looked and went.
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(ServeError::Protocol(error.to_string())),
    };
    // A daemon that hangs is not waited for.
    drop(timeout(END, state.end_waited_for()).await);
    served
}

impl State {
    /// A connection to the daemon, which is started where none runs.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let options = ConnectOptions {
            client_name: Some(CLIENT_NAME.to_owned()),
            ..self.options.connect.clone()
        };
        Ok(Client::connect(options).await?)
    }

    /// Notes that a call waits for the job, until the result is dropped.
    pub(crate) fn wait_for(&self, id: &str) -> Waiting<'_> {
        self.waited_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned());
        Waiting {
            state: self,
            id: id.to_owned(),
        }
    }

    async fn end_waited_for(&self) {
        let ids = std::mem::take(
            &mut *self
                .waited_for
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if ids.is_empty() {
            return;
        }
        let Ok(client) = self.connect().await else {
            return;
        };
        for id in ids {
            // One that has ended meanwhile stays as it is.
            drop(client.cancel(&id).await);
        }
    }

    async fn call(
        &self,
        tool: &Spec,
        params: CallToolRequestParams,
        call: &Call,
    ) -> Result<CallToolResult> {
        let arguments = Arguments::read(tool, params.arguments.unwrap_or_default())?;
        let wait = |default| Duration::from_secs(arguments.integer("wait_secs").unwrap_or(default));
        match tool.name {
            LIST_MODELS => listing::models(&self.connect().await?).await,
            JOB_STATUS => {
                let outcome = self.status(&arguments, wait(0), call).await?;
                let with_pictures = arguments.boolean("with_pictures").unwrap_or(true);
                Ok(reply::outcome(&outcome, with_pictures))
            }
            CANCEL_JOB => self.cancel(&arguments).await,
            name => {
                let request = match name {
                    GENERATE => request::generate(&arguments)?,
                    EDIT => request::edit(&arguments, &self.allowed)?,
                    UPSCALE => request::upscale(&arguments, &self.allowed)?,
                    _ => unreachable!("the table has no other tool"),
                };
                let outcome = draw::draw(self, request, wait(DEFAULT_WAIT_SECS), call).await?;
                Ok(reply::outcome(&outcome, true))
            }
        }
    }

    async fn status(&self, arguments: &Arguments, wait: Duration, call: &Call) -> Result<Outcome> {
        let client = self.connect().await?;
        let job = own_job(&client, arguments).await?;
        let notices = if wait.is_zero() {
            Vec::new()
        } else {
            // Who looks on does not end it by looking away.
            tokio::select! {
                () = call.ct.cancelled() => Vec::new(),
                followed = draw::watch(&client, &job.id, wait, call) => followed?,
            }
        };
        let job = client.job(&job.id).await?;
        Ok(Outcome {
            notices,
            ..draw::outcome(self, &client, &job).await?
        })
    }

    async fn cancel(&self, arguments: &Arguments) -> Result<CallToolResult> {
        let client = self.connect().await?;
        let job = own_job(&client, arguments).await?;
        let job = client.cancel(&job.id).await?;
        let state = reply::state(job.state());
        let text = format!(
            "Job {} is {state}; {} of {} pictures are finished.",
            job.id, job.images_done, job.image_count
        );
        let object = json!({ "job_id": job.id, "state": state, "images_done": job.images_done });
        Ok(reply::said(text, object))
    }
}

/// The job that the arguments name, if it is one of these tools: what the user does otherwise is no affair of a model.
async fn own_job(client: &Client, arguments: &Arguments) -> Result<Job> {
    let id = arguments.text("job_id").unwrap_or_default();
    let unknown = || {
        Refusal::new(Reason::JobNotFound, "there is no such job of these tools")
            .hint("job_id is the one that generate_image, edit_image or upscale_image returned")
    };
    let is_whole = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_whole {
        return Err(Refusal {
            field: Some("job_id".to_owned()),
            ..unknown()
        });
    }
    match client.job(&id).await {
        Ok(job) if job.client == CLIENT_NAME => Ok(job),
        Ok(_) => Err(unknown()),
        Err(error) if error.reason() == Reason::JobNotFound => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

/// A call that waits for a job.
pub(crate) struct Waiting<'a> {
    state: &'a State,
    id: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.state
            .waited_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let own = Implementation::new("imgd", env!("CARGO_PKG_VERSION"))
            .with_title("imgd: pictures drawn on this machine");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(own)
            .with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        Spec::named(name).map(Spec::tool)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        let tools = TOOLS.iter().map(Spec::tool).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let Some(tool) = Spec::named(&params.name) else {
            let names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
            let message = format!("there is no such tool; there are {}", names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let result = match self.state.call(tool, params, &context).await {
            Ok(result) => result,
            Err(refusal) => reply::refusal(&refusal),
        };
        Ok(result.into())
    }
}
