//! What an installation is for launchd: agents in the user's folder, and the calls that load them. Not run on macOS yet;
//! what it writes is checked on every system.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Places,
    at::At,
    invocation::Invocation,
    marked::Marked,
    named::{Batch, no_home},
    setup::{Part, Plan, Removal, Setup},
};
use crate::failure::Failure;

/// The daemon's agent.
pub(super) const LABEL: &str = "dev.imgd.imgd";
/// How agents of batches begin.
const BATCH_LABEL: &str = "dev.imgd.batch.";

const AGENT: &str = include_str!("../../../../launchd/dev.imgd.imgd.plist");
const BATCH_AGENT: &str = include_str!("../../../../launchd/dev.imgd.batch.plist");

/// When the agent of a batch starts, as the repository has it.
const TIMES: &str = "\t<array>\n\t\t<dict>\n\t\t\t<key>Hour</key>\n\t\t\t<integer>3</integer>\n\t\t\t<key>Minute</key>\n\
                     \t\t\t<integer>0</integer>\n\t\t</dict>\n\t</array>\n";

/// What is written and run to install, for the user of that number.
pub(super) fn install(setup: &Setup, uid: u32) -> Result<Plan, Failure> {
    let home = setup.places.home.as_deref().ok_or_else(no_home)?;
    let agents = folder(home);
    let mut plan = Plan {
        // launchd makes the socket and not its folder, which must be the user's alone.
        folders: vec![
            home.join("Library/Caches/imgd/run"),
            home.join("Library/Logs"),
        ],
        ..Plan::default()
    };
    let mut add = |label: &str, text: String| {
        let path = agents.join(format!("{label}.plist"));
        let bootstrap = [
            OsString::from("bootstrap"),
            domain(uid).into(),
            path.clone().into(),
        ];
        plan.parts.push(Part {
            files: vec![Marked { path, text }],
            check: print(uid, label),
            stop: bootout(uid, label),
            start: Invocation::new("launchctl", bootstrap),
            may_repeat: false,
        });
    };
    add(LABEL, agent(home, &setup.imgd));
    if let Some(batch) = &setup.batch {
        let label = batch_label(batch.name.as_str());
        add(&label, batch_agent(home, &setup.imgctl, batch));
        plan.folders.push(batch.pictures.clone());
    }
    Ok(plan)
}

/// What is stopped and removed. `batch`: that one alone.
pub(super) fn uninstall(
    places: &Places,
    uid: u32,
    batch: Option<&str>,
) -> Result<Removal, Failure> {
    let home = places.home.as_deref().ok_or_else(no_home)?;
    let agents = folder(home);
    let names = match batch {
        Some(name) => vec![name.to_owned()],
        None => batches(home),
    };
    let mut labels: Vec<_> = names.iter().map(|name| batch_label(name)).collect();
    if batch.is_none() {
        labels.push(LABEL.to_owned());
    }
    Ok(Removal {
        stop: labels.iter().map(|label| bootout(uid, label)).collect(),
        files: labels
            .iter()
            .map(|label| agents.join(format!("{label}.plist")))
            .collect(),
        reload: None,
    })
}

/// Asks launchd for what it knows of the daemon's agent.
pub(super) fn print(uid: u32, label: &str) -> Invocation {
    let target = format!("{}/{label}", domain(uid));
    Invocation::new("launchctl", ["print".to_owned(), target])
}

/// Label of a batch's agent.
pub(super) fn batch_label(name: &str) -> String {
    format!("{BATCH_LABEL}{name}")
}

