//! What protects the daemon and its user: looked at each time it is asked, and told as it is.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use imgd_proto::v1;

use crate::{
    engine::Hardening,
    sandbox::{Found, is_filtered},
};

/// The layers, in force or not. `found` is what the daemon's own processes find, `worker` what the worker with that process
/// id said of itself when it loaded a model; `None` where none has.
pub(super) fn layers(
    socket: &Path,
    found: &Found,
    worker: Option<&(Hardening, u32)>,
) -> Vec<v1::SandboxLayer> {
    let layer = |name: &str, (in_force, description): (bool, String)| v1::SandboxLayer {
        name: name.to_owned(),
        in_force,
        description,
    };
    let hardening = worker.map(|(hardening, _)| hardening);
    vec![
        layer("private_socket", privacy(socket)),
        layer(
            "peer_uid",
            (true, "connections of other users are refused".to_owned()),
        ),
        layer("no_core_dumps", core_dumps(hardening)),
        layer("cleared_environment", environment(hardening)),
        layer("seccomp", system_calls(found, worker)),
        layer("landlock", files(found, hardening)),
    ]
}

fn privacy(socket: &Path) -> (bool, String) {
    match exposed(socket) {
        None => (
            true,
            "only its owner may reach the socket; there is no TCP".to_owned(),
        ),
        Some(why) => (false, why),
    }
}

