//! Where a model's files are: a directory, or the program itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Weights, refused, weights};
use crate::{Error, ErrorKind, Result};

/// The largest configuration or tokenizer file that is read: 16 MiB.
pub const SMALL_FILE_LIMIT_BYTES: u64 = 16 << 20;

/// The files of one model in diffusers' layout.
#[derive(Clone, Debug)]
pub enum Source {
    /// A directory that holds `model_index.json`. Symbolic links are followed, since download caches are made of them.
    Directory(PathBuf),
    /// Files inside the program.
    Embedded(&'static [EmbeddedFile]),
    /// One file that holds the weights of all or some parts.
    SingleFile {
        /// The file.
        file: PathBuf,
        /// A diffusers directory with what the file lacks: configuration, tokenizers, parts.
        config: Option<PathBuf>,
        /// Files inside the program, of which the tokenizer is taken where `config` has none.
        assets: &'static [EmbeddedFile],
    },
    /// Another source, some of whose parts have their weights in files of their own.
    WithParts {
        /// Where everything else is.
        base: Box<Self>,
        /// Files by the part's name.
        parts: BTreeMap<String, PathBuf>,
    },
}

/// One file inside the program.
#[derive(Clone, Copy)]
pub struct EmbeddedFile {
    /// Path below the model's directory, separated by `/`.
    pub path: &'static str,
    /// What the file holds. No alignment is assumed.
    pub bytes: &'static [u8],
}

impl std::fmt::Debug for EmbeddedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({} bytes)", self.path, self.bytes.len())
    }
}

