//! ComfyUI's `extra_model_paths.yaml`: sections, each with a `base_path` and folders by their kind.
//!
//! The file is read as far as such files go, and refused beyond: no anchors, nothing deeper than a list of folders, few and
//! short texts. Source: ComfyUI `utils/extra_config.py`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use saphyr_parser::{Event, Parser};

use super::{Found, layout};

/// What ComfyUI calls the file.
pub(super) const FILE: &str = "extra_model_paths.yaml";

const MOST_BYTES: u64 = 64 << 10;
const MOST_TEXTS: usize = 2_000;
const LONGEST: usize = 4_096;
/// A section's folder in a list.
const DEEPEST: usize = 3;

const APP: &str = "ComfyUI";

/// A value, and the keys that lead to it.
type Line = (Vec<String>, String);

/// The folders that the file names.
pub(super) fn folders(file: &Path, home: Option<&Path>, found: &mut Found) {
    let lines = match lines(file) {
        Ok(lines) => lines,
        Err(why) => return found.troubles.push(why),
    };
    let here = file.parent().unwrap_or(Path::new("/"));
    for (keys, value) in &lines {
        let [section, name] = keys.as_slice() else {
            continue;
        };
        let Some(kind) = layout::kind(name) else {
            continue;
        };
        let is_base =
            |(keys, _): &&Line| keys.len() == 2 && keys[0] == *section && keys[1] == "base_path";
        let base = match lines.iter().find(is_base) {
            Some((_, base)) => match expanded(base, home) {
                Ok(base) => here.join(base),
                Err(why) => {
                    found
                        .troubles
                        .push(format!("{}: `{section}`: {why}", file.display()));
                    continue;
                }
            },
            None => here.to_owned(),
        };
        for folder in value
            .lines()
            .map(str::trim)
            .filter(|folder| !folder.is_empty())
        {
            let path = base.join(folder);
            if path.parent().is_none() || Some(path.as_path()) == home {
                let why = format!("{}: `{section}`: {folder} is too wide", file.display());
                found.troubles.push(why);
            } else if !path.is_dir() {
                let why = format!(
                    "{}: `{section}`: there is no folder {}",
                    file.display(),
                    path.display()
                );
                found.troubles.push(why);
            } else {
                found.add(APP, kind, &path);
            }
        }
    }
}

/// The value of a key that stands in no section; none where the file is not there.
pub(super) fn setting(file: &Path, key: &str) -> Result<Option<String>, String> {
    if !file.is_file() {
        return Ok(None);
    }
    let mut lines = lines(file)?.into_iter();
    let found = lines.find(|(keys, _)| matches!(keys.as_slice(), [only] if only == key));
    Ok(found
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty()))
}