fn core_dumps(worker: Option<&Hardening>) -> (bool, String) {
    let own_are_off = crate::sys::core_dumps_are_off();
    let (are_off, description) = match (own_are_off, worker) {
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
    (are_off, description.to_owned())
}

fn environment(worker: Option<&Hardening>) -> (bool, String) {
    let (is_cleared, description) = match worker.map(|worker| worker.environment_is_cleared) {
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
    (is_cleared, description.to_owned())
}

/// The filter, in each process: by its own attempts, and for the worker by the system's word of now as well.
fn system_calls(found: &Found, worker: Option<&(Hardening, u32)>) -> (bool, String) {
    let of_worker = worker.and_then(|(hardening, pid)| match is_filtered(*pid) {
        Some(false) => Some("the system does not count this process as filtered"),
        _ => hardening.sandbox.unfiltered.as_deref(),
    });
    let missing = lacking(
        [
            ("supervisor", found.supervisor.unfiltered.as_deref()),
            ("spawner", found.spawner.unfiltered.as_deref()),
            ("worker", of_worker),
        ],
        "may make any system call",
    );
    missing.map_or_else(
        || {
            let holds = "no process can make a socket but Unix ones, look into other programs or change the \
                         system; supervisor and worker can start no program, the worker can reach none";
            (true, format!("{holds}{}", without(worker.is_none())))
        },
        |missing| (false, missing),
    )
}

/// Writing and executing, in each process: by its own attempts.
fn files(found: &Found, worker: Option<&Hardening>) -> (bool, String) {
    let of_worker = worker.map(|worker| &worker.sandbox);
    let missing = lacking(
        [
            ("supervisor", found.supervisor.unnarrowed.as_deref()),
            ("spawner", found.spawner.unnarrowed.as_deref()),
            (
                "worker",
                of_worker.and_then(|report| report.unnarrowed.as_deref()),
            ),
        ],
        "may write what you may",
    );
    if let Some(missing) = missing {
        return (false, missing);
    }
    let reports = [Some(&found.supervisor), Some(&found.spawner), of_worker];
    let abi = reports
        .into_iter()
        .flatten()
        .map(|report| report.landlock_abi);
    let abi = abi.min().unwrap_or(0);
    let holds = "the supervisor can write in its data folder alone, the worker to devices alone; only the spawner \
                 can execute anything, and that is imgd";
    let not_held: Vec<_> = NEWER
        .iter()
        .filter(|(since, _)| abi < *since)
        .map(|(_, what)| *what)
        .collect();
    let gaps = if not_held.is_empty() {
        String::new()
    } else {
        format!("; not kept away by this kernel: {}", not_held.join(", "))
    };
    (true, format!("{holds}{}{gaps}", without(worker.is_none())))
}

/// What Landlock keeps away from which version of its interface on.
const NEWER: [(u32, &str); 3] = [
    (3, "cutting files short"),
    (4, "TCP, which seccomp refuses"),
    (6, "signals to other programs"),
];

fn without(worker: bool) -> &'static str {
    if worker {
        " (no worker has a model; one confines itself when it starts)"
    } else {
        ""
    }
}

/// Names the processes that lack a layer, and why; `None` when none does.
fn lacking(processes: [(&str, Option<&str>); 3], what: &str) -> Option<String> {
    let lacking: Vec<_> = processes
        .into_iter()
        .filter_map(|(process, why)| Some((process, why?)))
        .collect();
    let (_, first) = lacking.first()?;
    if lacking.iter().all(|(_, why)| why == first) {
        let names: Vec<_> = lacking.iter().map(|(process, _)| *process).collect();
        return Some(format!("{} {what}: {first}", names.join(", ")));
    }
    let each = lacking
        .iter()
        .map(|(process, why)| format!("{process}: {why}"));
    let each: Vec<_> = each.collect();
    Some(format!("a process {what}: {}", each.join("; ")))
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
    use crate::{
        engine::Hardening,
        sandbox::{Found, Report},
    };

    fn hardening() -> Hardening {
        Hardening {
            environment_is_cleared: true,
            core_dumps_are_off: true,
            sandbox: Report {
                landlock_abi: 6,
                ..Report::default()
            },
        }
    }

    fn found() -> Found {
        let all = hardening().sandbox;
        Found {
            supervisor: all.clone(),
            spawner: all,
        }
    }

    fn layer(
        name: &str,
        socket: &Path,
        found: &Found,
        worker: Option<Hardening>,
    ) -> (bool, String) {
        // No process has this id: what the worker says decides.
        let worker = worker.map(|worker| (worker, 0));
        let layers = layers(socket, found, worker.as_ref());
        let layer = layers.into_iter().find(|layer| layer.name == name);
        let layer = layer.unwrap();
        (layer.in_force, layer.description)
    }

    fn holds(name: &str, socket: &Path, worker: Option<Hardening>) -> bool {
        layer(name, socket, &found(), worker).0
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
            ..hardening()
        };
        let socket = Path::new("/nonexistent");
        assert!(!holds("cleared_environment", socket, Some(worker.clone())));
        assert!(!holds("no_core_dumps", socket, Some(worker)));
        assert!(holds("cleared_environment", socket, Some(hardening())));
    }

    #[test]
    fn a_process_without_a_layer_is_named_and_the_other_layer_stays() {
        let nowhere = Path::new("/nonexistent");
        let lacks = |unfiltered: Option<&str>, unnarrowed: Option<&str>| Report {
            unfiltered: unfiltered.map(Into::into),
            unnarrowed: unnarrowed.map(Into::into),
            landlock_abi: 6,
        };
        for layers in ["seccomp", "landlock"] {
            let (in_force, said) = layer(layers, nowhere, &found(), Some(hardening()));
            assert!(in_force && !said.contains("no worker"), "{said}");
            let (in_force, said) = layer(layers, nowhere, &found(), None);
            assert!(in_force && said.contains("no worker"), "{said}");
        }
        let spawner = Found {
            spawner: lacks(None, Some("an old kernel")),
            ..found()
        };
        let (in_force, said) = layer("landlock", nowhere, &spawner, Some(hardening()));
        assert!(
            !in_force && said.contains("spawner") && said.contains("an old kernel"),
            "{said}"
        );
        assert!(!said.contains("supervisor"), "{said}");
        assert!(layer("seccomp", nowhere, &spawner, Some(hardening())).0);
        let worker = Hardening {
            sandbox: lacks(Some("a network could be reached"), None),
            ..hardening()
        };
        let (in_force, said) = layer("seccomp", nowhere, &found(), Some(worker.clone()));
        assert!(!in_force && said.contains("worker"), "{said}");
        assert!(layer("landlock", nowhere, &found(), Some(worker)).0);
    }

    #[test]
    fn what_an_older_kernel_cannot_keep_away_is_told() {
        let nowhere = Path::new("/nonexistent");
        let older = Found {
            supervisor: Report {
                landlock_abi: 3,
                ..Report::default()
            },
            ..found()
        };
        let (in_force, said) = layer("landlock", nowhere, &older, None);
        assert!(
            in_force && said.contains("TCP") && said.contains("signals"),
            "{said}"
        );
        assert!(!said.contains("cutting"), "{said}");
        let (_, said) = layer("landlock", nowhere, &found(), None);
        assert!(!said.contains("not kept away"), "{said}");
    }
}
