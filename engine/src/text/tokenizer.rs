//! The tokenizer of CLIP: byte-level pair encoding of lower-cased words.
//!
//! Gives the ids that transformers' `CLIPTokenizer` gives. As there, only the vocabulary, the merges and the special
//! tokens come from the model's files; the rules by which text is cut into words are CLIP's and stand here. A
//! `tokenizer.json` can name any rules, hostile ones among them, and none of them is ever run.

mod files;
#[cfg(test)]
mod tests;

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{
    Lowercase, NFC, Replace, Sequence as Normalizers, replace::ReplacePattern,
};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use self::files::Files;
pub(super) use self::files::IDS_LIMIT;
use crate::checkpoint::Source;
use crate::{Error, ErrorKind, Result};

/// The longest prompt that is encoded: 32 KiB.
pub const PROMPT_LIMIT_BYTES: usize = 32 * 1024;

/// What one word is. Special tokens, contractions, runs of letters, single digits, runs of anything else but space.
const WORD: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A prompt as the text encoder takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Start token, the prompt's tokens, end token, then padding: as many as positions.
    pub ids: Vec<u32>,
    /// Tokens that stand for the prompt, with start and end and without padding.
    pub token_count: usize,
    /// The end of the prompt that found no place, as the user wrote it.
    pub truncated: Option<String>,
}

/// A tokenizer, ready to encode. Keeps nothing of the prompts.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    padding: u32,
    max_positions: Option<usize>,
}

impl Tokenizer {
    /// The tokenizer in the model's directory `dir`, such as `tokenizer_2`: from `tokenizer.json`, or else from
    /// `vocab.json` and `merges.txt`; with `tokenizer_config.json` and `special_tokens_map.json` if they are there.
    ///
    /// Fails with `NotFound` without vocabulary, and with `ModelInvalid` when the files do not make a CLIP tokenizer.
    /// `padding`: the token that fills prompts up, in place of the one that the files name.
    pub fn open(source: &Source, dir: &str, padding: Option<&str>) -> Result<Self> {
        let files = Files::read(source, dir)?;
        let broken =
            |error: tokenizers::Error| Error::model(format!("`{dir}` makes no tokenizer: {error}"));
        let model = BPE::builder()
            .vocab_and_merges(files.vocab, files.merges)
            .unk_token(files.unknown)
            .end_of_word_suffix("</w>".to_owned())
            // Its cache would keep the words of prompts in memory.
            .cache_capacity(0)
            .build()
            .map_err(broken)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        let space = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(broken)?;
        let normalizers = Normalizers::new(vec![NFC.into(), space.into(), Lowercase.into()]);
        inner.with_normalizer(Some(normalizers)).map_err(broken)?;
        let words = Split::new(
            SplitPattern::Regex(WORD.to_owned()),
            SplitDelimiterBehavior::Removed,
            true,
        );
        let bytes = ByteLevel::default().add_prefix_space(false);
        inner.with_pre_tokenizer(Some(PreTokenizers::new(vec![
            words.map_err(broken)?.into(),
            bytes.into(),
        ])));
        for token in files.added {
            inner.add_tokens([token]).map_err(broken)?;
        }
        let id = |role: &str, token: &str| {
            let missing =
                || Error::model(format!("`{dir}` has no id for its {role} token `{token}`"));
            inner.token_to_id(token).ok_or_else(missing)
        };
        let start = id("start", &files.start)?;
        let end = id("end", &files.end)?;
        let padding = id("padding", padding.unwrap_or(&files.padding))?;
        Ok(Self {
            inner,
            start,
            end,
            padding,
            max_positions: files.max_positions,
        })
    }

    /// The same for text encoders of any length.
    #[must_use]
    pub fn without_length(self) -> Self {
        Self {
            max_positions: None,
            ..self
        }
    }

    /// The most tokens that the tokenizer's own configuration allows, start and end included.
    pub fn max_positions(&self) -> Option<usize> {
        self.max_positions
    }

    /// The id that ends a prompt. Text encoders take their pooled output at its first place.
    pub fn end_id(&self) -> u32 {
        self.end
    }

    /// Encodes a prompt for a text encoder of `positions` positions.
    ///
    /// The ids are as many as `positions` or [`Self::max_positions`], whichever is less. A prompt that is too long
    /// keeps its beginning and the end token. Fails with `InvalidArgument` (field `prompt`) on more than
    /// [`PROMPT_LIMIT_BYTES`], and with `ModelInvalid` when there is no place for a start and an end.
    pub fn encode(&self, prompt: &str, positions: usize) -> Result<Encoded> {
        if prompt.len() > PROMPT_LIMIT_BYTES {
            let message = format!(
                "the prompt has {} bytes; at most {PROMPT_LIMIT_BYTES} are allowed",
                prompt.len()
            );
            return Err(Error::invalid("prompt", message));
        }
        let room = self.room(positions)?;
        let encoding = self.cut(prompt)?;
        let tokens = encoding.get_ids();
        let kept = tokens.len().min(room);
        let cut_at = encoding
            .get_offsets()
            .get(kept)
            .map(|offsets| character_start(prompt, offsets.0));
        let truncated = cut_at.map(|start| prompt[start..].trim().to_owned());
        Ok(Encoded {
            ids: self.filled(&tokens[..kept], room),
            token_count: kept + 2,
            truncated,
        })
    }

    /// Tokens of a prompt that a text encoder of `positions` positions reads at once.
    ///
    /// Fails with `ModelInvalid` when there is no place for a start and an end.
    pub fn room(&self, positions: usize) -> Result<usize> {
        let length = positions.min(self.max_positions.unwrap_or(positions));
        length.checked_sub(2).ok_or_else(|| {
            Error::model(format!(
                "a text encoder of {length} positions has no room for a prompt"
            ))
        })
    }

    /// The tokens of a text, without start and end.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.cut(text)?.get_ids().to_vec())
    }

    /// The tokens of a text, without start and end, each with the byte of the text where its character begins.
    pub fn tokens_at(&self, text: &str) -> Result<Vec<(u32, usize)>> {
        let encoding = self.cut(text)?;
        let begins = encoding.get_offsets().iter();
        let begins = begins.map(|offsets| character_start(text, offsets.0.min(text.len())));
        Ok(encoding.get_ids().iter().copied().zip(begins).collect())
    }

    /// Start, at most `room` tokens, end, and padding up to `room + 2`.
    pub fn filled(&self, tokens: &[u32], room: usize) -> Vec<u32> {
        let mut ids = Vec::with_capacity(room + 2);
        ids.push(self.start);
        ids.extend(&tokens[..tokens.len().min(room)]);
        ids.push(self.end);
        ids.resize(room + 2, self.padding);
        ids
    }

    fn cut(&self, text: &str) -> Result<tokenizers::Encoding> {
        self.inner.encode(text, false).map_err(|error| {
            // The message of the library could quote the prompt, so it is not passed on.
            drop(error);
            Error::new(ErrorKind::Internal, "the prompt cannot be cut into tokens")
                .with_field("prompt")
        })
    }
}

/// Where the character begins that has the byte at `at`.
fn character_start(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.inner.get_vocab_size(true);
        write!(
            formatter,
            "Tokenizer of {size} tokens, start {}, end {}, padding {}",
            self.start, self.end, self.padding
        )
    }
}