/// Names of the batches that have an agent.
pub(super) fn batches(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder(home)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_prefix(BATCH_LABEL)?.strip_suffix(".plist")?;
            (!name.is_empty()).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// The file of an agent.
pub(super) fn file(home: &Path, label: &str) -> PathBuf {
    folder(home).join(format!("{label}.plist"))
}

/// The file that the daemon's agent logs to.
pub(super) fn log(home: &Path) -> PathBuf {
    home.join("Library/Logs/imgd.log")
}

/// The file that the agents of batches log to.
pub(super) fn batch_log(home: &Path) -> PathBuf {
    home.join("Library/Logs/imgd-batch.log")
}

fn folder(home: &Path) -> PathBuf {
    home.join("Library/LaunchAgents")
}

fn domain(uid: u32) -> String {
    format!("gui/{uid}")
}

fn bootout(uid: u32, label: &str) -> Invocation {
    let target = format!("{}/{label}", domain(uid));
    Invocation::new("launchctl", ["bootout".to_owned(), target])
}

fn agent(home: &Path, imgd: &Path) -> String {
    AGENT
        .replace("@HOME@/.local/bin/imgd<", &format!("{}<", escaped(imgd)))
        .replace("@HOME@", &escaped(home))
}

fn batch_agent(home: &Path, imgctl: &Path, batch: &Batch) -> String {
    let prompts = "@HOME@/Library/Application Support/imgd/batch/@NAME@.txt";
    BATCH_AGENT
        .replace(
            "@HOME@/.local/bin/imgctl<",
            &format!("{}<", escaped(imgctl)),
        )
        .replace(prompts, &escaped(&batch.prompts))
        .replace("@HOME@/Pictures/imgd/@NAME@", &escaped(&batch.pictures))
        .replace("@HOME@", &escaped(home))
        .replace("@NAME@", batch.name.as_str())
        .replace(TIMES, &times(&batch.at))
}

/// A moment of the week for each day, or one of the day.
fn times(at: &At) -> String {
    let number = |key: &str, value: u8| {
        format!("\t\t\t<key>{key}</key>\n\t\t\t<integer>{value}</integer>\n")
    };
    let moment = |day: Option<u8>| {
        let day = day.map(|day| number("Weekday", day)).unwrap_or_default();
        let (hour, minute) = (number("Hour", at.hour), number("Minute", at.minute));
        format!("\t\t<dict>\n{day}{hour}{minute}\t\t</dict>\n")
    };
    let moments: String = match at.days.is_empty() {
        true => moment(None),
        false => at.days.iter().map(|day| moment(Some(*day))).collect(),
    };
    format!("\t<array>\n{moments}\t</array>\n")
}

/// A path as text of an XML element.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use plist::{Dictionary, Value};

    use super::*;
    use crate::verbs::service::named::Name;

    fn setup() -> Setup {
        Setup {
            places: Places {
                home: Some(PathBuf::from("/Users/ann & <bob>")),
                ..Places::default()
            },
            imgd: PathBuf::from("/opt/homebrew/bin/imgd"),
            imgctl: PathBuf::from("/opt/homebrew/bin/imgctl"),
            batch: Some(Batch {
                name: Name::parse("night").unwrap(),
                at: "sat,sun 22:30".parse().unwrap(),
                prompts: PathBuf::from(
                    "/Users/ann & <bob>/Library/Application Support/imgd/batch/night.csv",
                ),
                pictures: PathBuf::from("/Users/ann & <bob>/Pictures/imgd/night"),
            }),
        }
    }

    /// The file as launchd would read it.
    fn read(file: &Marked) -> Dictionary {
        let value = Value::from_reader_xml(file.whole().as_bytes()).unwrap();
        value.into_dictionary().unwrap()
    }

    fn words(agent: &Dictionary) -> Vec<String> {
        let array = agent["ProgramArguments"].as_array().unwrap();
        let word = |value: &Value| value.as_string().unwrap().to_owned();
        array.iter().map(word).collect()
    }

    /// What is left of the repository's placeholders.
    fn is_filled_in(file: &Marked) -> bool {
        !file.text.contains("@HOME@") && !file.text.contains("@NAME@")
    }

    #[test]
    fn the_agent_has_the_program_the_socket_and_the_log_of_this_user() {
        let plan = install(&setup(), 501).unwrap();
        let home = "/Users/ann & <bob>";
        let file = &plan.parts[0].files[0];
        assert!(is_filled_in(file));
        assert_eq!(
            file.path,
            Path::new(home).join("Library/LaunchAgents/dev.imgd.imgd.plist")
        );
        let agent = read(file);
        assert_eq!(words(&agent), ["/opt/homebrew/bin/imgd"]);
        let socket = agent["Sockets"].as_dictionary().unwrap()["imgd"]
            .as_dictionary()
            .unwrap();
        let path = socket["SockPathName"].as_string().unwrap();
        assert_eq!(path, format!("{home}/Library/Caches/imgd/run/imgd.sock"));
        assert_eq!(plan.folders[0], Path::new(path).parent().unwrap());
        let log_file = agent["StandardErrorPath"].as_string().unwrap();
        assert_eq!(Path::new(log_file), log(Path::new(home)));
        assert_eq!(
            plan.parts[0].start.words(),
            [
                "launchctl",
                "bootstrap",
                "gui/501",
                file.path.to_str().unwrap()
            ]
        );
        assert_eq!(
            plan.parts[0].stop.words(),
            ["launchctl", "bootout", "gui/501/dev.imgd.imgd"]
        );
    }

    #[test]
    fn a_batch_has_its_times_its_files_and_the_background() {
        let setup = setup();
        let plan = install(&setup, 501).unwrap();
        let file = &plan.parts[1].files[0];
        assert!(is_filled_in(file));
        let agent = read(file);
        assert_eq!(agent["Label"].as_string(), Some("dev.imgd.batch.night"));
        assert_eq!(agent["ProcessType"].as_string(), Some("Background"));
        assert_eq!(agent["LowPriorityIO"].as_boolean(), Some(true));
        let batch = setup.batch.unwrap();
        let (prompts, pictures) = (
            batch.prompts.to_str().unwrap(),
            batch.pictures.to_str().unwrap(),
        );
        assert_eq!(
            words(&agent),
            [
                "/opt/homebrew/bin/imgctl",
                "--quiet",
                "batch",
                prompts,
                "-o",
                pictures,
                "--priority",
                "background"
            ]
        );
        let moments = agent["StartCalendarInterval"].as_array().unwrap();
        let number = |moment: &Value, key: &str| {
            moment
                .as_dictionary()
                .unwrap()
                .get(key)
                .and_then(Value::as_signed_integer)
        };
        let read: Vec<_> = moments
            .iter()
            .map(|moment| ["Weekday", "Hour", "Minute"].map(|key| number(moment, key)))
            .collect();
        assert_eq!(
            read,
            [[Some(0), Some(22), Some(30)], [Some(6), Some(22), Some(30)]]
        );
    }

    #[test]
    fn a_batch_of_every_day_names_no_day() {
        let mut setup = setup();
        if let Some(batch) = &mut setup.batch {
            batch.at = "04:05".parse().unwrap();
        }
        let plan = install(&setup, 501).unwrap();
        let agent = read(&plan.parts[1].files[0]);
        let moments = agent["StartCalendarInterval"].as_array().unwrap();
        let moment = moments[0].as_dictionary().unwrap();
        assert_eq!((moments.len(), moment.len()), (1, 2));
        assert_eq!(moment["Hour"].as_signed_integer(), Some(4));
    }

    #[test]
    fn batches_are_found_by_their_agents() {
        let home = tempfile::tempdir().unwrap();
        let agents = folder(home.path());
        fs::create_dir_all(&agents).unwrap();
        for name in [
            "dev.imgd.imgd.plist",
            "dev.imgd.batch.night.plist",
            "com.apple.x.plist",
        ] {
            fs::write(agents.join(name), "").unwrap();
        }
        assert_eq!(batches(home.path()), ["night"]);
        let places = Places {
            home: Some(home.path().to_owned()),
            ..Places::default()
        };
        let removal = uninstall(&places, 501, None).unwrap();
        assert_eq!(removal.files.len(), 2);
        assert_eq!(
            removal.stop[0].words(),
            ["launchctl", "bootout", "gui/501/dev.imgd.batch.night"]
        );
    }
}
