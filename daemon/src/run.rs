//! From the command line to a process that is one of three: worker, spawner or supervisor.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser as _;
use imgd_engine::checkpoint::EmbeddedFile;
use imgd_models::HubCache;
use imgd_proto::{
    socket::{self, SocketError},
    v1,
};

use crate::{
    args::{Args, Command},
    config::{self, ConfigError, Environment, Settings},
    failure::{Failure, Reason},
    journal::{self, Journal, OpenError, Recovered},
    logging, machine, manual,
    sandbox::{Confined, Places, Processes, Role},
    scheduler,
    server::{self, Limits, ListenError, Listening, Running},
    service_manager,
    services::{
        FoundModels, Identity, Names,
        added::{self, Added},
    },
    spawner::{self, Program, Spawner},
    starter, sys,
    workers::Workers,
};

/// How long a daemon that is ending may keep the journal from the next.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(5);

/// Threads of the supervisor: it moves messages, and the engine needs the cores.
const THREADS: usize = 2;

/// Least time an engine may be silent. Where faults are asked for, tests wait for a hanging worker's end.
const PATIENCE: Duration = if cfg!(feature = "faults") {
    Duration::from_secs(2)
} else {
    scheduler::PATIENCE
};

/// Runs the program. `starter` is the model inside it, empty where it has none.
pub fn run(starter: &'static [EmbeddedFile]) -> ExitCode {
    let started = Instant::now();
    let args = Args::parse();
    let result = match args.command.clone() {
        Some(Command::Worker { vae_approx_dir }) => {
            return crate::worker::main(starter, vae_approx_dir);
        }
        None if args.print_config => print(config::DEFAULT_FILE.as_bytes(), "config"),
        None if args.print_man => manual::page().map_or_else(
            |error| Err(internal("make the page", &error)),
            |page| print(page.text.as_bytes(), "page"),
        ),
        None if args.print_completions.is_some() => {
            print(&manual::completions(args.print_completions), "script")
        }
        None if args.check_config => check_config(&args, !starter.is_empty()),
        None => serve(&args, !starter.is_empty(), started),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.reason.exit_code())
        }
    }
}

/// A folder of files that requests name: the one that is set, or `name` in the data directory.
fn folder(
    set: Option<&PathBuf>,
    name: &str,
    (settings, environment): (&Settings, &Environment),
) -> Result<PathBuf, Failure> {
    if let Some(set) = set {
        return Ok(set.clone());
    }
    let data_dir = environment
        .data_dir(settings)
        .map_err(|error| config_failure(&error))?;
    Ok(data_dir.join(name))
}

fn print(bytes: &[u8], what: &str) -> Result<(), Failure> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(internal(&format!("print the {what}"), &error))
        }
        _ => Ok(()),
    }
}

/// Reads all that a start reads before it touches anything, and prints where things would be: `name = value` lines, of which
/// there may be more at any time.
fn check_config(args: &Args, has_starter: bool) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let settings = config::read(&args.settings(), args.config.as_deref(), &environment)
        .map_err(|error| config_failure(&error))?;
    let location = socket::locate(&socket::Environment::current(settings.socket.clone()))
        .map_err(Failure::from)?;
    let data_dir = environment
        .data_dir(&settings)
        .map_err(|error| config_failure(&error))?;
    names(&settings, &environment, has_starter)?;
    let file = config::file_read(args.config.as_deref(), &environment);
    let limit = settings.max_memory_bytes;
    let lines = [
        ("config", file.map(|file| file.display().to_string())),
        ("socket", Some(location.path.display().to_string())),
        ("data_dir", Some(data_dir.display().to_string())),
        ("default_model", Some(settings.default_model)),
        ("max_memory_bytes", limit.map(|limit| limit.to_string())),
    ];
    let lines = lines
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} = {}\n", value?)));
    print(lines.collect::<String>().as_bytes(), "settings")
}

