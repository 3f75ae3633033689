//! Where the `imgd` program is.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use crate::{ConnectOptions, Error, Result};

const PROGRAM: &str = "imgd";

/// Finds `imgd`: the path that was named, else beside this program's real path, else on the search path.
///
/// A named path that is no program is an error, never passed over. Fails with [`Error::ProgramNotFound`], which
/// lists what was tried.
pub(crate) fn locate(options: &ConnectOptions) -> Result<PathBuf> {
    let own_directory = env::current_exe()
        .and_then(std::fs::canonicalize)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    find(
        options.imgd.as_deref(),
        own_directory.as_deref(),
        options.search_path.as_deref(),
    )
}

/// The `imgd` program that [`Client::connect`](crate::Client::connect) would start.
///
/// Fails with [`Error::ProgramNotFound`], which lists what was tried.
pub fn program(options: &ConnectOptions) -> Result<PathBuf> {
    locate(options)
}

fn find(
    named: Option<&Path>,
    beside: Option<&Path>,
    search_path: Option<&OsStr>,
) -> Result<PathBuf> {
    let mut tried = Vec::new();
    if let Some(path) = named {
        if is_program(path) {
            return Ok(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        }
        tried.push(format!(
            "IMGD_BIN=`{}` (no executable file)",
            path.display()
        ));
        return Err(Error::ProgramNotFound { tried });
    }
    tried.push("IMGD_BIN (not set)".into());
    if let Some(directory) = beside {
        let path = directory.join(PROGRAM);
        if is_program(&path) {
            return Ok(path);
        }
        tried.push(format!("`{}`", path.display()));
    }
    for directory in search_path.map(env::split_paths).into_iter().flatten() {
        // A relative entry would mean another program in every folder.
        let path = directory.join(PROGRAM);
        if directory.is_absolute() && is_program(&path) {
            return Ok(path);
        }
    }
    tried.push(match search_path {
        Some(_) => "PATH".into(),
        None => "PATH (not set)".into(),
    });
    Err(Error::ProgramNotFound { tried })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    fn program(directory: &Path, mode: u32) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(PROGRAM);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_named_program_goes_first_then_beside_then_the_search_path() {
        let root = tempfile::tempdir().unwrap();
        let named = program(&root.path().join("named"), 0o755);
        let beside = program(&root.path().join("beside"), 0o755);
        let on_path = program(&root.path().join("path"), 0o755);
        let (beside_dir, path_dir) = (beside.parent().unwrap(), on_path.parent().unwrap());
        let find = |n, b| find(n, b, Some(path_dir.as_os_str())).unwrap();
        assert_eq!(find(Some(&named), Some(beside_dir)), named);
        assert_eq!(find(None, Some(beside_dir)), beside);
        assert_eq!(find(None, None), on_path);
        assert_eq!(find(None, Some(root.path())), on_path);
    }

    #[test]
    fn what_was_tried_is_listed() {
        let root = tempfile::tempdir().unwrap();
        program(&root.path().join("data"), 0o644);
        let error = find(
            None,
            Some(&root.path().join("data")),
            Some(OsStr::new("/nonexistent")),
        );
        let text = error.unwrap_err().to_string();
        assert!(text.contains("IMGD_BIN (not set)"), "{text}");
        assert!(text.contains("data/imgd`"), "{text}");
        assert!(text.ends_with("PATH"), "{text}");
    }

    #[test]
    fn a_named_path_that_is_no_program_is_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let beside = program(root.path(), 0o755);
        let error = find(Some(Path::new("/nonexistent")), beside.parent(), None).unwrap_err();
        assert_eq!(error.exit_code(), 69);
        assert!(
            error.to_string().contains("IMGD_BIN=`/nonexistent`"),
            "{error}"
        );
    }
}
