//! What may be written and executed, by Landlock. Reading stays as the user can read: models lie anywhere.
//!
//! Rules hold for files and folders, not for their paths: what is moved or replaced keeps its rule, and what is
//! put at the old path has none.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};

use super::{Places, Role, loader};
use crate::sys;

/// The version of the interface up to which rights are given up. Of a kernel with less, all that it has.
const WANTED: ABI = ABI::V6;

/// Device files that a worker may write: nothing, and those of GPUs.
const DEVICES: [&str; 4] = ["null", "nvidia", "dri", "kfd"];

/// Gives up writing and executing but what the role needs; TCP, signals to other programs and abstract sockets too, where
/// the kernel can. Returns the version of the interface that holds, or why none does.
pub(super) fn narrow(role: &Role) -> Result<u32, String> {
    // It would hold for this thread alone. That is enough for a test, which has the harness's beside it.
    if !cfg!(test) && sys::threads().is_some_and(|threads| threads > 1) {
        return Err("the process had threads already".to_owned());
    }
    let created = ruleset().map_err(|error| format!("Landlock: {error}"))?;
    let status = rules(created, role)
        .and_then(RulesetCreated::restrict_self)
        .map_err(|error| {
            format!("the system or a sandbox around the daemon does not allow Landlock: {error}")
        })?;
    match (status.ruleset, status.landlock) {
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, .. },
        ) => Ok(effective_abi as u32),
        (_, LandlockStatus::NotEnabled) => {
            Err("Landlock is not enabled: `landlock` is missing in the kernel's `lsm=`".to_owned())
        }
        _ => Err("this kernel has no Landlock (Linux 5.13 and newer)".to_owned()),
    }
}

fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(written() | AccessFs::Execute)?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?
        // The daemon's own attempts would fill the system's log of denials.
        .log_same_exec(false)
}

/// Every right to change files, but control of devices: drivers need it, and it changes no file.
fn written() -> BitFlags<AccessFs> {
    AccessFs::from_write(WANTED) & !AccessFs::IoctlDev
}

fn rules(created: RulesetCreated, role: &Role) -> Result<RulesetCreated, RulesetError> {
    let write = make_bitflags!(AccessFs::{WriteFile | Truncate});
    match role {
        Role::Supervisor(places) => {
            let mut created = allow(created, Path::new("/dev/null"), write)?;
            for folder in data_folders(places) {
                created = allow(created, &folder, in_data())?;
            }
            match &places.socket_dir {
                Some(folder) => allow(created, folder, AccessFs::RemoveFile.into()),
                None => Ok(created),
            }
        }
        Role::Spawner => {
            let own = Path::new("/proc/self/exe");
            let mut created = allow(created, own, AccessFs::Execute.into())?;
            if let Some(folder) = loader::folder(own) {
                created = allow(created, &folder, AccessFs::Execute.into())?;
            }
            // Workers may write what their spawner may, until they have confined themselves: devices, some of which may
            // come later, and how much the kernel is to spare them when memory runs out.
            created = allow(created, Path::new("/dev"), write)?;
            created = allow(created, Path::new("/proc"), write)?;
            for_faults(created)
        }
        Role::Worker => {
            let mut created = created;
            for device in devices() {
                created = allow(created, &device, write)?;
            }
            for_faults(created)
        }
    }
}

/// Allows access to a file, or to all below a folder; not to one that is not there.
fn allow(
    created: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(created);
    };
    // Rights that only folders have are an error for files.
    let access = match fs::metadata(path) {
        Ok(found) if !found.is_dir() => access & AccessFs::from_file(WANTED),
        _ => access,
    };
    created.add_rule(PathBeneath::new(opened, access))
}

/// What journal and library do in their folder. Nothing of it makes links, since a link made there would widen what the
/// next daemon may write, or moves files from one folder to another, which the first version refuses to everybody.
fn in_data() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir
    })
}

/// The data folder, and folders that links in it lead to: somebody keeps the library on another disk.
fn data_folders(places: &Places) -> Vec<PathBuf> {
    let links = fs::read_dir(&places.data_dir).into_iter().flatten();
    let linked = links
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    [places.data_dir.clone()]
        .into_iter()
        .chain(linked)
        .collect()
}

fn devices() -> Vec<PathBuf> {
    let is_listed = |name: &str| DEVICES.iter().any(|listed| name.starts_with(listed));
    let entries = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir("/dev")?.flatten();
        let listed = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_listed));
        Ok(listed.map(|entry| entry.path()).collect())
    };
    entries().unwrap_or_else(|_| vec![PathBuf::from("/dev/null")])
}

/// A worker that is to run out of memory makes a control group for it.
fn for_faults(created: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
    if cfg!(feature = "faults") {
        return allow(created, Path::new("/sys/fs/cgroup"), in_data());
    }
    Ok(created)
}
