//! What `tokenizer.json` says of a Qwen tokenizer that comes without one: its words, its merges, and rules that all of them have.
//!
//! Source: transformers `Qwen2Tokenizer`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::check::WORDS;
use crate::checkpoint::Source;
use crate::{Error, ErrorKind, Result};

/// `tokenizer_config.json`, as far as it is used.
#[derive(Deserialize)]
struct Config {
    /// By their ids.
    added_tokens_decoder: BTreeMap<String, Added>,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

/// From `vocab.json`, `merges.txt` and `tokenizer_config.json` in the directory `dir`. Fails naming the file.
pub(super) fn tokenizer_json(source: &Source, dir: &str) -> Result<Value> {
    let vocab: Map<String, Value> = source.read_json(&format!("{dir}/vocab.json"))?;
    let merges = merges(source, &format!("{dir}/merges.txt"))?;
    let config_path = format!("{dir}/tokenizer_config.json");
    let config: Config = source.read_json(&config_path)?;
    let mut added = Vec::with_capacity(config.added_tokens_decoder.len());
    for (id, token) in config.added_tokens_decoder {
        let id: u32 = id.parse().map_err(|_not_a_number| {
            let id: String = id.chars().take(40).collect();
            Error::model(format!("`{config_path}`: `{id}` is no token id"))
        })?;
        added.push((id, token));
    }
    added.sort_unstable_by_key(|(id, _)| *id);
    let added: Vec<Value> = added
        .into_iter()
        .map(|(id, token)| {
            json!({
                "id": id,
                "content": token.content,
                "single_word": token.single_word,
                "lstrip": token.lstrip,
                "rstrip": token.rstrip,
                "normalized": token.normalized,
                "special": token.special,
            })
        })
        .collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            ],
        },
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocab,
            "merges": merges,
        },
    }))
}

/// Pairs of tokens, one a line, without the line that says the version.
fn merges(source: &Source, path: &str) -> Result<Vec<[String; 2]>> {
    let missing = || {
        Error::new(
            ErrorKind::NotFound,
            format!("the model has no file `{path}`"),
        )
    };
    let bytes = source.read(path)?.ok_or_else(missing)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::model(format!("`{path}` is no UTF-8: {error}")))?;
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("#version"))
        .map(|line| {
            let pair = line.split_once(' ');
            let [left, right] = pair
                .filter(|(_, right)| !right.contains(' '))
                .map(|(left, right)| [left, right].map(str::to_owned))
                .ok_or_else(|| {
                    let line: String = line.chars().take(40).collect();
                    Error::model(format!(
                        "`{path}`: the merge {line:?} does not name two tokens"
                    ))
                })?;
            Ok([left, right])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::JsonTokenizer;
    use super::*;

    const VOCAB: &str = r#"{"a": 0, "b": 1, "ab": 2, "\u0120": 3, "\u0120a": 4, "1": 5, "2": 6}"#;
    const MERGES: &str = "#version: 0.2\na b\n\u{120} a\n";
    const CONFIG: &str = r#"{"added_tokens_decoder": {
        "8": {"content": "<|im_start|>", "special": true},
        "7": {"content": "<|endoftext|>", "special": true}
    }, "pad_token": "<|endoftext|>"}"#;

    fn open(files: &[(&str, &str)]) -> Result<JsonTokenizer> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model_index.json"), "{}").unwrap();
        fs::create_dir(folder.path().join("tokenizer")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("tokenizer").join(name), text).unwrap();
        }
        let source = Source::directory(folder.path()).unwrap();
        JsonTokenizer::open_qwen(&source, "tokenizer", "<|endoftext|>")
    }

    #[test]
    fn words_are_cut_as_qwen_cuts_them() {
        let files = [
            ("vocab.json", VOCAB),
            ("merges.txt", MERGES),
            ("tokenizer_config.json", CONFIG),
        ];
        let tokenizer = open(&files).unwrap();
        // Digits stand alone, a space belongs to the word behind it.
        let encoded = tokenizer.encode("<|im_start|>ab ab12 a", 11).unwrap();
        assert_eq!(encoded.ids, [8, 2, 3, 2, 5, 6, 4, 7, 7, 7, 7]);
        assert_eq!((encoded.token_count, encoded.is_truncated), (7, false));
        assert!(tokenizer.encode("ab ab12 a", 3).unwrap().is_truncated);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |vocab, merges, config| {
            open(&[
                ("vocab.json", vocab),
                ("merges.txt", merges),
                ("tokenizer_config.json", config),
            ])
            .unwrap_err()
            .to_string()
        };
        assert!(refused("[]", MERGES, CONFIG).contains("tokenizer/vocab.json"));
        assert!(refused(VOCAB, "a b c\n", CONFIG).contains("tokenizer/merges.txt"));
        assert!(refused(VOCAB, "a z\n", CONFIG).contains("tokenizer/vocab.json"));
        assert!(refused(VOCAB, MERGES, "{}").contains("added_tokens_decoder"));
        let ids = CONFIG.replace("\"8\"", "\"x\"");
        assert!(refused(VOCAB, MERGES, &ids).contains("`x`"));
        let far = VOCAB.replace("6}", "99999999}");
        assert!(refused(&far, MERGES, CONFIG).contains("id of a token"));
        let missing = open(&[("vocab.json", VOCAB)]).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
        assert!(
            open(&[])
                .unwrap_err()
                .to_string()
                .contains("tokenizer.json")
        );
    }
}