/// The models and files that have a name. Fails where one of them is not as the settings need it.
fn names(
    settings: &Settings,
    environment: &Environment,
    has_starter: bool,
) -> Result<Names, Failure> {
    let places = (settings, environment);
    let home = environment.home().map(Path::to_owned);
    let file = folder(None, added::FILE, places)?;
    let added = config::read_added(&file).map_err(|error| config_failure(&error))?;
    let names = Names {
        starter: starter::find(has_starter, settings.starter_dir.as_deref()),
        hub: environment.hub_cache(settings).map(HubCache::new),
        models: settings.models.clone(),
        added: Added::new(file, added),
        default_model: settings.default_model.clone(),
        lora_dir: folder(settings.lora_dir.as_ref(), "loras", places)?,
        control_dir: folder(settings.control_dir.as_ref(), "controlnets", places)?,
        upscaler_dir: folder(settings.upscaler_dir.as_ref(), "upscalers", places)?,
        wildcard_dir: folder(settings.wildcard_dir.as_ref(), "wildcards", places)?,
        styles: settings.styles.clone(),
        embedding_dir: folder(settings.embedding_dir.as_ref(), "embeddings", places)?,
        found: FoundModels::new(environment.model_dirs(settings), home),
    };
    if !names.default_is_known() {
        let name = settings.default_model.clone();
        return Err(config_failure(&ConfigError::DefaultModel { name }));
    }
    Ok(names)
}

fn serve(args: &Args, has_starter: bool, started: Instant) -> Result<(), Failure> {
    hide_panics();
    sys::forbid_core_dumps();
    if args.started_by_client {
        leave_the_terminal();
    }
    let environment = Environment::of_process();
    let settings = config::read(&args.settings(), args.config.as_deref(), &environment)
        .map_err(|error| config_failure(&error))?;
    logging::start(settings.log_level, &environment);
    let location = socket::locate(&socket::Environment::current(settings.socket.clone()))
        .map_err(Failure::from)?;
    // Forked before any thread starts, and before the socket's descriptors exist.
    let threads = settings
        .threads
        .map(|threads| u32::try_from(threads).unwrap_or(u32::MAX));
    let places = (&settings, &environment);
    let vae_approx_dir = folder(settings.vae_approx_dir.as_ref(), "vae_approx", places)?;
    let program = Program::worker(environment.for_worker(), threads, &vae_approx_dir)
        .map_err(|error| internal("find the program's own file", &error))?;
    let spawning =
        spawner::fork(&program).map_err(|error| internal("start the spawner", &error))?;
    let listening = server::listen(&location).map_err(listen_failure)?;
    let notify_socket = environment.notify_socket();
    let idle_exit = settings.idle_exit.filter(|_| listening.is_activated);
    let is_managed = listening.is_activated || notify_socket.is_some();
    if let Some(address) = notify_socket {
        service_manager::connect(&address);
    }
    let confined = confine(&settings, &environment, &listening)?;
    // The lock of the journal is that of the whole folder: nobody else changes what was added.
    let (journal, recovered) = open_journal(&settings, &environment)?;
    let names = names(&settings, &environment, has_starter)?;
    let socket = listening.path.clone();
    let identity = identity(args, &settings, socket, has_starter, is_managed, started);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("imgd")
        .enable_all()
        .build()
        .map_err(|error| internal("start threads", &error))?;
    let spawner =
        Spawner::start(spawning).map_err(|error| internal("reach the spawner", &error))?;
    let processes = Processes {
        supervisor: confined,
        spawner: Some(spawner.clone()),
    };
    let running = Running {
        listening,
        limits: Limits {
            max_connections: settings.max_connections,
            first_byte_timeout: settings.first_byte_timeout,
        },
        scheduler: scheduler::Options {
            engines: Arc::new(Workers(spawner)),
            journal,
            queue_capacity: settings.queue_capacity,
            capacity_per_client: settings.capacity_per_client,
            keep_alive: settings.keep_alive,
            max_memory_bytes: settings.max_memory_bytes,
            available_bytes: machine::available_bytes,
            background: settings.background,
            build_id: identity.build_id.clone(),
            watchdog: service_manager::watchdog(),
            save_interval: settings.save_interval,
            patience: PATIENCE,
        },
        recovered,
        names,
        identity,
        processes,
        drain_timeout: settings.drain_timeout,
        idle_exit,
        is_private: settings.private,
    };
    let served = runtime.block_on(server::run(running));
    runtime.shutdown_timeout(Duration::from_millis(500));
    served.map_err(|error| internal("serve", &error))
}

