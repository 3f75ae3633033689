//! What is not read, and how the user is told: pickle files, single files, directories that are no model.

use std::path::Path;

use super::source::Source;
use crate::{Error, ErrorKind, Result};

/// Suffixes of weights that are pickle, or may be.
const PICKLE_SUFFIXES: &[&str] = &["bin", "ckpt", "pt", "pth", "pkl", "pickle"];

const WHY_NOT_PICKLE: &str =
    "pickle files can run any code when they are opened, so imgd never opens them";
const LOOK_FOR_SAFETENSORS: &str = "look for the same model in safetensors format, as files that end in \
    `.safetensors`; most models on the Hugging Face hub have them beside the pickle files";

/// Whether the file name says that it holds a pickle.
pub(super) fn is_pickle_name(path: &Path) -> bool {
    let suffix = path
        .extension()
        .and_then(|suffix| suffix.to_str())
        .unwrap_or_default();
    PICKLE_SUFFIXES
        .iter()
        .any(|pickle| suffix.eq_ignore_ascii_case(pickle))
}

/// Fails when the first bytes of a file that should be safetensors are those of another kind of file.
pub(super) fn check_magic(name: &str, start: &[u8]) -> Result<()> {
    // Torch saves a zip archive of pickles; before 1.6 it saved a bare pickle. Both lengths read as headers are over
    // the limit, so no real header is refused here: a pickle's opcode 2 to 5 is followed by another opcode.
    let zip = start.starts_with(b"PK\x03\x04");
    let pickle = matches!(start, [0x80, 2..=5, next, ..] if *next != 0);
    if zip || pickle {
        return Err(Error::model(format!(
            "`{name}` is a pickle or zip file under a safetensors name; {WHY_NOT_PICKLE}"
        ))
        .with_hint(LOOK_FOR_SAFETENSORS));
    }
    if start.starts_with(b"version ") {
        return Err(Error::model(format!(
            "`{name}` is a git-lfs pointer, not the weights themselves"
        ))
        .with_hint("run `git lfs pull` in the model's repository"));
    }
    if start.starts_with(b"<!") || start.starts_with(b"<html") {
        return Err(Error::model(format!("`{name}` is a web page, not weights"))
            .with_hint("download the file again"));
    }
    Ok(())
}

/// The failure for a component without safetensors: says so when pickle weights lie in its place.
pub(super) fn no_weights(source: &Source, component: &str, looked_for: &str) -> Error {
    let pickle = match source {
        Source::Directory(root) => file_in(&root.join(component), is_pickle_name),
        Source::Embedded(_) | Source::SingleFile { .. } | Source::WithParts { .. } => None,
    };
    match pickle {
        Some(file) => Error::model(format!(
            "the model has no `{}`, only the pickle file `{component}/{file}`; {WHY_NOT_PICKLE}",
            source.full_name(looked_for)
        ))
        .with_hint(LOOK_FOR_SAFETENSORS),
        None => source.missing(looked_for),
    }
}

/// The failure for a path that is a file.
pub(super) fn not_a_directory(path: &Path) -> Error {
    let name = path.display();
    if is_pickle_name(path) {
        return Error::model(format!("`{name}` is a pickle file; {WHY_NOT_PICKLE}"))
            .with_hint("give a safetensors file, or a diffusers directory with safetensors files");
    }
    Error::model(format!("`{name}` is a file, not a diffusers directory"))
        .with_hint("give the directory that holds `model_index.json`")
}

/// The failure for a directory without `model_index.json`.
pub(super) fn not_diffusers(path: &Path) -> Error {
    let name = path.display();
    let looked = format!("`{name}` is not a diffusers directory: it has no `model_index.json`");
    let is_safetensors = |file: &Path| {
        file.extension()
            .is_some_and(|suffix| suffix == "safetensors")
    };
    if let Some(file) = file_in(path, is_safetensors) {
        return Error::model(format!("{looked}, only files such as `{file}`"))
            .with_hint("give the path of the file itself, or of a directory in diffusers' layout");
    }
    if let Some(file) = file_in(path, is_pickle_name) {
        return Error::model(format!(
            "{looked}, only files such as `{file}`; {WHY_NOT_PICKLE}"
        ))
        .with_hint(LOOK_FOR_SAFETENSORS);
    }
    Error::new(ErrorKind::NotFound, looked)
        .with_hint("give the directory that holds `model_index.json`; in a download cache it is below `snapshots`")
}

/// The first file, in order of names, of the directory that fits.
fn file_in(directory: &Path, fits: impl Fn(&Path) -> bool) -> Option<String> {
    files_in(directory, fits).into_iter().min()
}

/// The names of the directory's files that fit.
pub(super) fn files_in(directory: &Path, fits: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries
        .take(10_000)
        .filter_map(|entry| entry.ok())
        .filter(|entry| fits(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
