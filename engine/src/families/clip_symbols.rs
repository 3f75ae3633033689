//! What a text is to CLIP's text encoder: tokens, and embeddings in the place of words.

use crate::embeddings::Reading;
use crate::request::PromptSyntax;
use crate::text::{embeddings, tokenizer::Tokenizer};
use crate::{Error, Notice, Result};

/// A piece of a text, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Token(u32),
    /// All vectors of one.
    Embedding {
        index: usize,
        vectors: usize,
    },
}

/// What takes one position of the text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Token(u32),
    Vector { index: usize, row: usize },
}

impl Symbol {
    /// Positions that it takes.
    pub(super) fn positions(self) -> impl Iterator<Item = Position> {
        let count = match self {
            Self::Token(_) => 1,
            Self::Embedding { vectors, .. } => vectors,
        };
        (0..count).map(move |row| match self {
            Self::Token(token) => Position::Token(token),
            Self::Embedding { index, .. } => Position::Vector { index, row },
        })
    }
}

/// Reads texts of one prompt.
pub(super) struct Reader<'a> {
    tokenizer: &'a Tokenizer,
    reading: Reading<'a>,
    /// The request's name of the prompt.
    field: &'static str,
    /// Tokens of the names that stand for embeddings alone, the longest first.
    bare: Vec<(Vec<u32>, usize)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        tokenizer: &'a Tokenizer,
        reading: Reading<'a>,
        field: &'static str,
    ) -> Result<Self> {
        let mut bare = Vec::new();
        if reading.syntax == PromptSyntax::A1111 {
            for (index, name) in reading.embeddings.bare() {
                bare.push((tokenizer.tokens(name)?, index));
            }
        }
        bare.retain(|(tokens, _)| !tokens.is_empty());
        bare.sort_by_key(|(tokens, _)| std::cmp::Reverse(tokens.len()));
        Ok(Self {
            tokenizer,
            reading,
            field,
            bare,
        })
    }

    /// The symbols of `text`, each with the byte where it begins.
    ///
    /// Fails where `embedding:NAME` names none that fits the model; a name alone that does not is read as words, which is told. Source:
    /// A1111's `EmbeddingDatabase.find_embedding_at_position`.
    pub(super) fn read(
        &self,
        text: &str,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<(Symbol, usize)>> {
        let mut symbols = Vec::new();
        let is_known = |name: &str| self.reading.embeddings.named(name).is_some();
        // A name that nobody knows is a part of the prompt, and belongs in no message.
        let unknown = |_name: &str| {
            let message = format!("`{}` names an embedding that is not there", self.field);
            Error::invalid(self.field, message)
        };
        let spans = embeddings::spans(text, is_known).map_err(unknown)?;
        for span in spans {
            if let (true, Some(index)) = (span.is_name, self.reading.embeddings.named(span.text)) {
                let symbol = self
                    .embedding(index, notices)
                    .map_err(|error| error.with_field(self.field))?;
                symbols.push((symbol, span.at));
                continue;
            }
            let tokens = self.tokenizer.tokens_at(span.text)?;
            let mut at = 0;
            while let Some((token, byte)) = tokens.get(at) {
                let found = self.bare_at(&tokens[at..], notices);
                let (symbol, length) = found.unwrap_or((Symbol::Token(*token), 1));
                symbols.push((symbol, span.at + byte));
                at += length;
            }
        }
        Ok(symbols)
    }

    /// The longest name that the tokens begin with.
    fn bare_at(
        &self,
        tokens: &[(u32, usize)],
        notices: &mut Vec<Notice>,
    ) -> Option<(Symbol, usize)> {
        let begins = |name: &[u32]| {
            let pairs = name.iter().zip(tokens);
            name.len() <= tokens.len() && pairs.into_iter().all(|(a, (b, _))| a == b)
        };
        let fitting = self.bare.iter().filter(|(name, _)| begins(name));
        for (name, index) in fitting {
            match self.embedding(*index, notices) {
                Ok(symbol) => return Some((symbol, name.len())),
                Err(error) => {
                    let message = format!("read as words: {error}");
                    tell(notices, "embedding_ignored", self.field, message);
                }
            }
        }
        None
    }

    fn embedding(&self, index: usize, notices: &mut Vec<Notice>) -> Result<Symbol> {
        let (name, vectors) = self.reading.embeddings.take(index)?;
        let plural = if vectors == 1 { "" } else { "s" };
        let message = format!("embedding `{name}`: {vectors} vector{plural}");
        tell(notices, "embedding_used", self.field, message);
        Ok(Symbol::Embedding { index, vectors })
    }
}

/// Two text encoders read the same words, and a word may stand twice; the user hears of it once.
fn tell(notices: &mut Vec<Notice>, reason: &str, field: &str, message: String) {
    let notice = Notice::new(reason, field, message);
    if !notices.contains(&notice) {
        notices.push(notice);
    }
}
