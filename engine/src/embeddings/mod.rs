//! Textual inversion: words of a prompt that stand for vectors from a file, in place of their tokens'.
//!
//! A file ([`file`]) holds vectors for one text encoder, or for both of a model that has two. Where words stand for them is found when
//! a prompt is cut into tokens; what is wrong with a file is told there, since a word that is in no prompt asks for nothing.

mod cache;
mod file;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use self::cache::Cache;
use self::file::EmbeddingFile;
use crate::request::{EmbeddingWord, PromptSyntax, UsedEmbedding};
use crate::text::embeddings::PREFIX;
use crate::{Error, Result};

/// What a text encoder takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The name of its vectors in files that have some for several.
    pub(crate) key: &'static str,
    /// Numbers of a vector.
    pub(crate) width: usize,
    /// Most vectors that are read at once.
    pub(crate) room: usize,
}

/// How one text encoder reads prompts.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) syntax: PromptSyntax,
    pub(crate) embeddings: &'a Embeddings,
    /// Which of the family's slots it is.
    pub(crate) slot: usize,
}

/// The words of a request, with what they stand for.
#[derive(Default)]
pub(crate) struct Embeddings {
    words: Vec<Word>,
}

struct Word {
    /// With [`PREFIX`], or a name alone.
    word: String,
    name: String,
    /// The file, where it fits the model.
    file: Result<Arc<EmbeddingFile>>,
    /// The slots' vectors in the file.
    sets: Vec<usize>,
    is_used: AtomicBool,
}

impl Embeddings {
    /// The embedding that `embedding:NAME` names.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        let is_it = |word: &Word| word.word.strip_prefix(PREFIX) == Some(name);
        self.words.iter().position(is_it)
    }

    /// Names that stand for embeddings alone.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (usize, &str)> {
        let words = self.words.iter().enumerate();
        words
            .filter(|(_, word)| !word.word.starts_with(PREFIX))
            .map(|(index, word)| (index, word.word.as_str()))
    }

    /// How many vectors an embedding has; fails where its file is no embedding for the model. From here on it counts as used.
    pub(crate) fn take(&self, index: usize) -> Result<(&str, usize)> {
        let word = self.word(index)?;
        match &word.file {
            Ok(file) => {
                word.is_used.store(true, Ordering::Relaxed);
                let count = word.sets.first().and_then(|set| file.sets.get(*set));
                Ok((&word.name, count.map_or(0, file::Set::count)))
            }
            Err(error) => Err(error.duplicate()),
        }
    }

    /// Vector `row` of an embedding, as the text encoder `slot` takes it.
    pub(crate) fn vector(&self, index: usize, slot: usize, row: usize) -> Result<&[f32]> {
        let word = self.word(index)?;
        let set = word.sets.get(slot).copied();
        set.zip(word.file.as_ref().ok())
            .and_then(|(set, file)| file.sets.get(set)?.row(row))
            .ok_or_else(|| Error::internal("an embedding without that vector"))
    }

    /// What prompts used, each once.
    pub(crate) fn used(&self) -> Vec<UsedEmbedding> {
        let mut used: Vec<UsedEmbedding> = Vec::new();
        for word in &self.words {
            if let (true, Ok(file)) = (word.is_used.load(Ordering::Relaxed), &word.file) {
                let one = UsedEmbedding {
                    name: word.name.clone(),
                    sha256: file.sha256.clone(),
                };
                if !used.contains(&one) {
                    used.push(one);
                }
            }
        }
        used
    }

    fn word(&self, index: usize) -> Result<&Word> {
        let missing = || Error::internal("an embedding that is not in the request");
        self.words.get(index).ok_or_else(missing)
    }
}

/// Which of the file's vectors belong to each slot.
///
/// Fails where they are of other text encoders: of others, of other widths, of more or fewer.
fn fit(file: &EmbeddingFile, name: &str, slots: &[Slot]) -> Result<Vec<usize>> {
    let wrong = |what: String| {
        Error::invalid("prompt", format!("embedding `{name}` {what}")).with_hint(
            "an embedding works with the kind of model that it was trained for, and with no other",
        )
    };
    if slots.is_empty() {
        return Err(wrong("cannot be used: this model takes none".to_owned()));
    }
    let theirs = file.sets.len();
    if theirs != slots.len() {
        let ours = slots.len();
        return Err(wrong(format!(
            "has vectors for {theirs} text encoders, and this model has {ours}"
        )));
    }
    slots
        .iter()
        .map(|slot| {
            let set = file
                .sets
                .iter()
                .position(|set| slots.len() == 1 || set.key == slot.key)
                .ok_or_else(|| wrong(format!("has no `{}`", slot.key)))?;
            let (count, width) = (file.sets[set].count(), file.sets[set].width);
            if width != slot.width {
                return Err(wrong(format!(
                    "has vectors of {width} numbers, and this model takes {}",
                    slot.width
                )));
            }
            if count > slot.room {
                return Err(wrong(format!(
                    "has {count} vectors, and the text encoder reads {} at once",
                    slot.room
                )));
            }
            Ok(set)
        })
        .collect()
}

impl Word {
    fn new(asked: &EmbeddingWord, file: Result<Arc<EmbeddingFile>>, slots: &[Slot]) -> Self {
        let name = asked.name();
        let fitting = file.and_then(|file| Ok((fit(&file, &name, slots)?, file)));
        let (sets, file) = match fitting {
            Ok((sets, file)) => (sets, Ok(file)),
            Err(error) => (Vec::new(), Err(error)),
        };
        Self {
            word: asked.word.clone(),
            name,
            file,
            sets,
            is_used: AtomicBool::new(false),
        }
    }
}

/// Reads an embedding's file, whether it fits a model or not.
#[cfg(feature = "fuzzing")]
pub(crate) fn read(path: &std::path::Path) -> Result<()> {
    file::open(path).map(drop)
}
