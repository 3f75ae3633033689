//! The files of a tokenizer, in the many forms in which they are saved.
//!
//! What counts where is what transformers' loader does: `tokenizer.json` before `vocab.json` and `merges.txt`;
//! `added_tokens_decoder` in `tokenizer_config.json` before `special_tokens_map.json`; a token that is named twice has
//! the properties it was given last.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::AddedToken;

use crate::checkpoint::Source;
use crate::{Error, Result};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// A `model_max_length` beyond this stands for "not known".
const MAX_POSITIONS_LIMIT: f64 = 1e6;

/// The most ids a vocabulary may have: as many as a text encoder may have embeddings.
pub(in crate::text) const IDS_LIMIT: u32 = 1 << 22;
/// The most tokens that are found before a prompt is cut into words, and bytes of all of them: each that is added makes the
/// library sort all of them again.
const ADDED_LIMIT: usize = 1024;
const ADDED_LIMIT_BYTES: usize = 64 * 1024;

type Vocab = BTreeMap<String, u32>;
type Merges = Vec<(String, String)>;
type Numbered = Vec<(u32, AddedToken)>;

/// What the files say, checked so far that building a tokenizer of it cannot panic.
pub(super) struct Files {
    pub(super) vocab: tokenizers::models::bpe::Vocab,
    pub(super) merges: Merges,
    /// Tokens that are found in the prompt before it is cut into words, in the order in which they are added.
    pub(super) added: Vec<AddedToken>,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) unknown: String,
    pub(super) padding: String,
    pub(super) max_positions: Option<usize>,
}

impl Files {
    pub(super) fn read(source: &Source, dir: &str) -> Result<Self> {
        let json_path = format!("{dir}/tokenizer.json");
        let (vocab, merges, json_tokens) = if source.contains(&json_path) {
            let file: TokenizerJson = source.read_json(&json_path)?;
            from_json(&json_path, file)?
        } else {
            let vocab: Vocab = source.read_json(&format!("{dir}/vocab.json"))?;
            (
                vocab,
                read_merges(source, &format!("{dir}/merges.txt"))?,
                Vec::new(),
            )
        };
        check_merges(dir, &vocab, &merges)?;
        if let Some((token, id)) = vocab.iter().find(|(_, id)| **id >= IDS_LIMIT) {
            let token: String = token.chars().take(40).collect();
            return Err(Error::model(format!(
                "`{dir}`: the token {token:?} has the id {id}; ids below {IDS_LIMIT} are read"
            )));
        }
        let config: Config = read_or_default(source, &format!("{dir}/tokenizer_config.json"))?;
        let mut special = config.special;
        let mut decoder = BTreeMap::new();
        if let Some(tokens) = config.added_tokens_decoder {
            for (id, token) in tokens {
                let id: u32 = id.parse().map_err(|_not_a_number| {
                    Error::model(format!(
                        "`{dir}/tokenizer_config.json`: `{id}` is no token id"
                    ))
                })?;
                decoder.insert(id, token.into_added(false));
            }
        } else {
            let map: SpecialTokens =
                read_or_default(source, &format!("{dir}/special_tokens_map.json"))?;
            special.replace_by(map);
            decoder.extend(json_tokens);
        }
        let bytes: usize = decoder.values().map(|token| token.content.len()).sum();
        if decoder.len() > ADDED_LIMIT || bytes > ADDED_LIMIT_BYTES {
            return Err(Error::model(format!(
                "`{dir}` adds {} tokens of {bytes} bytes; at most {ADDED_LIMIT} of {ADDED_LIMIT_BYTES} are read",
                decoder.len()
            )));
        }
        let named = |role: &str, token: &Option<Token>, default: &str| {
            let token = token.as_ref().map_or(default, Token::content);
            // The library would give it a new id, which no text encoder has an embedding for.
            if !vocab.contains_key(token) && !decoder.values().any(|known| known.content == token) {
                let token: String = token.chars().take(40).collect();
                return Err(Error::model(format!(
                    "`{dir}`: the {role} token {token:?} is not in the vocabulary"
                )));
            }
            Ok(token.to_owned())
        };
        Ok(Self {
            start: named("start", &special.bos_token, START)?,
            end: named("end", &special.eos_token, END)?,
            unknown: named("unknown", &special.unk_token, END)?,
            padding: named("padding", &special.pad_token, END)?,
            added: added_tokens(decoder, special),
            max_positions: config.model_max_length.and_then(to_positions),
            vocab: vocab.into_iter().collect(),
            merges,
        })
    }
}

/// The tokens in the order in which transformers adds them: numbered ones, then named ones that were not numbered.
fn added_tokens(decoder: BTreeMap<u32, AddedToken>, special: SpecialTokens) -> Vec<AddedToken> {
    let mut added: Vec<AddedToken> = decoder.into_values().collect();
    let numbered: Vec<String> = added.iter().map(|token| token.content.clone()).collect();
    let SpecialTokens {
        bos_token,
        eos_token,
        unk_token,
        pad_token,
    } = special;
    let default =
        |token: Option<Token>, text: &str| token.unwrap_or_else(|| Token::Text(text.to_owned()));
    let named = [
        default(bos_token, START),
        default(eos_token, END),
        default(unk_token, END),
        default(pad_token, END),
    ];
    for token in named {
        let token = token.into_added(true);
        if !numbered.contains(&token.content) && !added.contains(&token) {
            added.push(token);
        }
    }
    added
}

