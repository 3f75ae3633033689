//! What protects the daemon and its user: looked at each time it is asked, and told as it is.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use imgd_proto::v1;

use crate::engine::Hardening;

/// The layers, in force or not. `worker` is what the worker says of itself; `None` where none has loaded a model.
pub(super) fn layers(socket: &Path, worker: Option<Hardening>) -> Vec<v1::SandboxLayer> {
    let layer = |name: &str, in_force: bool, description: String| v1::SandboxLayer {
        name: name.to_owned(),
        in_force,
        description,
    };
    let (is_private, privacy) = match exposed(socket) {
        None => (
            true,
            "only its owner may reach the socket; there is no TCP".to_owned(),
        ),
        Some(why) => (false, why),
    };
    let own_cores_are_off = crate::sys::core_dumps_are_off();
    let (cores_are_off, cores) = match (own_cores_are_off, worker) {
        (false, _) => (
            false,
            "a crash of the daemon may leave a file with prompts in it",
        ),
        (true, Some(worker)) if !worker.core_dumps_are_off => (
            false,
            "a crash of the worker may leave a file with prompts in it",
        ),
        _ => (true, "a crash leaves no file with prompts in it"),
    };
    let (is_cleared, environment) = match worker.map(|worker| worker.environment_is_cleared) {
        Some(true) => (
            true,
            "the worker has none of the daemon's environment but what it needs",
        ),
        Some(false) => (
            false,
            "the worker has variables of the environment that it does not need",
        ),
        None => (
            true,
            "no worker has a model; one is started without the daemon's environment",
        ),
    };
    vec![
        layer("private_socket", is_private, privacy),
        layer(
            "peer_uid",
            true,
            "connections of other users are refused".to_owned(),
        ),
        layer("no_core_dumps", cores_are_off, cores.to_owned()),
        layer("cleared_environment", is_cleared, environment.to_owned()),
        layer(
            "seccomp",
            false,
            "not built yet: system calls are not filtered".to_owned(),
        ),
        layer(
            "landlock",
            false,
            "not built yet: file access is not narrowed".to_owned(),
        ),
    ]
}

/// Why others could reach the socket; `None` when they cannot.
fn exposed(socket: &Path) -> Option<String> {
    let own = rustix::process::getuid().as_raw();
    let Ok(found) = fs::symlink_metadata(socket) else {
        return Some(format!("{} is not there any more", socket.display()));
    };
    if !found.file_type().is_socket() || found.uid() != own {
        return Some(format!("{} is not the daemon's socket", socket.display()));
    }
    let directory = socket.parent().and_then(|parent| fs::metadata(parent).ok());
    // Either keeps others away; both are to.
    for (what, metadata) in [("socket", Some(found)), ("socket's directory", directory)] {
        match metadata.map(|metadata| metadata.mode() & 0o777) {
            Some(mode) if mode & 0o077 == 0 => {}
            Some(mode) => return Some(format!("the {what} has mode {mode:04o}")),
            None => return Some(format!("the {what} cannot be looked at")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{Permissions, set_permissions},
        os::unix::{fs::PermissionsExt as _, net::UnixListener},
        path::Path,
    };

    use super::layers;
    use crate::engine::Hardening;

    fn holds(name: &str, socket: &Path, worker: Option<Hardening>) -> bool {
        let layers = layers(socket, worker);
        layers
            .iter()
            .find(|layer| layer.name == name)
            .unwrap()
            .in_force
    }

    #[test]
    fn a_socket_that_others_may_reach_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        assert!(!holds("private_socket", &socket, None));
        let _listener = UnixListener::bind(&socket).unwrap();
        for (directory_mode, mode, expected) in [
            (0o700, 0o600, true),
            (0o700, 0o660, false),
            (0o755, 0o600, false),
        ] {
            set_permissions(&socket, Permissions::from_mode(mode)).unwrap();
            set_permissions(directory.path(), Permissions::from_mode(directory_mode)).unwrap();
            assert_eq!(holds("private_socket", &socket, None), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_worker_that_kept_too_much_is_told() {
        let worker = Hardening {
            environment_is_cleared: false,
            core_dumps_are_off: false,
        };
        let socket = Path::new("/nonexistent");
        assert!(!holds("cleared_environment", socket, Some(worker)));
        assert!(!holds("no_core_dumps", socket, Some(worker)));
        let worker = Hardening {
            environment_is_cleared: true,
            core_dumps_are_off: true,
        };
        assert!(holds("cleared_environment", socket, Some(worker)));
    }
}
