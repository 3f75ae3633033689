//! What a built program contains of others: who wrote it, under which licence, and the licences' texts. Packages of the
//! programs hold it, as most of these licences ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use serde_json::Value;

use crate::metadata::Metadata;

/// The programs that packages hold.
const PROGRAMS: [&str; 2] = ["imgctl", "imgd"];

/// Files of a crate that hold a licence or what goes with it, by the beginnings of their names.
const FILES: [&str; 6] = [
    "licen",
    "copying",
    "copyright",
    "notice",
    "unlicense",
    "unicode",
];

/// The document: every foreign crate in the programs, then every text once, with the crates whose it is.
///
/// Fails when Cargo does, or when a crate that is needed was never fetched.
pub fn notices(root: &Path) -> io::Result<String> {
    let metadata = Metadata::read(root)?;
    let inside = inside(&metadata);
    let mut list = String::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata.packages() {
        let id = package["id"].as_str().unwrap_or_default();
        if package["source"].is_null() || !inside.contains(id) {
            continue;
        }
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let crate_name = format!("{} {}", field("name"), field("version"));
        list += &format!("{crate_name}: {}\n", licence(package));
        list += &format!(
            "    https://crates.io/crates/{}/{}\n",
            field("name"),
            field("version")
        );
        let folder = Path::new(field("manifest_path")).parent();
        for text in texts_in(folder.unwrap_or(root))? {
            texts.entry(text).or_default().insert(crate_name.clone());
        }
    }
    let mut document = format!(
        "imgd and imgctl contain the crates below. Their sources are at the addresses given; their licences follow.\n\n{list}"
    );
    let mut by_crate: Vec<_> = texts.iter().map(|(text, crates)| (crates, text)).collect();
    by_crate.sort();
    for (crates, text) in by_crate {
        let crates: Vec<&str> = crates.iter().map(String::as_str).collect();
        let rule = "-".repeat(78);
        document += &format!("\n{rule}\n{}\n{rule}\n\n{text}\n", crates.join(", "));
    }
    Ok(document)
}

/// Ids of the programs' crates and of all that they are built from; not of what only builds or tests them.
fn inside(metadata: &Metadata) -> BTreeSet<&str> {
    let names = metadata.names();
    let programs = names
        .iter()
        .filter(|(_, (name, ours))| *ours && PROGRAMS.contains(name));
    let mut open: Vec<&str> = programs.map(|(id, _)| *id).collect();
    let mut inside: BTreeSet<&str> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        for needed in metadata.linked(id) {
            if inside.insert(needed) {
                open.push(needed);
            }
        }
    }
    inside
}

fn licence(package: &Value) -> String {
    let named = package["license"].as_str().map(str::to_owned);
    let in_file = || {
        let file = package["license_file"].as_str()?;
        Some(format!("see its {file} below"))
    };
    named
        .or_else(in_file)
        .unwrap_or_else(|| "not said".to_owned())
}

/// Texts of the licences that lie beside a crate's manifest. Of MIT and Apache-2.0, which are offered together, MIT's: it
/// is the one these programs are passed on under.
fn texts_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        if path.is_file() && FILES.iter().any(|file| name.starts_with(file)) {
            found.push((name, path));
        }
    }
    found.sort();
    if found.iter().any(|(name, _)| name.contains("mit")) {
        found.retain(|(name, _)| !name.contains("apache"));
    }
    let read = |(_, path): &(String, _)| {
        let text = String::from_utf8_lossy(&fs::read(path)?).replace("\r\n", "\n");
        Ok(text.trim().to_owned())
    };
    found.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::notices;
    use crate::root;

    #[test]
    fn every_foreign_crate_of_the_programs_has_a_line_and_most_a_text() {
        let document = notices(&root()).unwrap();
        let (list, texts) = document.split_once("\n----").unwrap();
        // in both programs, in one, and a library under the LGPL, which asks for it
        for name in ["clap 4", "candle-core 0", "viuer 0", "ansi_colours 1"] {
            assert!(list.contains(&format!("\n{name}")), "{name}");
        }
        assert!(
            list.contains(": LGPL-3.0-or-later\n")
                && texts.contains("GNU LESSER GENERAL PUBLIC LICENSE")
        );
        // what only tests or builds them is in no program
        assert!(!list.contains("\nproptest ") && !list.contains("\nprotox "));
        // ours are no one else's
        assert!(!list.contains("\nimgd"));
    }
}
