//! Where other programs on this machine keep their models: ComfyUI, A1111's web UI and its relatives, InvokeAI.
//!
//! Nothing is opened here but a few small files of settings, and nothing is written. What a file holds is the engine's
//! affair; here a folder says what kind of thing lies in it.

mod extra_paths;
mod layout;
mod walk;

use std::path::{Path, PathBuf};

pub use walk::{Candidate, candidates};

/// Folders of all programs together. More are not looked at.
const MOST_FOLDERS: usize = 512;

/// What lies in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Models: whole, or their network alone.
    Model,
    /// Adapters.
    Lora,
    /// ControlNets.
    Control,
    /// Embeddings.
    Embedding,
    /// Autoencoders.
    Vae,
    /// Text encoders.
    TextEncoder,
    /// Upscalers.
    Upscaler,
}

/// A folder of a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppFolder {
    /// The program, as a person calls it.
    pub app: &'static str,
    /// What lies there.
    pub kind: Kind,
    /// The folder.
    pub path: PathBuf,
}

/// The folders of all programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of the places that they were looked for in. All of them exist.
    pub folders: Vec<AppFolder>,
    /// What could not be read, in whole sentences.
    pub troubles: Vec<String>,
}

impl Found {
    /// The folders of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Path> {
        let of_kind = self
            .folders
            .iter()
            .filter(move |folder| folder.kind == kind);
        of_kind.map(|folder| folder.path.as_path())
    }

    /// Adds a folder, where it is one and is not there already.
    fn add(&mut self, app: &'static str, kind: Kind, path: &Path) {
        // `a/./b` and `a/b/` are `a/b`.
        let path: PathBuf = path.components().collect();
        let is_there = |known: &AppFolder| known.kind == kind && known.path == path;
        if self.folders.len() < MOST_FOLDERS && path.is_dir() && !self.folders.iter().any(is_there)
        {
            self.folders.push(AppFolder { app, kind, path });
        }
    }
}

/// A place to look in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlace {
    /// A program's folder, a folder of models, or a file such as `extra_model_paths.yaml`.
    pub path: PathBuf,
    /// Whether a person named it: then it is told when it is not there.
    pub is_named: bool,
}

/// Where the programs are when nobody says, below the home directory. `invokeai_root` is the variable of that name.
pub fn usual_places(home: Option<&Path>, invokeai_root: Option<PathBuf>) -> Vec<AppPlace> {
    let below = home.into_iter().flat_map(layout::usual_places);
    let paths = below.chain(invokeai_root.filter(|path| path.is_absolute()));
    let place = |path| AppPlace {
        path,
        is_named: false,
    };
    paths.map(place).collect()
}

/// The folders that programs have in these places.
pub fn folders(places: &[AppPlace], home: Option<&Path>) -> Found {
    let mut found = Found::default();
    for AppPlace { path, is_named } in places {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => layout::folders(path, *is_named, home, &mut found),
            Ok(_) => extra_paths::folders(path, home, &mut found),
            Err(error) if *is_named || error.kind() != std::io::ErrorKind::NotFound => {
                found
                    .troubles
                    .push(format!("cannot look into {}: {error}", path.display()));
            }
            Err(_) => {}
        }
    }
    found
}