/// Gives up what the supervisor does not need, before the first thread: what is bound and connected stays so.
fn confine(
    settings: &Settings,
    environment: &Environment,
    listening: &Listening,
) -> Result<Confined, Failure> {
    let data_dir = environment
        .data_dir(settings)
        .map_err(|error| config_failure(&error))?;
    // Its parents could not be made afterwards.
    journal::make_folder(&data_dir)?;
    // A service manager's socket is not ours to remove.
    let socket_dir = listening.path.parent().filter(|_| !listening.is_activated);
    Ok(Confined::confine(Role::Supervisor(Places {
        data_dir,
        socket_dir: socket_dir.map(Path::to_owned),
        home: environment.home().map(Path::to_owned),
    })))
}

/// Opens the journal. A daemon that is ending may still have it: that one is waited for, a moment.
fn open_journal(
    settings: &Settings,
    environment: &Environment,
) -> Result<(Journal, Recovered), Failure> {
    let directory = environment
        .data_dir(settings)
        .map_err(|error| config_failure(&error))?;
    let limits = journal::Limits {
        max_images: settings.history_max_images.unwrap_or(0),
        max_age: settings.history_max_age,
        max_bytes: settings.history_max_bytes.unwrap_or(0),
    };
    let patience = Instant::now() + JOURNAL_PATIENCE;
    loop {
        match Journal::open(&directory, limits) {
            Err(OpenError::Busy { .. }) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.map_err(Failure::from),
        }
    }
}

fn identity(
    args: &Args,
    settings: &Settings,
    socket: PathBuf,
    has_starter: bool,
    is_managed: bool,
    started: Instant,
) -> Identity {
    let own = if cfg!(target_os = "linux") {
        Ok("/proc/self/exe".into())
    } else {
        std::env::current_exe()
    };
    let build_id = own.and_then(|own| imgd_proto::build_id(&own));
    let started_by = match (is_managed, args.started_by_client) {
        (true, _) => v1::StartedBy::ServiceManager,
        (false, true) => v1::StartedBy::Client,
        (false, false) => v1::StartedBy::Hand,
    };
    let features = [("previews", true), ("starter", has_starter)];
    Identity {
        started,
        started_by,
        build_id: build_id.unwrap_or_else(|_| "unknown".to_owned()),
        device: settings.device,
        queue_capacity: settings.queue_capacity,
        capacity_per_client: settings.capacity_per_client,
        socket,
        features: features
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| name.to_owned())
            .collect(),
    }
}

/// A daemon that a client started outlives the client's terminal and keeps no folder busy.
fn leave_the_terminal() {
    if let Err(error) = rustix::process::setsid() {
        // The leader of a session, which has left already.
        tracing::debug!("no session of its own: {error}");
    }
    drop(std::env::set_current_dir("/"));
}

/// A panic's message may quote what it stumbled over, and that may be a prompt: the place alone is told.
fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!("defect in the daemon at {place}");
    }));
}

fn config_failure(error: &ConfigError) -> Failure {
    let why =
        std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    Failure::new(Reason::ConfigInvalid, format!("{error}{why}"))
        .with_hint("`imgd --print-config` shows every setting with its default")
}

fn listen_failure(error: ListenError) -> Failure {
    match error {
        ListenError::Busy { .. } => Failure::new(Reason::NotIdle, error.to_string())
            .with_hint("use that one, or end it with `imgctl shutdown`"),
        ListenError::Unsafe(unsafe_place) => from_socket(unsafe_place),
        ListenError::Io { ref source, .. } => {
            Failure::new(Reason::Internal, format!("{error}: {source}"))
        }
    }
}

fn from_socket(error: SocketError) -> Failure {
    error.into()
}

fn internal(what: &str, error: &io::Error) -> Failure {
    Failure::new(Reason::Internal, format!("failed to {what}: {error}"))
}

fn report(failure: &Failure) {
    let hint = failure
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!("hint: {hint}\n"));
    // Nobody to tell means nothing to do.
    drop(write!(io::stderr(), "error: {failure}\n{hint}"));
}
