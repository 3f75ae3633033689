//! What earlier runs have written, in a small file beside the pictures: `.imgctl-batch.jsonl`.
//!
//! A line says that a job was begun, or where one of its pictures is. Lines are only ever added; the last one may be
//! half written when a run was killed, and is passed over then. Without the file nothing is lost but the knowledge of
//! what is there: the daemon still has its jobs, and a picture that is written again is found to be the same.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::failure::Failure;

const NAME: &str = ".imgctl-batch.jsonl";

/// The file and what it says.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: PathBuf,
    jobs: BTreeMap<String, BTreeMap<u32, Written>>,
    file: Option<File>,
}

#[derive(Debug, Clone)]
struct Written {
    path: PathBuf,
    bytes: u64,
}

impl Ledger {
    /// Reads the file in `folder`, if there is one.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(NAME);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(&path, &error)),
        };
        let mut jobs = BTreeMap::<_, BTreeMap<_, _>>::new();
        for entry in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            let Some(id) = entry["request_id"].as_str() else {
                continue;
            };
            let pictures = jobs.entry(id.to_owned()).or_default();
            if let Some((index, written)) = written(&entry) {
                pictures.insert(index, written);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            jobs,
            file: None,
        })
    }

    /// Whether an earlier run has begun that job: the names it chose are its own.
    pub(super) fn has_begun(&self, request_id: &str) -> bool {
        self.jobs.contains_key(request_id)
    }

    /// The pictures of a job that are there still, by index.
    pub(super) fn there(&self, request_id: &str) -> BTreeMap<u32, PathBuf> {
        let pictures = self.jobs.get(request_id).into_iter().flatten();
        pictures
            .map(|(&index, written)| (index, written, self.place(written)))
            .filter(|(_, written, path)| {
                // A device has no length.
                fs::metadata(path).is_ok_and(|file| !file.is_file() || file.len() == written.bytes)
            })
            .map(|(index, _, path)| (index, path))
            .collect()
    }

    fn place(&self, written: &Written) -> PathBuf {
        if self.folder == Path::new(".") {
            written.path.clone()
        } else {
            self.folder.join(&written.path)
        }
    }

    /// Notes that a job is begun.
    pub(super) fn begin(&mut self, request_id: &str) -> Result<(), Failure> {
        if self.has_begun(request_id) {
            return Ok(());
        }
        self.add(&json!({ "request_id": request_id }))?;
        self.jobs.insert(request_id.to_owned(), BTreeMap::new());
        Ok(())
    }

    /// Notes where a picture is.
    pub(super) fn wrote(
        &mut self,
        request_id: &str,
        index: u32,
        path: &Path,
        bytes: u64,
    ) -> Result<(), Failure> {
        // The folder may be moved with all that is in it.
        let path = path.strip_prefix(&self.folder).unwrap_or(path);
        self.add(&json!({
            "request_id": request_id,
            "image_index": index,
            "path": path.to_string_lossy(),
            "bytes": bytes,
        }))
    }

    fn add(&mut self, entry: &Value) -> Result<(), Failure> {
        let path = self.folder.join(NAME);
        self.append(&path, entry)
            .map_err(|error| unusable(&path, &error))
    }

    fn append(&mut self, path: &Path, entry: &Value) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = OpenOptions::new().append(true).create(true).open(path)?;
                // What was half written stays a line of its own.
                if fs::read(path)?.last().is_some_and(|&last| last != b'\n') {
                    file.write_all(b"\n")?;
                }
                self.file.insert(file)
            }
        };
        // In one write: two runs may share the file.
        file.write_all(format!("{entry}\n").as_bytes())
    }
}

fn written(entry: &Value) -> Option<(u32, Written)> {
    let index = u32::try_from(entry["image_index"].as_u64()?).ok()?;
    let path = PathBuf::from(entry["path"].as_str()?);
    let bytes = entry["bytes"].as_u64()?;
    Some((index, Written { path, bytes }))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::cannot_create(format!("cannot use `{}`: {error}", path.display()))
        .hint("it remembers which pictures are written; choose another folder with -o")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("a.png");
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert!(!ledger.has_begun("job"));
        ledger.begin("job").unwrap();
        fs::write(&picture, "abc").unwrap();
        ledger.wrote("job", 1, &picture, 3).unwrap();
        let again = || Ledger::open(folder.path()).unwrap();
        assert!(again().has_begun("job"));
        assert_eq!(again().there("job"), BTreeMap::from([(1, picture.clone())]));
        assert!(again().there("other").is_empty());
        fs::write(&picture, "ab").unwrap();
        assert!(again().there("job").is_empty());
    }

    #[test]
    fn the_folder_may_be_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::create_dir(&old).unwrap();
        fs::write(old.join("a.png"), "abc").unwrap();
        let mut ledger = Ledger::open(&old).unwrap();
        ledger.wrote("job", 0, &old.join("a.png"), 3).unwrap();
        fs::rename(&old, &new).unwrap();
        let there = Ledger::open(&new).unwrap().there("job");
        assert_eq!(there[&0], new.join("a.png"));
    }

    #[test]
    fn a_line_that_is_half_written_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(NAME);
        fs::write(&file, "{\"request_id\":\"a\"}\n{\"request_id\":\"b\",\"im").unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert!(ledger.has_begun("a") && !ledger.has_begun("b"));
        ledger.begin("b").unwrap();
        assert!(Ledger::open(folder.path()).unwrap().has_begun("b"));
    }
}