/// `tokenizer.json`, as far as it is used.
#[derive(Deserialize)]
struct TokenizerJson {
    model: ModelJson,
    #[serde(default)]
    added_tokens: Vec<NumberedToken>,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Vocab,
    merges: Vec<Merge>,
}

/// Merges are written as `"a b"` or as `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct NumberedToken {
    id: u32,
    #[serde(flatten)]
    token: TokenObject,
}

/// `tokenizer_config.json`, as far as it is used.
#[derive(Deserialize, Default)]
struct Config {
    /// Some files say 1e30, which is no whole number of any type.
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<BTreeMap<String, Token>>,
    #[serde(flatten)]
    special: SpecialTokens,
}

/// `special_tokens_map.json`.
#[derive(Deserialize, Default)]
struct SpecialTokens {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    unk_token: Option<Token>,
    pad_token: Option<Token>,
}

impl SpecialTokens {
    fn replace_by(&mut self, other: Self) {
        self.bos_token = other.bos_token.or(self.bos_token.take());
        self.eos_token = other.eos_token.or(self.eos_token.take());
        self.unk_token = other.unk_token.or(self.unk_token.take());
        self.pad_token = other.pad_token.or(self.pad_token.take());
    }
}

/// Special tokens are written as text or as an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Object(TokenObject),
}

#[derive(Deserialize)]
struct TokenObject {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Text(content) => content,
            Self::Object(object) => &object.content,
        }
    }

    /// `special`: named tokens are special whatever their object says.
    fn into_added(self, special: bool) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Object(object) => {
                let special = special || object.special;
                TokenObject { special, ..object }.into_added()
            }
        }
    }
}

impl TokenObject {
    fn into_added(self) -> AddedToken {
        AddedToken::from(self.content, self.special)
            .normalized(self.normalized.unwrap_or(!self.special))
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
    }
}

fn from_json(path: &str, file: TokenizerJson) -> Result<(Vocab, Merges, Numbered)> {
    if let Some(kind) = file.model.kind.filter(|kind| kind != "BPE") {
        let kind: String = kind.chars().take(40).collect();
        return Err(Error::model(format!(
            "`{path}` holds a `{kind}` tokenizer, and CLIP's is `BPE`"
        )));
    }
    let merges = file.model.merges.into_iter().map(|merge| match merge {
        Merge::Pair(left, right) => Ok((left, right)),
        Merge::Line(line) => split_merge(path, &line),
    });
    let merges = merges.collect::<Result<_>>()?;
    let tokens = file
        .added_tokens
        .into_iter()
        .map(|numbered| (numbered.id, numbered.token.into_added()));
    Ok((file.model.vocab, merges, tokens.collect()))
}

fn read_merges(source: &Source, path: &str) -> Result<Merges> {
    let missing = || {
        Error::new(
            crate::ErrorKind::NotFound,
            format!("the model has no file `{path}`"),
        )
    };
    let bytes = source.read(path)?.ok_or_else(missing)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::model(format!("`{path}` is no UTF-8: {error}")))?;
    text.lines()
        .filter(|line| !line.starts_with("#version"))
        .map(|line| split_merge(path, line))
        .collect()
}

fn split_merge(path: &str, line: &str) -> Result<(String, String)> {
    let parts = line
        .split_once(' ')
        .filter(|(_, right)| !right.contains(' '));
    let (left, right) = parts.ok_or_else(|| {
        let line: String = line.chars().take(40).collect();
        Error::model(format!(
            "`{path}`: the merge {line:?} does not name two tokens"
        ))
    })?;
    Ok((left.to_owned(), right.to_owned()))
}

/// Every merge must join two known tokens into a known one; the library relies on it.
fn check_merges(dir: &str, vocab: &Vocab, merges: &Merges) -> Result<()> {
    for (left, right) in merges {
        for token in [left, right, &format!("{left}{right}")] {
            if !vocab.contains_key(token) {
                let token: String = token.chars().take(40).collect();
                return Err(Error::model(format!(
                    "`{dir}`: the merges need the token {token:?}, and there is none"
                )));
            }
        }
    }
    Ok(())
}

fn read_or_default<T: serde::de::DeserializeOwned + Default>(
    source: &Source,
    path: &str,
) -> Result<T> {
    if source.contains(path) {
        source.read_json(path)
    } else {
        Ok(T::default())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and a million"
)]
fn to_positions(model_max_length: f64) -> Option<usize> {
    (0.0..=MAX_POSITIONS_LIMIT)
        .contains(&model_max_length)
        .then_some(model_max_length as usize)
}
