//! What an installation is made of, the same for every service manager.

use std::path::{Path, PathBuf};

use super::{Places, invocation::Invocation, marked::Marked, named::Batch};

/// What is to be installed.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) places: Places,
    /// The daemon's program.
    pub(super) imgd: PathBuf,
    /// This program.
    pub(super) imgctl: PathBuf,
    /// A batch, beside the daemon itself.
    pub(super) batch: Option<Batch>,
}

/// What an installation writes and runs.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Folders that are made.
    pub(super) folders: Vec<PathBuf>,
    /// The daemon, then a batch.
    pub(super) parts: Vec<Part>,
    /// Run once files are written.
    pub(super) reload: Option<Invocation>,
}

/// What the service manager starts: a socket with its service, a timer with its, an agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) files: Vec<Marked>,
    /// Succeeds where it is in force.
    pub(super) check: Invocation,
    /// Run where it is in force and its files have changed.
    pub(super) stop: Invocation,
    /// Puts it in force.
    pub(super) start: Invocation,
    /// Whether that does nothing where it is.
    pub(super) may_repeat: bool,
}

impl Plan {
    /// Every file.
    pub(super) fn files(&self) -> impl Iterator<Item = &Marked> {
        self.parts.iter().flat_map(|part| &part.files)
    }
}

/// What taking an installation away runs and removes, in this order.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// May fail: what is not there cannot be stopped.
    pub(super) stop: Vec<Invocation>,
    pub(super) files: Vec<PathBuf>,
    /// Run once files are gone.
    pub(super) reload: Option<Invocation>,
}

/// The path that lasts longest of a program: a name on the search path that leads to it, which stays where an update
/// moves the program itself.
pub(super) fn lasting(program: &Path, search_path: Option<&std::ffi::OsStr>) -> PathBuf {
    let (Some(name), Ok(real)) = (program.file_name(), program.canonicalize()) else {
        return program.to_owned();
    };
    let folders = search_path.map(std::env::split_paths).into_iter().flatten();
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| path.canonicalize().is_ok_and(|other| other == real))
        .unwrap_or_else(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::lasting;

    #[test]
    fn a_link_on_the_search_path_outlasts_the_program_it_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let (versioned, bin) = (root.path().join("1.0"), root.path().join("bin"));
        fs::create_dir_all(&versioned).unwrap();
        fs::create_dir_all(&bin).unwrap();
        let program = versioned.join("imgd");
        fs::write(&program, "").unwrap();
        symlink(&program, bin.join("imgd")).unwrap();
        assert_eq!(lasting(&program, Some(bin.as_os_str())), bin.join("imgd"));
        assert_eq!(lasting(&program, None), program);
        // Another program of the name is another program.
        fs::remove_file(bin.join("imgd")).unwrap();
        fs::write(bin.join("imgd"), "").unwrap();
        assert_eq!(lasting(&program, Some(bin.as_os_str())), program);
    }
}
