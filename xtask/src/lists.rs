//! Rules about lists: what lies in a folder is in the folder's list.

use std::{fs, io, path::Path};

use crate::{CRATES, files};

/// What the members of a listed folder are.
#[derive(Clone, Copy, PartialEq)]
enum Members {
    /// Its files.
    Files,
    /// Its folders; files beside them are what they share.
    Folders,
}

/// A folder whose every member is one of a kind, what the members are, and the file with the list of them.
const LISTED: [(&str, Members, &str); 2] = [
    (
        "engine/src/families",
        Members::Folders,
        "engine/src/families/mod.rs",
    ),
    ("cli/src/verbs", Members::Files, "cli/src/verbs/mod.rs"),
];

/// Where the samplers are, one file each, named as a request names them.
const SAMPLERS: &str = "engine/src/sampling";

/// Source files that no module declares, so that the compiler never sees them.
pub fn no_orphans(root: &Path) -> io::Result<Vec<String>> {
    let mut broken = Vec::new();
    for folder in CRATES {
        for file in files(root, &format!("{folder}/src"), "rs")? {
            let (Some(stem), Some(parent)) = (stem(&file), file.parent()) else {
                continue;
            };
            // `a/mod.rs` is declared beside `a/`, `a/b.rs` in `a/mod.rs`, `a.rs` or the crate's root
            let (name, home) = match stem {
                "lib" | "main" => continue,
                "mod" => (
                    parent.file_name().and_then(|name| name.to_str()),
                    parent.parent(),
                ),
                stem => (Some(stem), Some(parent)),
            };
            let (Some(name), Some(home)) = (name, home) else {
                continue;
            };
            if home.ends_with("src/bin") {
                continue;
            }
            let declaration = format!("mod {name};");
            let homes = [
                home.join("mod.rs"),
                home.join("lib.rs"),
                home.join("main.rs"),
                home.with_extension("rs"),
            ];
            // a module may also be declared under another name, by its path: `#[path = "name_tests.rs"]`
            let by_path = format!("\"{name}.rs\"");
            let siblings = files(root, &home.to_string_lossy(), "rs")?;
            let declared = homes
                .iter()
                .any(|home| contains(&root.join(home), &declaration))
                || siblings
                    .iter()
                    .any(|file| contains(&root.join(file), &by_path));
            if !declared {
                broken.push(format!("{} is in no module", file.display()));
            }
        }
    }
    Ok(broken)
}

/// Files of listed folders that the list does not use.
pub fn listed(root: &Path) -> io::Result<Vec<String>> {
    let mut broken = Vec::new();
    for (folder, members, list) in LISTED {
        if !root.join(list).is_file() {
            broken.push(format!("{list}, the list of {folder}, does not exist"));
            continue;
        }
        let text = fs::read_to_string(root.join(list))?;
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path.is_dir() != (members == Members::Folders) {
                continue;
            }
            let Some(name) = stem(&path).filter(|name| *name != "mod" && *name != "tests") else {
                continue;
            };
            let declared = text.contains(&format!("mod {name};"));
            if !declared || !text.contains(&format!("{name}::")) {
                broken.push(format!("`{name}` of {folder} is not in the list in {list}"));
            }
        }
    }
    Ok(broken)
}

/// Solvers without a line in the list of samplers, and lines without a file.
pub fn samplers(root: &Path) -> io::Result<Vec<String>> {
    let list = fs::read_to_string(root.join(SAMPLERS).join("mod.rs"))?;
    let plan = fs::read_to_string(root.join(SAMPLERS).join("plan.rs"))?;
    let names: Vec<&str> = list
        .split("info(\"")
        .skip(1)
        .filter_map(|line| line.split('"').next())
        .collect();
    let mut broken = Vec::new();
    if names.is_empty() {
        broken.push(format!("{SAMPLERS}/mod.rs has no list of samplers"));
    }
    for name in &names {
        if !root.join(SAMPLERS).join(format!("{name}.rs")).is_file() {
            broken.push(format!("sampler `{name}` has no file {SAMPLERS}/{name}.rs"));
        }
    }
    for file in files(root, SAMPLERS, "rs")? {
        let Some(name) = stem(&file) else { continue };
        let is_solver = contains(&root.join(&file), "impl Solver for");
        if is_solver && file.parent() == Some(Path::new(SAMPLERS)) {
            if !names.contains(&name) {
                broken.push(format!(
                    "{} is not in the list in {SAMPLERS}/mod.rs",
                    file.display()
                ));
            }
            if !plan.contains(&format!("{name}::")) {
                broken.push(format!(
                    "{} is not used in {SAMPLERS}/plan.rs",
                    file.display()
                ));
            }
        }
    }
    Ok(broken)
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}

fn contains(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}
