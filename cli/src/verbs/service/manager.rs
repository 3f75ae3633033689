//! Which service manager there is, and whether it can be reached.

use std::path::{Path, PathBuf};

use super::{
    Places, launchd,
    setup::{Plan, Removal, Setup},
    systemd,
};
use crate::failure::{Failure, exit};

/// What starts programs for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Systemd,
    Launchd,
}

impl Manager {
    /// The one of this system.
    pub(super) fn here() -> Self {
        if cfg!(target_os = "macos") {
            Self::Launchd
        } else {
            Self::Systemd
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Launchd => "launchd",
        }
    }

    /// Why it cannot be reached; `None` where it can.
    pub(super) fn missing(self, places: &Places) -> Option<String> {
        if self == Self::Launchd {
            return None;
        }
        let Some(runtime_dir) = &places.runtime_dir else {
            return Some("XDG_RUNTIME_DIR is not set".to_owned());
        };
        let socket = runtime_dir.join("systemd/private");
        match socket.exists() {
            true => None,
            false => Some(format!("there is no `{}`", socket.display())),
        }
    }

    /// Fails where it cannot be reached.
    pub(super) fn reach(self, places: &Places) -> Result<(), Failure> {
        let Some(why) = self.missing(places) else {
            return Ok(());
        };
        Err(Failure::new(
            exit::UNAVAILABLE,
            format!("no {} runs for this user: {why}", self.name()),
        )
        .hint(WITHOUT))
    }

    pub(super) fn install(self, setup: &Setup) -> Result<Plan, Failure> {
        match self {
            Self::Systemd => systemd::install(setup, &systemd::packaged()),
            Self::Launchd => launchd::install(setup, uid()),
        }
    }

    pub(super) fn uninstall(
        self,
        places: &Places,
        batch: Option<&str>,
    ) -> Result<Removal, Failure> {
        match self {
            Self::Systemd => systemd::uninstall(places, batch),
            Self::Launchd => launchd::uninstall(places, uid(), batch),
        }
    }

    /// The socket that it listens on.
    pub(super) fn socket(self, places: &Places) -> Option<PathBuf> {
        let below = |folder: &Option<PathBuf>, name: &str| {
            folder.as_deref().map(|folder: &Path| folder.join(name))
        };
        match self {
            Self::Systemd => below(&places.runtime_dir, "imgd/imgd.sock"),
            Self::Launchd => below(&places.home, "Library/Caches/imgd/run/imgd.sock"),
        }
    }
}

/// What to do without one.
pub(super) const WITHOUT: &str = "nothing has to be installed: the first `imgctl generate` starts imgd by itself. Of a login \
                                  without a session of its own, such as by `su`, systemd knows nothing";

/// The user's number, by which launchd names the user's session.
pub(super) fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_there_where_it_listens() {
        let root = tempfile::tempdir().unwrap();
        let places = Places {
            runtime_dir: Some(root.path().to_owned()),
            ..Places::default()
        };
        let failure = Manager::Systemd.reach(&places).unwrap_err();
        assert_eq!(failure.code, 69);
        assert!(failure.hint.unwrap().contains("by itself"));
        std::fs::create_dir(root.path().join("systemd")).unwrap();
        std::fs::write(root.path().join("systemd/private"), "").unwrap();
        assert!(Manager::Systemd.reach(&places).is_ok());
        assert!(Manager::Systemd.missing(&Places::default()).is_some());
    }
}
