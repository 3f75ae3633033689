//! Whether systemd or launchd is set up to start the daemon.
//!
//! A daemon started beside it would take the socket's place from it, so a client must not start one then.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::Error;

/// The systemd user unit that owns the socket.
pub(crate) const SYSTEMD_SOCKET_UNIT: &str = "imgd.socket";
/// The launchd agent that owns the socket.
pub(crate) const LAUNCHD_LABEL: &str = "dev.imgd.imgd";

/// The error to give when a service manager owns `socket`, on which nobody listens; `None` when none does.
pub(crate) fn owner(socket: &Path) -> Option<Error> {
    let base = BaseDirs::new()?;
    if cfg!(target_os = "macos") {
        let agent = base
            .home_dir()
            .join(format!("Library/LaunchAgents/{LAUNCHD_LABEL}.plist"));
        return agent.exists().then(|| Error::ServiceManager {
            manager: "launchd",
            command: format!("launchctl bootstrap gui/$(id -u) {}", agent.display()),
        });
    }
    let unit_folders = [
        base.config_dir().join("systemd/user"),
        PathBuf::from("/etc/systemd/user"),
    ];
    systemd_owns(base.runtime_dir()?, socket, &unit_folders).then(|| Error::ServiceManager {
        manager: "systemd",
        command: format!("systemctl --user start {SYSTEMD_SOCKET_UNIT}"),
    })
}

/// Whether the user's systemd, with its files in `runtime_dir`, has the socket unit enabled or active.
///
/// Reads what systemd leaves in the file system: a call would need the bus. The unit's socket is
/// `imgd/imgd.sock` in the runtime directory; another socket is nobody's.
fn systemd_owns(runtime_dir: &Path, socket: &Path, unit_folders: &[PathBuf]) -> bool {
    if socket != runtime_dir.join("imgd/imgd.sock") || !runtime_dir.join("systemd").is_dir() {
        return false;
    }
    let enabled = unit_folders.iter().any(|folder| {
        exists(
            &folder
                .join("sockets.target.wants")
                .join(SYSTEMD_SOCKET_UNIT),
        )
    });
    let active = runtime_dir.join(format!("systemd/units/invocation:{SYSTEMD_SOCKET_UNIT}"));
    enabled || exists(&active)
}

/// Whether there is anything at `path`, a dangling link too.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn an_enabled_or_active_unit_owns_the_usual_socket() {
        let root = tempfile::tempdir().unwrap();
        let (runtime, units) = (root.path().join("run"), root.path().join("units"));
        let socket = runtime.join("imgd/imgd.sock");
        let folders = [units.clone()];
        fs::create_dir_all(runtime.join("systemd/units")).unwrap();
        assert!(!systemd_owns(&runtime, &socket, &folders));

        fs::create_dir_all(units.join("sockets.target.wants")).unwrap();
        let wanted = units.join("sockets.target.wants/imgd.socket");
        symlink("/nonexistent/imgd.socket", &wanted).unwrap();
        assert!(systemd_owns(&runtime, &socket, &folders));
        assert!(!systemd_owns(
            &runtime,
            &root.path().join("other.sock"),
            &folders
        ));

        fs::remove_file(&wanted).unwrap();
        symlink("0123", runtime.join("systemd/units/invocation:imgd.socket")).unwrap();
        assert!(systemd_owns(&runtime, &socket, &folders));
    }

    #[test]
    fn without_a_user_manager_nobody_owns_the_socket() {
        let root = tempfile::tempdir().unwrap();
        let units = root.path().join("units");
        fs::create_dir_all(units.join("sockets.target.wants")).unwrap();
        fs::write(units.join("sockets.target.wants/imgd.socket"), "").unwrap();
        assert!(!systemd_owns(
            root.path(),
            &root.path().join("imgd/imgd.sock"),
            &[units]
        ));
    }
}
