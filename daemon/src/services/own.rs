//! Models under names of the user's own: those of the config's `[models]`, and those that `imgctl models add` added.

use std::path::PathBuf;

use imgd_proto::limits;

use super::{names::STARTER, preset::Preset};

/// Longest name, in bytes.
const LONGEST: usize = 80;

/// A model under a name of the user's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnModel {
    /// Its directory or file; none: whatever the name means otherwise, which gets other names and settings here.
    pub path: Option<PathBuf>,
    /// A diffusers directory with what a single file lacks.
    pub config: Option<PathBuf>,
    /// Other names.
    pub aliases: Vec<String>,
    /// What a request gets that it does not say.
    pub preset: Preset,
}

impl From<PathBuf> for OwnModel {
    fn from(path: PathBuf) -> Self {
        Self {
            path: Some(path),
            ..Self::default()
        }
    }
}

impl From<&str> for OwnModel {
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl OwnModel {
    /// Whether a request means it, whose own name is `own`, by `name`.
    pub(super) fn is_called(&self, own: &str, name: &str) -> bool {
        own == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// Says why a text may be no name of the user's own, to follow the name; nothing where it may be one.
pub fn why_no_name(name: &str) -> Option<&'static str> {
    if name == STARTER {
        return Some("is taken by the starter model");
    }
    let is_wrong = name.is_empty()
        || name.contains('/')
        || name.len() > LONGEST
        || limits::validate_model(name).is_err();
    is_wrong.then_some("must be 1 to 80 bytes long and hold no `/`")
}
