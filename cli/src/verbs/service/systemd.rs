//! What an installation is for systemd: unit files in the user's folder, and the calls that put them in force.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Places,
    at::At,
    invocation::Invocation,
    marked::Marked,
    named::{self, Batch},
    setup::{Part, Plan, Removal, Setup},
};
use crate::failure::Failure;

/// The socket's unit.
pub(super) const SOCKET: &str = "imgd.socket";
/// The daemon's unit.
pub(super) const SERVICE: &str = "imgd.service";

/// The units as the repository has them, and the program that each names.
const UNITS: [(&str, &str); 2] = [
    (SOCKET, include_str!("../../../../systemd/imgd.socket")),
    (SERVICE, include_str!("../../../../systemd/imgd.service")),
];
const BATCH_UNITS: [(&str, &str); 2] = [
    (
        "imgd-batch@.service",
        include_str!("../../../../systemd/imgd-batch@.service"),
    ),
    (
        "imgd-batch@.timer",
        include_str!("../../../../systemd/imgd-batch@.timer"),
    ),
];

/// Where the units say that the programs are.
const IMGD: &str = "%h/.local/bin/imgd\n";
const IMGCTL: &str = "%h/.local/bin/imgctl ";

/// Name of the drop-ins that say what a batch has for itself.
const DROP_IN: &str = "imgctl.conf";

/// Where packages and administrators put units.
const PACKAGED: [&str; 4] = [
    "/etc/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
];

/// The folder of the user's own units.
pub(super) fn folder(places: &Places) -> Result<PathBuf, Failure> {
    let config = named::config_home(places).ok_or_else(named::no_home)?;
    Ok(config.join("systemd/user"))
}

/// What is written and run to install; `packaged` holds folders in which a package's units may lie, which are only put in
/// force.
pub(super) fn install(setup: &Setup, packaged: &[PathBuf]) -> Result<Plan, Failure> {
    let folder = folder(&setup.places)?;
    let mut plan = Plan {
        reload: Some(systemctl(["daemon-reload"])),
        ..Plan::default()
    };
    let mut daemon = part(SOCKET, systemctl(["stop", SERVICE, SOCKET]));
    if !has_units(packaged, SERVICE, &setup.imgd) {
        daemon.files.extend(units(&UNITS, &folder, setup));
    }
    plan.parts.push(daemon);
    if let Some(batch) = &setup.batch {
        let timer = timer(batch.name.as_str());
        let mut night = part(&timer, systemctl(["stop", &timer]));
        if !has_units(packaged, "imgd-batch@.service", &setup.imgctl) {
            night.files.extend(units(&BATCH_UNITS, &folder, setup));
        }
        night.files.extend(drop_ins(batch, &folder, &setup.imgctl));
        plan.folders.push(batch.pictures.clone());
        plan.parts.push(night);
    }
    Ok(plan)
}

fn part(unit: &str, stop: Invocation) -> Part {
    Part {
        files: Vec::new(),
        check: systemctl(["is-active", "--quiet", unit]),
        stop,
        start: systemctl(["enable", "--now", unit]),
        may_repeat: true,
    }
}

/// What is stopped and removed. `batch`: that one alone.
pub(super) fn uninstall(places: &Places, batch: Option<&str>) -> Result<Removal, Failure> {
    let folder = folder(places)?;
    let names = match batch {
        Some(name) => vec![name.to_owned()],
        None => batches(&folder),
    };
    let timers: Vec<_> = names.iter().map(|name| timer(name)).collect();
    let mut removal = Removal {
        reload: Some(systemctl(["daemon-reload"])),
        ..Removal::default()
    };
    for timer in &timers {
        removal
            .stop
            .push(systemctl(["disable", "--now", timer.as_str()]));
    }
    for name in &names {
        removal.files.push(drop_in(&folder, &timer(name)));
        removal
            .files
            .push(drop_in(&folder, &format!("imgd-batch@{name}.service")));
    }
    if batch.is_none() {
        removal.stop.push(systemctl(["disable", "--now", SOCKET]));
        removal.stop.push(systemctl(["stop", SERVICE]));
        let all = UNITS.iter().chain(&BATCH_UNITS);
        removal.files.extend(all.map(|(name, _)| folder.join(name)));
    }
    Ok(removal)
}

