//! A private home: every folder the programs may write to is below one temporary directory.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{processes, program, run::Run};

/// A home folder of one test. Dropping it ends the daemon that listens in it and removes everything.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
}

impl Home {
    /// An empty home without a configuration.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    #[expect(clippy::new_without_default, reason = "making one touches the disk")]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("imgd-e2e-")
            .tempdir()
            .expect("the temporary folder can be written");
        for (name, mode) in [("run", 0o700), ("home", 0o755), ("work", 0o755)] {
            let path = directory.path().join(name);
            fs::create_dir(&path).expect("a new folder is empty");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .expect("the folder is ours");
        }
        Self { directory }
    }

    /// A home whose configuration file is `config`.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn with_config(config: &str) -> Self {
        let home = Self::new();
        let folder = home.path().join("home/.config/imgd");
        fs::create_dir_all(&folder).expect("the home is ours");
        fs::write(folder.join("config.toml"), config).expect("the home is ours");
        home
    }

    /// Everything of this home lies below.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where `imgctl` writes pictures: its current folder.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("run/imgd/imgd.sock")
    }

    /// Folder of the daemon's journal and pictures.
    pub fn data(&self) -> PathBuf {
        self.path().join("home/.local/share/imgd")
    }

    /// A command with nothing of this process's environment but what is needed, in the folder of the pictures.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let home = self.path().join("home");
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(self.work())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_STATE_HOME", home.join(".local/state"))
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("TMPDIR", self.path())
            .env("HOME", home);
        command
    }

    /// `imgctl` in this home. It finds the daemon's program by `IMGD_BIN`.
    pub fn imgctl(&self) -> Command {
        let mut command = self.command(program("imgctl"));
        command.env("IMGD_BIN", program("imgd"));
        command
    }

    /// Runs `imgctl` to its end.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::of(self.imgctl().args(arguments))
    }

    /// Process id of the daemon that listens in this home, if one does.
    pub fn daemon_pid(&self) -> Option<u32> {
        // a socket that the test itself opened and passed on is said to be the test's
        processes::listener(&self.socket()).filter(|pid| *pid != std::process::id())
    }

    /// Every regular file below this home that contains `needle`, except below `except`.
    pub fn files_containing(&self, needle: &[u8], except: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (path, kind) = (entry.path(), entry.file_type());
                if path == except {
                    continue;
                }
                match kind {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(kind) if kind.is_file() => {
                        let bytes = fs::read(&path).unwrap_or_default();
                        if bytes.windows(needle.len()).any(|window| window == needle) {
                            found.push(path);
                        }
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(pid) = self.daemon_pid() {
            processes::end(pid);
        }
    }
}
