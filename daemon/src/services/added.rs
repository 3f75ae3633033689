//! The models that `imgctl models add` added: a file of the daemon's, in the form of the config's `[models]`.
//!
//! The daemon alone writes it, and reads it once: docs/decisions/0023-models-of-the-machine.md.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::own::OwnModel;
use crate::failure::{Failure, Reason};

/// What the file is called, in the data directory.
pub const FILE: &str = "models.toml";

/// Models that may be added.
const MOST: usize = 1_000;

/// The models, and the file that they are kept in.
#[derive(Debug, Clone, Default)]
pub struct Added {
    /// None in tests of other things.
    file: Option<PathBuf>,
    models: Arc<Mutex<BTreeMap<String, OwnModel>>>,
}

impl Added {
    /// The models that `file` had when it was read.
    pub fn new(file: PathBuf, models: BTreeMap<String, OwnModel>) -> Self {
        Self {
            file: Some(file),
            models: Arc::new(Mutex::new(models)),
        }
    }

    /// All of them by name.
    pub(super) fn all(&self) -> BTreeMap<String, OwnModel> {
        let models = self.models.lock();
        models.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a model, or puts it in the place of the one of that name. It is on disk afterwards.
    pub(super) fn insert(&self, name: &str, model: OwnModel) -> Result<(), Failure> {
        self.change(|models| {
            models.insert(name.to_owned(), model);
        })
    }

    /// Forgets a model.
    pub(super) fn remove(&self, name: &str) -> Result<(), Failure> {
        self.change(|models| {
            models.remove(name);
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, OwnModel>)) -> Result<(), Failure> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = models.clone();
        change(&mut changed);
        if changed.len() > MOST {
            let message = format!("{MOST} models were added already, and no more may be");
            return Err(Failure::invalid("name", message)
                .with_hint("a whole folder of models is found by `model_dirs` in the config"));
        }
        if let Some(file) = &self.file {
            write(file, &text(&changed)).map_err(|error| {
                let message = format!("cannot write {}: {error}", file.display());
                Failure::new(Reason::Internal, message)
            })?;
        }
        *models = changed;
        Ok(())
    }
}

/// The file's text.
fn text(models: &BTreeMap<String, OwnModel>) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let path = |path: &Path| quoted(&path.to_string_lossy());
    let mut text = "# Written by imgd for `imgctl models add`. Names of your own belong into config.toml.\n[models]\n".to_owned();
    for (name, model) in models {
        let mut fields = Vec::new();
        fields.extend(
            model
                .path
                .as_deref()
                .map(|own| format!("path = {}", path(own))),
        );
        fields.extend(
            model
                .config
                .as_deref()
                .map(|own| format!("config = {}", path(own))),
        );
        if !model.aliases.is_empty() {
            let aliases: Vec<_> = model.aliases.iter().map(|alias| quoted(alias)).collect();
            fields.push(format!("alias = [{}]", aliases.join(", ")));
        }
        text += &format!("{} = {{ {} }}\n", quoted(name), fields.join(", "));
    }
    text
}

/// Puts a file in the place of another: it is the old one or the new one, whatever happens.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let next = file.with_extension("toml.new");
    let mut open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&next)?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    fs::rename(&next, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn what_was_added_is_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let added = Added::new(file.clone(), BTreeMap::new());
        let odd = OwnModel {
            path: Some("/models/it's \"odd\"/\u{6c34}.safetensors".into()),
            config: Some("/configs/xl".into()),
            aliases: vec!["o".to_owned(), "odd one".to_owned()],
            ..OwnModel::default()
        };
        added.insert("odd: 1", odd.clone()).unwrap();
        added.insert("plain", "/p".into()).unwrap();
        let again = config::read_added(&file).unwrap();
        assert_eq!(again, added.all());
        assert_eq!(again["odd: 1"], odd);
        added.remove("odd: 1").unwrap();
        assert_eq!(config::read_added(&file).unwrap().len(), 1);
        assert!(
            config::read_added(&folder.path().join("none"))
                .unwrap()
                .is_empty()
        );
        fs::write(&file, "[models]\nx = 3\n").unwrap();
        assert!(config::read_added(&file).is_err());
    }

    #[test]
    fn what_cannot_be_written_was_not_added() {
        let added = Added::new("/nonexistent/models.toml".into(), BTreeMap::new());
        let failure = added.insert("m", "/m".into()).unwrap_err();
        assert!(failure.message.contains("/nonexistent/models.toml"));
        assert!(added.all().is_empty());
    }
}