/// The folders that packages have on this machine.
pub(super) fn packaged() -> Vec<PathBuf> {
    PACKAGED.iter().map(PathBuf::from).collect()
}

/// `systemctl --user` with these arguments.
pub(super) fn systemctl<const N: usize>(arguments: [&str; N]) -> Invocation {
    Invocation::new("systemctl", ["--user"].into_iter().chain(arguments))
}

/// Names of the batches that have a timer in the user's folder.
pub(super) fn batches(folder: &Path) -> Vec<String> {
    let wanted = folder.join("timers.target.wants");
    let mut names: Vec<_> = [folder, &wanted]
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".d").unwrap_or(&name);
            let name = name.strip_prefix("imgd-batch@")?.strip_suffix(".timer")?;
            (!name.is_empty()).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn timer(name: &str) -> String {
    format!("imgd-batch@{name}.timer")
}

fn drop_in(folder: &Path, unit: &str) -> PathBuf {
    folder.join(format!("{unit}.d")).join(DROP_IN)
}

/// Whether a package's unit is there that runs this very program. A program that was built by hand beside a package gets
/// units of its own, which are stronger.
fn has_units(folders: &[PathBuf], service: &str, program: &Path) -> bool {
    let runs = |text: String| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let named = line.and_then(|line| line.split_whitespace().next().map(PathBuf::from));
        let named = named.and_then(|path| path.canonicalize().ok());
        named.is_some() && named == program.canonicalize().ok()
    };
    folders
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join(service)).ok())
        .any(runs)
}

fn units<'a>(
    units: &'a [(&str, &str)],
    folder: &Path,
    setup: &Setup,
) -> impl Iterator<Item = Marked> + use<'a> {
    let imgd = format!("{}\n", quoted(&setup.imgd));
    let imgctl = format!("{} ", quoted(&setup.imgctl));
    let folder = folder.to_owned();
    units.iter().map(move |(name, text)| Marked {
        path: folder.join(name),
        text: text.replace(IMGD, &imgd).replace(IMGCTL, &imgctl),
    })
}

/// A batch's own time, and its file where that is no text.
fn drop_ins(batch: &Batch, folder: &Path, imgctl: &Path) -> Vec<Marked> {
    let name = batch.name.as_str();
    let mut files = vec![Marked {
        path: drop_in(folder, &timer(name)),
        text: time(&batch.at),
    }];
    if batch.ending() != "txt" {
        let (_, service) = BATCH_UNITS[0];
        let (imgctl, ending) = (format!("{} ", quoted(imgctl)), batch.ending());
        let start = service.lines().find(|line| line.starts_with("ExecStart="));
        let start = start
            .unwrap_or_default()
            .replace(IMGCTL, &imgctl)
            .replace("%i.txt", &format!("%i.{ending}"));
        files.push(Marked {
            path: drop_in(folder, &format!("imgd-batch@{name}.service")),
            text: format!(
                "[Unit]\nConditionPathExists=\nConditionPathExists=%E/imgd/batch/%i.{ending}\n\n\
                 [Service]\nExecStart=\n{start}\n"
            ),
        });
    }
    files
}

fn time(at: &At) -> String {
    format!("[Timer]\nOnCalendar=\nOnCalendar={}\n", at.on_calendar())
}

