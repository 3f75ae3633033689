//! Tokenizers as `tokenizer.json` describes them: T5's and Qwen's.
//!
//! The file names its own rules, and a hostile one could name rules that never end, abort the process or eat the memory.
//! So it is read by us first, and handed to the library only if everything in it is on the lists here.

mod charsmap;
mod check;
mod qwen2;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::checkpoint::Source;
use crate::text::tokenizer::PROMPT_LIMIT_BYTES;
use crate::{Error, ErrorKind, Result};

/// A tokenizer, ready to encode. Keeps nothing of the prompts.
pub struct JsonTokenizer {
    inner: tokenizers::Tokenizer,
    padding: u32,
}

/// A prompt as a text encoder takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The prompt's tokens, those that the tokenizer puts around them, then padding: as many as positions.
    pub ids: Vec<u32>,
    /// Tokens that are no padding.
    pub token_count: usize,
    /// Whether the end of the text found no place.
    pub is_truncated: bool,
}

/// `tokenizer_config.json`, as far as it is used.
#[derive(Deserialize, Default)]
struct Config {
    pad_token: Option<Value>,
}

impl JsonTokenizer {
    /// The tokenizer in the model's directory `dir`, such as `tokenizer_2`. `padding`: the token that fills up prompts
    /// where the files name none.
    ///
    /// Fails with `NotFound` without `tokenizer.json`, and with `ModelInvalid` when it asks for what is not supported.
    pub fn open(source: &Source, dir: &str, padding: &str) -> Result<Self> {
        let path = format!("{dir}/tokenizer.json");
        Self::of_file(source, dir, &path, source.read_json(&path)?, padding)
    }

    /// The same for Qwen, some of whose models have `vocab.json` and `merges.txt` in place of `tokenizer.json`: what that would
    /// say beside them is the same for all.
    pub fn open_qwen(source: &Source, dir: &str, padding: &str) -> Result<Self> {
        let path = format!("{dir}/tokenizer.json");
        let vocab = format!("{dir}/vocab.json");
        if source.contains(&path) || !source.contains(&vocab) {
            return Self::open(source, dir, padding);
        }
        let file = qwen2::tokenizer_json(source, dir)?;
        Self::of_file(source, dir, &vocab, file, padding)
    }

    /// `path`: where `file`, a `tokenizer.json`, comes from, for messages.
    fn of_file(
        source: &Source,
        dir: &str,
        path: &str,
        mut file: Value,
        padding: &str,
    ) -> Result<Self> {
        check::check(path, &file)?;
        // How long prompts are is the pipeline's to say.
        file["truncation"] = Value::Null;
        file["padding"] = Value::Null;
        let broken = |error: &dyn std::fmt::Display| {
            Error::model(format!("`{path}` makes no tokenizer: {error}"))
        };
        let mut inner: tokenizers::Tokenizer =
            serde_json::from_value(file).map_err(|error| broken(&error))?;
        // Its cache would keep the words of prompts in memory.
        let mut model = inner.get_model().clone();
        model.resize_cache(0);
        inner.with_model(model);
        let config_path = format!("{dir}/tokenizer_config.json");
        let config: Config = if source.contains(&config_path) {
            source.read_json(&config_path)?
        } else {
            Config::default()
        };
        let named = config.pad_token.unwrap_or_else(|| json!(padding));
        let token = named
            .as_str()
            .or_else(|| named.get("content").and_then(Value::as_str))
            .unwrap_or(padding);
        let padding = inner.token_to_id(token).ok_or_else(|| {
            let token: String = token.chars().take(40).collect();
            Error::model(format!("`{dir}` has no id for its padding token {token:?}"))
        })?;
        Ok(Self { inner, padding })
    }

    /// Encodes `text` for a text encoder of `positions` positions; a text that is too long keeps its beginning, and what
    /// the tokenizer puts at its end.
    ///
    /// Fails with `InvalidArgument` (field `prompt`) on more than [`PROMPT_LIMIT_BYTES`].
    pub fn encode(&self, text: &str, positions: usize) -> Result<Encoded> {
        if text.len() > PROMPT_LIMIT_BYTES {
            let message = format!(
                "the prompt has {} bytes; at most {PROMPT_LIMIT_BYTES} are allowed",
                text.len()
            );
            return Err(Error::invalid("prompt", message));
        }
        let encode = |with_special| {
            self.inner.encode(text, with_special).map_err(|error| {
                // The message of the library could quote the prompt, so it is not passed on.
                drop(error);
                Error::new(ErrorKind::Internal, "the prompt cannot be cut into tokens")
                    .with_field("prompt")
            })
        };
        let whole = encode(true)?;
        let mut ids = whole.get_ids().to_vec();
        let is_truncated = ids.len() > positions;
        if is_truncated {
            // What stands after the text: the end token, for those that have one.
            let plain = encode(false)?;
            let around = ids.len() - plain.get_ids().len();
            let before = ids
                .iter()
                .zip(plain.get_ids())
                .take_while(|(a, b)| a != b)
                .count()
                .min(around);
            let tail = ids.split_off(ids.len() - (around - before));
            ids.truncate(positions.saturating_sub(tail.len()));
            ids.extend(tail);
        }
        let token_count = ids.len();
        ids.resize(positions.max(token_count), self.padding);
        Ok(Encoded {
            ids,
            token_count,
            is_truncated,
        })
    }
}

