//! A disk of a few megabytes that only some processes see: a tmpfs in a mount namespace of its own.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Home;

/// A small disk in the place of a folder. Gone when dropped, with every process that lives on it.
#[derive(Debug)]
pub struct SmallDisk {
    /// The process that keeps the namespace.
    holder: Child,
    folder: PathBuf,
    has_own_users: bool,
}

impl SmallDisk {
    /// Mounts a disk of `size` (tmpfs' words: `4m`) over `folder`, which exists.
    ///
    /// Without root this needs user namespaces; the error says what was tried.
    ///
    /// # Errors
    /// When this system does not allow it.
    pub fn mount(folder: &Path, size: &str) -> Result<Self, String> {
        let mut tried = Vec::new();
        for (flags, has_own_users) in [("-rm", true), ("-m", false)] {
            let mut holder = Command::new("unshare")
                .args([flags, "sh", "-c"])
                .arg("mount -t tmpfs -o size=$2,mode=0700 imgd-test \"$1\" && echo ready && exec sleep 3600")
                .args([OsStr::new("sh"), folder.as_os_str(), OsStr::new(size)])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| format!("unshare: {error}"))?;
            let mut line = String::new();
            let said = holder
                .stdout
                .take()
                .map(|out| BufReader::new(out).read_line(&mut line));
            if matches!(said, Some(Ok(_))) && line.trim() == "ready" {
                return Ok(Self {
                    holder,
                    folder: folder.to_owned(),
                    has_own_users,
                });
            }
            drop(holder.wait());
            tried.push(format!("`unshare {flags}`"));
        }
        Err(format!(
            "no mounts of one's own here: tried {}",
            tried.join(", ")
        ))
    }

    /// A command of this home that runs where the disk is.
    pub fn command(&self, home: &Home, program: &Path) -> Command {
        enter(self.holder.id(), self.has_own_users, home, program)
    }

    /// What [`SmallDisk::command`] gives, for a closure that outlives the borrow.
    pub fn starter(&self, program: PathBuf) -> impl Fn(&Home) -> Command + Send + use<> {
        let (holder, has_own_users) = (self.holder.id(), self.has_own_users);
        move |home| enter(holder, has_own_users, home, &program)
    }

    /// Makes the disk larger or smaller.
    ///
    /// # Panics
    /// When the system does not allow it.
    pub fn resize(&self, home: &Home, size: &str) {
        let mut mount = self.command(home, Path::new("mount"));
        let status = mount
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.folder)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "resize to {size}"
        );
    }

    /// The folder as it is where the disk is; readable from everywhere.
    pub fn folder(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn enter(holder: u32, has_own_users: bool, home: &Home, program: &Path) -> Command {
    let mut command = home.command("nsenter");
    command.args(["-t", &holder.to_string(), "-m"]);
    if has_own_users {
        command.args(["-U", "--preserve-credentials"]);
    }
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_small_disk_fills_up_and_grows() {
        let home = Home::new();
        let disk = match SmallDisk::mount(&home.work(), "1m") {
            Ok(disk) => disk,
            Err(why) => {
                println!("skipped: {why}");
                return;
            }
        };
        let file = disk.folder().join("file");
        assert!(fs::write(&file, vec![1; 2 << 20]).is_err());
        disk.resize(&home, "4m");
        fs::write(&file, vec![1; 2 << 20]).unwrap();
        assert!(!home.work().join("file").exists(), "others do not see it");
        let run = crate::run::Run::of(disk.command(&home, Path::new("ls")).arg(home.work()));
        assert_eq!(run.ok().stdout.trim(), "file");
    }
}