/// A path as a unit's command line has it: specifiers and quotes mean themselves.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    let is_plain = |c: char| c.is_alphanumeric() || "-_./%+~@".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::service::named::Name;

    fn setup(home: &Path) -> Setup {
        Setup {
            places: Places {
                home: Some(home.to_owned()),
                ..Places::default()
            },
            imgd: home.join("my bin/imgd"),
            imgctl: home.join("100%/imgctl"),
            batch: None,
        }
    }

    fn batch(ending: &str) -> Batch {
        Batch {
            name: Name::parse("night").unwrap(),
            at: "sat 22:30".parse().unwrap(),
            prompts: PathBuf::from(format!("/h/.config/imgd/batch/night.{ending}")),
            pictures: PathBuf::from("/h/Pictures/imgd/night"),
        }
    }

    #[test]
    fn units_run_the_programs_that_were_found() {
        let home = Path::new("/home/ann");
        let mut setup = setup(home);
        setup.batch = Some(batch("csv"));
        let plan = install(&setup, &[]).unwrap();
        let text = |name: &str| {
            let path = home.join(".config/systemd/user").join(name);
            let file = plan.files().find(|file| file.path == path);
            file.map(|file| file.text.clone()).unwrap_or_default()
        };
        let has = |name: &str, line: &str| text(name).lines().any(|other| other == line);
        assert!(has("imgd.service", "ExecStart=\"/home/ann/my bin/imgd\""));
        assert!(text("imgd-batch@.service").contains("ExecStart=/home/ann/100%%/imgctl --quiet "));
        assert!(has(
            "imgd-batch@night.timer.d/imgctl.conf",
            "OnCalendar=Sat *-*-* 22:30:00"
        ));
        let own = text("imgd-batch@night.service.d/imgctl.conf");
        assert!(own.contains("batch %E/imgd/batch/%i.csv -o "), "{own}");
        assert!(plan.files().all(|file| !file.text.contains(".local/bin")));
    }

    #[test]
    fn a_text_file_needs_no_command_line_of_its_own() {
        let mut setup = setup(Path::new("/home/ann"));
        setup.batch = Some(batch("txt"));
        let plan = install(&setup, &[]).unwrap();
        let own = |file: &Marked| file.path.to_string_lossy().contains("night.service.d");
        assert!(!plan.files().any(own));
    }

    #[test]
    fn units_of_a_package_are_used_where_they_run_the_same_program() {
        let root = tempfile::tempdir().unwrap();
        let (units, bin) = (root.path().join("units"), root.path().join("my bin"));
        fs::create_dir_all(&units).unwrap();
        fs::create_dir_all(&bin).unwrap();
        let mut setup = setup(root.path());
        fs::write(&setup.imgd, "").unwrap();
        let other = root.path().join("imgd");
        fs::write(&other, "").unwrap();
        let packaged = |program: &Path| {
            let text = format!("[Service]\nExecStart={}\n", program.display());
            fs::write(units.join(SERVICE), text).unwrap();
        };
        packaged(&other);
        let folders = [units.clone()];
        assert_eq!(install(&setup, &folders).unwrap().files().count(), 2);
        setup.imgd = other;
        let plan = install(&setup, &folders).unwrap();
        assert_eq!(plan.files().count(), 0);
        assert_eq!(plan.parts[0].start, systemctl(["enable", "--now", SOCKET]));
    }

    #[test]
    fn only_files_of_ours_are_named_for_removal() {
        let home = tempfile::tempdir().unwrap();
        let setup = setup(home.path());
        let folder = folder(&setup.places).unwrap();
        fs::create_dir_all(folder.join("timers.target.wants")).unwrap();
        fs::create_dir_all(folder.join("imgd-batch@b.timer.d")).unwrap();
        for name in ["imgd-batch@a.timer", "other@x.timer"] {
            fs::write(folder.join("timers.target.wants").join(name), "").unwrap();
        }
        assert_eq!(batches(&folder), ["a", "b"]);
        let removal = uninstall(&setup.places, None).unwrap();
        let is_ours =
            |path: &PathBuf| path.starts_with(&folder) && path.to_string_lossy().contains("imgd");
        assert!(removal.files.iter().all(is_ours));
        let one = uninstall(&setup.places, Some("a")).unwrap();
        assert_eq!(
            one.stop,
            [systemctl(["disable", "--now", "imgd-batch@a.timer"])]
        );
        assert_eq!(one.files.len(), 2);
    }
}
