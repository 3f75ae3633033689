//! Folders and files of the user: whose they are, and who else may read or change them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use imgd_client::survey;

use super::{configuration::Configuration, finding::Finding, socket::Socket};
use crate::Context;

/// What others may do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Nothing: prompts and pictures are in it.
    Private,
    /// Read, but not change.
    Unchanged,
}

pub(super) fn look(
    configuration: &Configuration,
    socket: &Socket,
    context: &Context,
) -> Vec<Finding> {
    let uid = rustix::process::getuid().as_raw();
    let log = socket
        .path
        .as_deref()
        .map(|socket| survey::log_file(&context.connect, socket));
    let places = [
        ("data", configuration.data_dir.as_deref(), Keep::Private),
        ("config", configuration.file.as_deref(), Keep::Unchanged),
        ("log", log.as_deref(), Keep::Unchanged),
        (
            "models' cache",
            context.hub.cache.as_deref(),
            Keep::Unchanged,
        ),
    ];
    let places = places
        .into_iter()
        .filter_map(|(name, path, keep)| Some((name, path?, keep)));
    places
        .map(|(name, path, keep)| place(name, path, keep, uid))
        .collect()
}

fn place(name: &str, path: &Path, keep: Keep, uid: u32) -> Finding {
    let shown = path.display();
    let Ok(own) = fs::symlink_metadata(path) else {
        return Finding::ok(name, format!("{shown}, not there yet"));
    };
    let link = if own.is_symlink() { ", by a link" } else { "" };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Finding::problem(name, format!("{shown} cannot be looked at: {error}"))
                .advice("a link there may lead nowhere");
        }
    };
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() != uid {
        let found = format!(
            "{shown} belongs to user {}, not to you (user {uid})",
            metadata.uid()
        );
        let may_be = keep == Keep::Unchanged && metadata.uid() == 0;
        return if may_be {
            Finding::ok(name, found)
        } else {
            Finding::problem(name, found).advice(format!(
                "`sudo chown -R \"$(id -u)\" '{shown}'`, if it is meant to be yours"
            ))
        };
    }
    let (is_loose, what, change) = match keep {
        Keep::Private => (mode & 0o077 != 0, "others may look into it", "go-rwx"),
        Keep::Unchanged => (is_changeable(&metadata), "others may change it", "go-w"),
    };
    if !is_loose {
        let who = match keep {
            Keep::Private => "yours alone",
            Keep::Unchanged => "yours",
        };
        return Finding::ok(name, format!("{shown}, {who} ({mode:04o}){link}"));
    }
    Finding::problem(name, format!("{shown} has mode {mode:04o}: {what}{link}"))
        .advice(format!("chmod {change} '{shown}'"))
}

/// Whether other users may change what has this metadata. The user's own group is taken for a group of one, as most systems
/// make it.
pub(super) fn is_changeable(metadata: &fs::Metadata) -> bool {
    let own_group = rustix::process::getgid().as_raw();
    let mode = metadata.mode();
    mode & 0o002 != 0 || (mode & 0o020 != 0 && metadata.gid() != own_group)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::{super::finding::Mark, *};

    #[test]
    fn what_others_may_read_or_change_is_a_problem() {
        let root = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let path = root.path().join("data");
        let mark = |keep, mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            place("x", &path, keep, uid).mark
        };
        assert_eq!(place("x", &path, Keep::Private, uid).mark, Mark::Ok);
        fs::create_dir(&path).unwrap();
        assert_eq!(mark(Keep::Private, 0o700), Mark::Ok);
        assert_eq!(mark(Keep::Private, 0o750), Mark::Problem);
        assert_eq!(mark(Keep::Unchanged, 0o755), Mark::Ok);
        assert_eq!(mark(Keep::Unchanged, 0o777), Mark::Problem);
        assert_eq!(
            place("x", &path, Keep::Private, uid + 1).mark,
            Mark::Problem
        );
    }

    #[test]
    fn a_link_is_followed_and_told() {
        let root = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let link = root.path().join("link");
        symlink(root.path().join("nothing"), &link).unwrap();
        assert_eq!(place("x", &link, Keep::Private, uid).mark, Mark::Problem);
        fs::create_dir(root.path().join("nothing")).unwrap();
        let found = place("x", &link, Keep::Unchanged, uid).found;
        assert!(found.ends_with(", by a link"), "{found}");
    }
}
