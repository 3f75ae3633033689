//! The embeddings that were used last, so that the pictures of a job read a file once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::file::{self, EmbeddingFile};
use super::{Embeddings, Slot, Word};
use crate::checkpoint::Stamp;
use crate::request::EmbeddingWord;
use crate::text::embeddings::PREFIX;
use crate::{Error, ErrorKind, Result};

/// Files that are kept.
const KEPT: usize = 32;

/// Files by path and stamp, the last used at the end.
#[derive(Default)]
pub(crate) struct Cache {
    opened: Mutex<Vec<(PathBuf, Stamp, Arc<EmbeddingFile>)>>,
}

impl Cache {
    /// What the words of a request stand for in a model whose text encoders are `slots`.
    ///
    /// A file that is damaged or does not fit fails where a prompt uses it; `embedding:NAME` fails for a model that takes none.
    pub(crate) fn open(&self, words: &[EmbeddingWord], slots: &[Slot]) -> Result<Embeddings> {
        if slots.is_empty() {
            return match words.iter().find(|word| word.word.starts_with(PREFIX)) {
                Some(word) => Err(Error::invalid(
                    "prompt",
                    format!("`{}`: this model takes no embeddings", word.word),
                )
                .with_hint("leave it out, or choose a model of Stable Diffusion or SDXL")),
                None => Ok(Embeddings::default()),
            };
        }
        let opened = words
            .iter()
            .map(|word| Word::new(word, self.get(&word.path), slots));
        Ok(Embeddings {
            words: opened.collect(),
        })
    }

    fn get(&self, path: &Path) -> Result<Arc<EmbeddingFile>> {
        let stamp = Stamp::of(path).map_err(|error| {
            let message = format!("cannot read the embedding `{}`: {error}", path.display());
            Error::new(ErrorKind::NotFound, message).with_field("prompt")
        })?;
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept
            .iter()
            .position(|(other, then, _)| other == path && *then == stamp);
        let one = match found {
            Some(at) => kept.remove(at),
            None => (path.to_owned(), stamp, Arc::new(file::open(path)?)),
        };
        if kept.len() == KEPT {
            kept.remove(0);
        }
        let file = Arc::clone(&one.2);
        kept.push(one);
        Ok(file)
    }
}