impl Source {
    /// The model in the directory `path`.
    ///
    /// Fails with `NotFound` when there is nothing at `path`, and with `ModelInvalid` when it is not a diffusers
    /// directory: a single file, or a directory without `model_index.json`.
    pub fn directory(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
            IoKind::NotFound | IoKind::NotADirectory => Error::new(
                ErrorKind::NotFound,
                format!("there is no directory `{}`", path.display()),
            )
            .with_hint(
                "give the path of a diffusers directory, the one that holds `model_index.json`",
            ),
            _ => Error::model(format!("cannot look at `{}`", path.display())).with_source(error),
        })?;
        if !metadata.is_dir() {
            return Err(refused::not_a_directory(&path));
        }
        let source = Self::Directory(path);
        source.check()?;
        Ok(source)
    }

    /// The model in the single file `file`, with what it lacks in the diffusers directory `config`, or else in `assets`.
    ///
    /// Fails with `NotFound` when there is nothing at `file`, and with `ModelInvalid` when it is a pickle file or `config`
    /// is no diffusers directory.
    pub fn single_file(
        file: impl Into<PathBuf>,
        config: Option<PathBuf>,
        assets: &'static [EmbeddedFile],
    ) -> Result<Self> {
        let file = file.into();
        if refused::is_pickle_name(&file) {
            return Err(refused::not_a_directory(&file));
        }
        if !file.exists() {
            return Err(no_file(&file));
        }
        if let Some(config) = &config {
            Self::directory(config)?;
        }
        Ok(Self::SingleFile {
            file,
            config,
            assets,
        })
    }

    /// The model at `path`: a diffusers directory, or a single file with `config` for what it lacks.
    ///
    /// Fails with `NotFound` when there is neither, and as [`Source::directory`] and [`Source::single_file`] do.
    pub fn at(
        path: impl Into<PathBuf>,
        config: Option<PathBuf>,
        assets: &'static [EmbeddedFile],
    ) -> Result<Self> {
        let path = path.into();
        if path.is_file() {
            return Self::single_file(path, config, assets);
        }
        if !path.exists() {
            let message = format!("there is no file or directory `{}`", path.display());
            return Err(Error::new(ErrorKind::NotFound, message).with_hint(
                "give the path of a safetensors or GGUF file, or of a diffusers directory, the one that holds `model_index.json`",
            ));
        }
        Self::directory(path)
    }

    /// The directory with what a single file lacks, if there is one.
    pub fn config(&self) -> Option<Self> {
        match self {
            Self::SingleFile { config, .. } => config.clone().map(Self::Directory),
            Self::WithParts { base, .. } => base.config(),
            _ => None,
        }
    }

    /// The files inside the program that a single file falls back to.
    pub fn assets(&self) -> Option<Self> {
        match self {
            Self::WithParts { base, .. } => base.assets(),
            Self::SingleFile { assets, .. } if !assets.is_empty() => Some(Self::Embedded(assets)),
            _ => None,
        }
    }

    /// The tensors of a single file, under the names that the file has; `None` when it is another kind of source.
    pub fn open_single(&self) -> Result<Option<Weights>> {
        let file = match self {
            Self::SingleFile { file, .. } => file,
            Self::WithParts { base, .. } => return base.open_single(),
            Self::Directory(_) | Self::Embedded(_) => return Ok(None),
        };
        open_file(file).map(Some)
    }

    /// The only GGUF file of a component's directory; `None` when there is none. Fails when there are several.
    pub(super) fn only_gguf(&self, component: &str) -> Result<Option<String>> {
        let root = match self {
            Self::Directory(root) => root,
            Self::SingleFile {
                config: Some(config),
                ..
            } => config,
            Self::WithParts { base, .. } => return base.only_gguf(component),
            Self::SingleFile { .. } | Self::Embedded(_) => return Ok(None),
        };
        let mut files = refused::files_in(&root.join(component), |file| {
            file.extension().is_some_and(|suffix| suffix == "gguf")
        });
        files.sort_unstable();
        match files.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            [first, second, ..] => Err(Error::model(format!(
                "`{}` has several GGUF files, `{first}` and `{second}` among them",
                self.full_name(component)
            ))
            .with_hint("leave one of them there, or name the file of the part in the request")),
        }
    }

    /// The same model with the weights of some parts from files of their own, each an absolute path.
    ///
    /// Fails with `NotFound` when there is no such file, and with `ModelInvalid` when it is a pickle file.
    pub fn with_parts(self, parts: BTreeMap<String, PathBuf>) -> Result<Self> {
        for file in parts.values() {
            if refused::is_pickle_name(file) {
                return Err(refused::not_a_directory(file));
            }
            if !file.is_file() {
                return Err(no_file(file));
            }
        }
        if parts.is_empty() {
            return Ok(self);
        }
        Ok(Self::WithParts {
            base: Box::new(self),
            parts,
        })
    }

    /// The tensors of a component that has a file of its own.
    pub fn open_own(&self, component: &str) -> Result<Option<Weights>> {
        match self {
            Self::WithParts { parts, .. } => {
                parts.get(component).map(|file| open_file(file)).transpose()
            }
            _ => Ok(None),
        }
    }

    /// The names of the parts that have files of their own.
    pub fn own_parts(&self) -> impl Iterator<Item = &str> {
        let parts = match self {
            Self::WithParts { parts, .. } => Some(parts),
            _ => None,
        };
        parts
            .into_iter()
            .flat_map(|parts| parts.keys().map(String::as_str))
    }

    /// Fails when the model has no `model_index.json`, saying what is there instead.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::SingleFile { .. } => Ok(()),
            Self::WithParts { base, .. } => base.check(),
            _ if self.contains("model_index.json") => Ok(()),
            Self::Directory(path) if !path.exists() => Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no directory `{}`", path.display()),
            )),
            Self::Directory(path) if !path.is_dir() => Err(refused::not_a_directory(path)),
            Self::Directory(path) => Err(refused::not_diffusers(path)),
            Self::Embedded(_) => Err(Error::new(
                ErrorKind::NotFound,
                "the built-in model has no `model_index.json`",
            )),
        }
    }

    /// The whole of a small file, or `None` when the model has no such file.
    ///
    /// Fails when it is no regular file, is larger than [`SMALL_FILE_LIMIT_BYTES`] or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Cow<'static, [u8]>>> {
        let Some(blob) = self.open(path)? else {
            return Ok(None);
        };
        if blob.len() > SMALL_FILE_LIMIT_BYTES {
            let limit = SMALL_FILE_LIMIT_BYTES >> 20;
            return Err(Error::model(format!(
                "`{}` has {} bytes; at most {limit} MiB are read",
                blob.name,
                blob.len()
            )));
        }
        match blob.place {
            Place::Embedded(bytes) => Ok(Some(Cow::Borrowed(bytes))),
            Place::File(file, length) => {
                let mut bytes = Vec::new();
                let read = (&*file).take(length).read_to_end(&mut bytes);
                read.map_err(|error| {
                    Error::model(format!("cannot read `{}`", blob.name)).with_source(error)
                })?;
                Ok(Some(Cow::Owned(bytes)))
            }
        }
    }

    /// A JSON file. Fails with `NotFound` when it is missing; other errors name the file and the line and column.
    pub fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let bytes = self.read(path)?.ok_or_else(|| self.missing(path))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::model(format!("`{}`: {error}", self.full_name(path))))
    }

    /// The tensors of a component, such as `unet`: headers are read and checked, data is not touched.
    ///
    /// Looks for one safetensors file, then for a sharded index, then for the same with the variant `fp16`, then for a
    /// GGUF file. A file that was given for the component comes before all of them.
    pub fn open_weights(&self, component: &str) -> Result<Weights> {
        if let Some(own) = self.open_own(component)? {
            return Ok(own);
        }
        weights::open(self, component)
    }

    /// Whether the model has such a regular file.
    pub fn contains(&self, path: &str) -> bool {
        matches!(self.open(path), Ok(Some(_)))
    }

    /// The name of a file in messages: its whole path, or its path inside the built-in model.
    pub(super) fn full_name(&self, path: &str) -> String {
        match self {
            Self::Directory(root) => root.join(path).display().to_string(),
            Self::Embedded(_) => format!("built-in:{path}"),
            Self::WithParts { base, .. } => base.full_name(path),
            Self::SingleFile {
                config: Some(config),
                ..
            } => config.join(path).display().to_string(),
            Self::SingleFile { file, .. } => format!("{}:{path}", file.display()),
        }
    }

    /// The failure for a file that has to be there.
    pub(super) fn missing(&self, path: &str) -> Error {
        Error::new(
            ErrorKind::NotFound,
            format!("the model has no file `{}`", self.full_name(path)),
        )
    }

    /// Opens a regular file below the model's directory; `None` when there is no such file.
    pub(super) fn open(&self, path: &str) -> Result<Option<Blob>> {
        if path.is_empty()
            || !Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(Error::model(format!(
                "`{path}` is not a path inside a model"
            )));
        }
        match self {
            Self::Directory(root) => open_regular(&root.join(path)),
            Self::WithParts { base, .. } => base.open(path),
            Self::SingleFile { config, .. } => match config {
                Some(config) => open_regular(&config.join(path)),
                None => Ok(None),
            },
            Self::Embedded(files) => {
                Ok(files
                    .iter()
                    .find(|file| file.path == path)
                    .map(|file| Blob {
                        name: self.full_name(path),
                        place: Place::Embedded(file.bytes),
                    }))
            }
        }
    }
}