/// Every value of the file. A list is its values under one key.
fn lines(file: &Path) -> Result<Vec<Line>, String> {
    let failed = |why: &str| format!("cannot read {}: {why}", file.display());
    let mut text = String::new();
    // One byte more, to see that there is more.
    let read =
        File::open(file).and_then(|open| open.take(MOST_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > MOST_BYTES => Err(failed("it is larger than 64 KiB")),
        Ok(_) => parse(&text).map_err(|why| failed(&why)),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// A mapping or list that is open.
enum Open {
    /// A mapping, and the key whose value comes next.
    Mapping(Option<String>),
    List,
}

fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut lines = Vec::new();
    let mut texts = 0;
    for event in Parser::new_from_str(text) {
        let (event, place) = event.map_err(|error| error.to_string())?;
        let line = place.start.line();
        match event {
            Event::Scalar(value, _, anchor, _) => {
                texts += 1;
                if anchor != 0 || value.len() > LONGEST || texts > MOST_TEXTS {
                    return Err(format!("line {line} is more than a file of folders has"));
                }
                match open.last_mut() {
                    Some(Open::Mapping(key @ None)) => *key = Some(value.into_owned()),
                    Some(_) => {
                        lines.push((keys(&open), value.into_owned()));
                        value_ended(&mut open);
                    }
                    None => return Err(format!("line {line} is in no section")),
                }
            }
            Event::MappingStart(anchor, _) | Event::SequenceStart(anchor, _)
                if anchor != 0
                    || open.len() == DEEPEST
                    || matches!(open.last(), Some(Open::Mapping(None))) =>
            {
                return Err(format!("line {line} is more than a file of folders has"));
            }
            Event::MappingStart(..) => open.push(Open::Mapping(None)),
            Event::SequenceStart(..) => open.push(Open::List),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                value_ended(&mut open);
            }
            Event::Alias(_) => return Err(format!("line {line} repeats another one")),
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }
    Ok(lines)
}

/// The keys that lead to the value that comes next.
fn keys(open: &[Open]) -> Vec<String> {
    let key = |open: &Open| match open {
        Open::Mapping(key) => key.clone(),
        Open::List => None,
    };
    open.iter().filter_map(key).collect()
}

/// What comes next in a mapping is a key.
fn value_ended(open: &mut [Open]) {
    if let Some(Open::Mapping(key)) = open.last_mut() {
        *key = None;
    }
}

/// The path with the home directory in the place of `~` and `$HOME`.
fn expanded(path: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let path = path.trim();
    let rest = ["~", "$HOME", "${HOME}"].iter().find_map(|name| {
        let rest = path.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
    });
    match (rest, home) {
        (Some(rest), Some(home)) => Ok(home.join(rest)),
        (None, _) if !path.contains('$') => Ok(PathBuf::from(path)),
        _ => Err(format!("what `{path}` means is known to your shell alone")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AppPlace, Kind, folders as look};
    use super::*;

    /// ComfyUI's own example, in other words.
    const EXAMPLE: &str = "\
# a comment
a1111:
    base_path: stable-diffusion-webui/

    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS
    hypernetworks: models/hypernetworks

#comfyui:
#     base_path: nowhere/
'other ui':
    base_path: \"~/ui\"
    is_default: true
    vae: models/vae/
    diffusion_models: [models/unet, models/more]
empty:
";

    #[test]
    fn sections_name_folders_below_their_base() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        for folder in [
            "stable-diffusion-webui/models/Stable-diffusion",
            "stable-diffusion-webui/models/Lora",
            "home/ui/models/vae",
            "home/ui/models/unet",
            "home/ui/models/more",
        ] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let file = root.path().join(FILE);
        std::fs::write(&file, EXAMPLE).unwrap();
        let found = look(
            &[AppPlace {
                path: file,
                is_named: true,
            }],
            Some(&home),
        );
        let below: Vec<_> = found
            .folders
            .iter()
            .map(|folder| {
                (
                    folder.kind,
                    folder
                        .path
                        .strip_prefix(root.path())
                        .unwrap()
                        .to_str()
                        .unwrap(),
                )
            })
            .collect();
        assert_eq!(
            below,
            [
                (
                    Kind::Model,
                    "stable-diffusion-webui/models/Stable-diffusion"
                ),
                (Kind::Lora, "stable-diffusion-webui/models/Lora"),
                (Kind::Vae, "home/ui/models/vae"),
                (Kind::Model, "home/ui/models/unet"),
                (Kind::Model, "home/ui/models/more"),
            ]
        );
        // The one that is not there is told.
        assert_eq!(found.troubles.len(), 1);
        assert!(
            found.troubles[0].contains("LyCORIS"),
            "{:?}",
            found.troubles
        );
    }

    #[test]
    fn what_is_no_such_file_is_refused_and_never_grows() {
        let deep = format!("a:{}x", " [".repeat(2_000));
        let many: String = (0..2_001).map(|line| format!("k{line}:\n")).collect();
        let long = format!("a: {}", "x".repeat(5_000));
        for bad in [
            "a: &x [1]\nb: *x\n",
            "a:\n  b: &x c\n",
            "a: *nobody\n",
            "a:\n  b:\n    c:\n      d: e\n",
            "? [a]\n: b\n",
            "- a\n",
            "just words",
            "a: 'open",
            deep.as_str(),
            many.as_str(),
            long.as_str(),
        ] {
            let short: String = bad.chars().take(30).collect();
            let parsed = parse(bad);
            let is_harmless = parsed
                .as_ref()
                .is_ok_and(|lines| lines.iter().all(|(keys, _)| keys.is_empty()));
            assert!(parsed.is_err() || is_harmless, "{short}: {parsed:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, "#".repeat(70_000)).unwrap();
        assert!(lines(&file).unwrap_err().contains("64 KiB"));
        std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert!(lines(&file).is_err());
    }

    #[test]
    fn paths_may_lead_anywhere_but_to_everything() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("elsewhere")).unwrap();
        std::fs::create_dir_all(root.path().join("here")).unwrap();
        let file = root.path().join("here").join(FILE);
        let text =
            "a:\n  checkpoints: ../elsewhere\n  loras: /\nb:\n  base_path: $NOWHERE/x\n  vae: y\n";
        std::fs::write(&file, text).unwrap();
        let found = look(
            &[AppPlace {
                path: file,
                is_named: true,
            }],
            None,
        );
        assert_eq!(found.folders.len(), 1);
        assert!(found.folders[0].path.ends_with("here/../elsewhere"));
        assert_eq!(found.troubles.len(), 2, "{:?}", found.troubles);
    }
}
