//! How things stand, for a person who asks: looked at without starting, ending or changing anything.
//!
//! What [`Client::connect`](crate::Client::connect) would do is decided elsewhere; here is what it would find.

use std::{
    fs,
    path::{Path, PathBuf},
};

use directories::BaseDirs;
use imgd_proto::{build_id, v1::GetStatusResponse};

use crate::{
    ConnectOptions, Result,
    build::{self, Fate},
    locate,
    service_manager::{LAUNCHD_LABEL, SYSTEMD_SOCKET_UNIT},
    start,
};

/// The systemd user unit of the daemon itself.
const SYSTEMD_SERVICE_UNIT: &str = "imgd.service";

/// The program that [`Client::connect`](crate::Client::connect) would start.
///
/// Fails with [`Error::ProgramNotFound`](crate::Error::ProgramNotFound), which lists what was tried.
pub fn program(options: &ConnectOptions) -> Result<PathBuf> {
    locate::locate(options)
}

/// The file that a daemon which a client starts on `socket` writes its log to; it may not be there.
pub fn log_file(options: &ConnectOptions, socket: &Path) -> PathBuf {
    start::log_path(options, socket)
}

/// What becomes of a running daemon that is of another build than the program `imgd`; `None` when it is of that build, or
/// one of them is not known.
pub fn other_build(status: &GetStatusResponse, imgd: &Path) -> Option<&'static str> {
    let status = GetStatusResponse {
        draining: false,
        ..status.clone()
    };
    match build::fate(&status, build_id(imgd).ok().as_deref()) {
        Fate::Replace => Some("it is idle, and the next command replaces it"),
        Fate::Warn(advice) => Some(advice),
        Fate::Keep | Fate::Wait => None,
    }
}

/// What systemd or launchd is set up to do for the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceManager {
    /// `systemd` or `launchd`.
    pub name: &'static str,
    /// The file that says how the daemon is started: unit or agent.
    pub unit: PathBuf,
    /// Whether it is to listen from login on.
    pub is_enabled: bool,
    /// Whether it listens now. Of launchd it is not known.
    pub is_listening: Option<bool>,
    /// Whether the daemon that it started runs. Of launchd it is not known.
    pub is_running: Option<bool>,
    /// The program that it starts, where the unit says so and no other file changes it.
    pub program: Option<PathBuf>,
}

/// What a service manager of this user is set up to do; `None` where none has a file for the daemon.
///
/// Reads what lies in the file system: a call would need the bus, and could start the daemon.
pub fn service_manager() -> Option<ServiceManager> {
    let base = BaseDirs::new()?;
    if cfg!(target_os = "macos") {
        let unit = base
            .home_dir()
            .join(format!("Library/LaunchAgents/{LAUNCHD_LABEL}.plist"));
        return unit.exists().then_some(ServiceManager {
            name: "launchd",
            unit,
            is_enabled: true,
            is_listening: None,
            is_running: None,
            program: None,
        });
    }
    let folders = [
        base.config_dir().join("systemd/user"),
        PathBuf::from("/etc/systemd/user"),
        base.data_dir().join("systemd/user"),
        PathBuf::from("/usr/local/lib/systemd/user"),
        PathBuf::from("/usr/lib/systemd/user"),
    ];
    systemd(&folders, base.runtime_dir(), base.home_dir())
}

/// The same for systemd, whose units lie in `folders`, the first before the others.
fn systemd(folders: &[PathBuf], runtime_dir: Option<&Path>, home: &Path) -> Option<ServiceManager> {
    let find = |unit: &str| {
        let files = folders.iter().map(|folder| folder.join(unit));
        files.into_iter().find(|file| file.is_file())
    };
    let unit = find(SYSTEMD_SERVICE_UNIT).or_else(|| find(SYSTEMD_SOCKET_UNIT))?;
    let is_active = |unit: &str| {
        let folder = runtime_dir?.join("systemd");
        let mark = folder.join(format!("units/invocation:{unit}"));
        folder.is_dir().then(|| mark.symlink_metadata().is_ok())
    };
    let wanted = format!("sockets.target.wants/{SYSTEMD_SOCKET_UNIT}");
    Some(ServiceManager {
        name: "systemd",
        is_enabled: folders
            .iter()
            .any(|folder| folder.join(&wanted).symlink_metadata().is_ok()),
        is_listening: is_active(SYSTEMD_SOCKET_UNIT),
        is_running: is_active(SYSTEMD_SERVICE_UNIT),
        program: started_by(&unit, folders, home),
        unit,
    })
}

/// The program in a unit's `ExecStart=`; `None` where drop-ins may say otherwise, or it is no plain path.
fn started_by(unit: &Path, folders: &[PathBuf], home: &Path) -> Option<PathBuf> {
    let drop_ins = format!("{SYSTEMD_SERVICE_UNIT}.d");
    if folders.iter().any(|folder| folder.join(&drop_ins).exists()) {
        return None;
    }
    let text = fs::read_to_string(unit).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("ExecStart="))?;
    let program = line.split_whitespace().next()?;
    let program = program.trim_start_matches(['-', '@', ':', '+', '!']);
    let program = match program.strip_prefix("%h/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(program),
    };
    (program.is_absolute() && !program.to_string_lossy().contains('%')).then_some(program)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use imgd_proto::v1::StartedBy;

    use super::*;

    #[test]
    fn what_systemd_is_set_up_to_do_is_read_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        let (own, system) = (root.path().join("own"), root.path().join("system"));
        let (runtime, home) = (root.path().join("run"), root.path().join("home"));
        let folders = [own.clone(), system.clone()];
        let look = || systemd(&folders, Some(&runtime), &home);
        for folder in [&own, &system, &home, &runtime] {
            fs::create_dir(folder).unwrap();
        }
        assert_eq!(look(), None);

        fs::write(system.join("imgd.socket"), "").unwrap();
        let service = system.join("imgd.service");
        fs::write(&service, "[Service]\nExecStart=%h/.local/bin/imgd -v\n").unwrap();
        let installed = look().unwrap();
        assert_eq!(installed.program, Some(home.join(".local/bin/imgd")));
        assert_eq!(
            (installed.is_enabled, installed.is_listening),
            (false, None)
        );

        fs::create_dir_all(runtime.join("systemd/units")).unwrap();
        fs::create_dir(own.join("sockets.target.wants")).unwrap();
        symlink(&service, own.join("sockets.target.wants/imgd.socket")).unwrap();
        symlink("1", runtime.join("systemd/units/invocation:imgd.socket")).unwrap();
        let listening = look().unwrap();
        assert!(listening.is_enabled);
        assert_eq!(listening.is_listening, Some(true));
        assert_eq!(listening.is_running, Some(false));

        // somebody has changed what is started: it is not guessed
        fs::create_dir(own.join("imgd.service.d")).unwrap();
        assert_eq!(look().unwrap().program, None);
    }

    #[test]
    fn a_daemon_of_another_build_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut status = GetStatusResponse {
            build_id: build_id(file.path()).unwrap(),
            started_by: StartedBy::Client.into(),
            draining: true,
            ..GetStatusResponse::default()
        };
        assert_eq!(other_build(&status, file.path()), None);
        status.build_id = "another".to_owned();
        assert!(other_build(&status, file.path()).is_some());
        assert_eq!(other_build(&status, Path::new("/nonexistent")), None);
    }
}