/// The bytes of one file, read by position.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// The file's name in messages.
    pub(super) name: String,
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    /// An open file and its length when it was opened.
    File(Arc<File>, u64),
    Embedded(&'static [u8]),
}

impl Blob {
    pub(super) fn len(&self) -> u64 {
        match &self.place {
            Place::File(_, length) => *length,
            Place::Embedded(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `buffer` from `offset` on. Fails when the file has become shorter since it was opened.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match &self.place {
            Place::File(file, length) => file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
                IoKind::UnexpectedEof => Error::model(format!(
                    "`{}` is truncated: it had {length} bytes when it was opened and has fewer now",
                    self.name
                )),
                _ => Error::model(format!("cannot read `{}`", self.name)).with_source(error),
            }),
            Place::Embedded(bytes) => {
                let start = usize::try_from(offset).ok();
                let slice = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
                buffer.copy_from_slice(slice.ok_or_else(|| Error::model(format!("`{}` is truncated", self.name)))?);
                Ok(())
            }
        }
    }
}

fn no_file(file: &Path) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no file `{}`", file.display()),
    )
}

/// The tensors of a file of weights.
fn open_file(file: &Path) -> Result<Weights> {
    let blob = open_regular(file)?.ok_or_else(|| no_file(file))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    weights::of_file(name.into_owned(), blob)
}

/// Opens `path` for reading when it is a regular file, or a link to one.
fn open_regular(path: &Path) -> Result<Option<Blob>> {
    let name = path.display().to_string();
    let cannot = |error: std::io::Error| {
        Error::model(format!("cannot open `{name}`: {error}")).with_source(error)
    };
    let irregular = || Error::model(format!("`{name}` is not a regular file"));
    // Looked at before it is opened, since opening a device can act on it.
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(irregular()),
        Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(cannot(error)),
    }
    // Without NONBLOCK, a fifo that was put in the file's place meanwhile would hold this thread.
    let flags =
        i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("open flags are an int of C");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(irregular());
    }
    Ok(Some(Blob {
        name,
        place: Place::File(Arc::new(file), metadata.len()),
    }))
}