impl std::fmt::Debug for JsonTokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.inner.get_vocab_size(true);
        write!(
            formatter,
            "JsonTokenizer of {size} tokens, padding {}",
            self.padding
        )
    }
}

#[cfg(test)]
mod tests {
    use super::charsmap::tests::table;
    use super::*;

    fn unigram() -> Value {
        json!({
            "version": "1.0",
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}
            },
            "decoder": null,
            "model": {
                "type": "Unigram",
                "unk_id": 2,
                "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["\u{2581}", -3.0], ["\u{2581}a", -4.0], ["b", -5.0]],
                "byte_fallback": false
            }
        })
    }

    fn open(file: &Value) -> Result<JsonTokenizer> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model_index.json"), "{}").unwrap();
        std::fs::create_dir(folder.path().join("tokenizer")).unwrap();
        std::fs::write(
            folder.path().join("tokenizer/tokenizer.json"),
            file.to_string(),
        )
        .unwrap();
        JsonTokenizer::open(
            &Source::directory(folder.path()).unwrap(),
            "tokenizer",
            "<pad>",
        )
    }

    #[test]
    fn a_prompt_ends_with_its_end_and_is_filled_up() {
        let tokenizer = open(&unigram()).unwrap();
        let encoded = tokenizer.encode("a b", 8).unwrap();
        assert_eq!(encoded.ids, [4, 3, 5, 1, 0, 0, 0, 0]);
        assert_eq!((encoded.token_count, encoded.is_truncated), (4, false));
        let cut = tokenizer.encode("a a a a a a", 4).unwrap();
        assert_eq!(cut.ids, [4, 4, 4, 1]);
        assert!(cut.is_truncated);
        assert_eq!(tokenizer.encode("", 2).unwrap().ids, [1, 0]);
        let long = "a".repeat(PROMPT_LIMIT_BYTES + 1);
        assert_eq!(
            tokenizer.encode(&long, 8).unwrap_err().field(),
            Some("prompt")
        );
    }

    #[test]
    fn replacements_of_a_table_are_made_and_damaged_tables_refused() {
        let with = |charsmap: String| {
            let mut file = unigram();
            file["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": charsmap});
            open(&file)
        };
        let tokenizer = with(table(0, 300, "b\0")).unwrap();
        assert_eq!(tokenizer.encode("a", 4).unwrap().ids, [3, 5, 1, 0]);
        for damaged in [table(3, 300, "b\0"), table(0, 512, "b\0")] {
            assert!(with(damaged).unwrap_err().to_string().contains("charsmap"));
        }
    }

    #[test]
    fn rules_that_are_not_listed_are_refused_by_name() {
        let refused = |edit: &dyn Fn(&mut Value)| {
            let mut file = unigram();
            edit(&mut file);
            open(&file).unwrap_err().to_string()
        };
        let evil = json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false});
        assert!(refused(&|file| file["pre_tokenizer"] = evil.clone()).contains("Split"));
        assert!(
            refused(&|file| {
                file["pre_tokenizer"] =
                    json!({"type": "Sequence", "pretokenizers": [evil.clone()]});
            })
            .contains("Split")
        );
        for prefix in [json!("##"), json!("\u{e9}")] {
            assert!(
                refused(&|file| file["model"]["continuing_subword_prefix"] = prefix.clone())
                    .contains("continuing_subword_prefix")
            );
        }
        assert!(refused(&|file| file["model"]["dropout"] = json!(0.5)).contains("dropout"));
        for single in [
            json!([]),
            json!([{"Sequence": {"id": "B", "type_id": 0}}]),
            json!([{"SpecialToken": {"id": "</s>", "type_id": 0}}]),
            json!([{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "none", "type_id": 0}}]),
            json!([{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
        ] {
            assert!(
                refused(&|file| file["post_processor"]["single"] = single.clone())
                    .contains("template")
            );
        }
        let long = json!("x".repeat(5 << 20));
        assert!(
            refused(&|file| file["model"]["vocab"][5][0] = long.clone()).contains("vocabulary")
        );
        let number = json!([{"id": u32::MAX, "content": "a", "special": true}]);
        assert!(refused(&|file| file["added_tokens"] = number.clone()).contains("id of a token"));
        let many = json!(vec![1; 9]);
        assert!(
            refused(&|file| {
                file["post_processor"]["special_tokens"]["</s>"]["ids"] = many.clone();
            })
            .contains("template")
        );
        // six bytes that promise 8.6 GB
        let charsmap = json!({"type": "Precompiled", "precompiled_charsmap": "/////wAA"});
        assert!(refused(&|file| file["normalizer"] = charsmap.clone()).contains("charsmap"));
        let replace =
            json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(20)});
        assert!(refused(&|file| file["normalizer"] = replace.clone()).contains("Replace"));
        assert!(refused(&|file| file["model"]["type"] = json!("WordLevel")).contains("WordLevel"));
        assert!(refused(&|file| file["model"]["unk_id"] = json!(99)).contains("tokenizer"));
        assert!(refused(&|file| file["model"]["vocab"] = json!([])).contains("tokenizer"));
    }
}
