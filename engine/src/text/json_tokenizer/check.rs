//! What a `tokenizer.json` may ask for.

use serde_json::Value;

use super::charsmap;
use crate::text::tokenizer::IDS_LIMIT;
use crate::{Error, Result};

/// Models of which a tokenizer is made.
const MODELS: &[&str] = &["Unigram", "BPE"];
/// Normalizers without settings that could do harm.
const NORMALIZERS: &[&str] = &["NFC", "NFKC", "NFD", "NFKD", "Lowercase", "Strip"];
/// Pre-tokenizers likewise.
const PRE_TOKENIZERS: &[&str] = &["Metaspace", "WhitespaceSplit", "ByteLevel"];
const POST_PROCESSORS: &[&str] = &["TemplateProcessing", "ByteLevel"];
/// The pattern by which Qwen's and GPT's successors cut text into words.
pub(super) const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What T5's files replace: runs of spaces by one.
const SPACES: &str = " {2,}";
/// Tokens that a template puts around a text.
const AROUND_LIMIT: usize = 8;
/// Texts of pieces and added tokens together, each of whose bytes takes some hundred bytes in the library's trie. The largest
/// vocabularies in use have 2 MB.
const TEXTS_LIMIT_BYTES: usize = 4 << 20;
/// Steps of a sequence.
const STEPS_LIMIT: usize = 8;

/// Fails unless everything that the file asks for is on the lists.
pub(super) fn check(path: &str, file: &Value) -> Result<()> {
    let refused = |what: &str, kind: &str| {
        let kind: String = kind.chars().take(40).collect();
        Err(Error::model(format!(
            "`{path}`: the {what} {kind:?} is not supported"
        )))
    };
    let model = kind(&file["model"]);
    if !MODELS.contains(&model) {
        return refused("model", model);
    }
    // Rules that BPE has beside its merges: the library cuts tokens by the first, and throws dice for the second.
    for key in ["continuing_subword_prefix", "dropout"] {
        let value = &file["model"][key];
        if !value.is_null() && value != "" && value.as_f64() != Some(0.0) {
            return refused("model's", key);
        }
    }
    let ids = file["model"]["vocab"].as_object().into_iter().flatten();
    let added = || file["added_tokens"].as_array().into_iter().flatten();
    let numbers = ids
        .map(|(_, id)| id)
        .chain(added().map(|token| &token["id"]));
    if numbers
        .filter_map(Value::as_u64)
        .any(|id| id >= IDS_LIMIT.into())
    {
        return refused("id of a token", "4194304 and above");
    }
    let pieces = file["model"]["vocab"].as_array().into_iter().flatten();
    let texts = pieces
        .map(|piece| &piece[0])
        .chain(added().map(|token| &token["content"]));
    let bytes: usize = texts.filter_map(Value::as_str).map(str::len).sum();
    if bytes > TEXTS_LIMIT_BYTES {
        return refused("vocabulary", "of more than 4 MiB");
    }
    for normalizer in steps(path, &file["normalizer"], "normalizers")? {
        let allowed = match kind(normalizer) {
            "Precompiled" => {
                check_charsmap(path, normalizer)?;
                true
            }
            "Replace" => {
                normalizer["pattern"]["Regex"] == SPACES
                    && (normalizer["content"] == "\u{2581}" || normalizer["content"] == " ")
            }
            name => NORMALIZERS.contains(&name),
        };
        if !allowed {
            return refused("normalizer", kind(normalizer));
        }
    }
    for step in steps(path, &file["pre_tokenizer"], "pretokenizers")? {
        let allowed = match kind(step) {
            "Split" => step["pattern"]["Regex"] == WORDS,
            name => PRE_TOKENIZERS.contains(&name),
        };
        if !allowed {
            return refused("pre-tokenizer", kind(step));
        }
    }
    for step in steps(path, &file["post_processor"], "processors")? {
        if !POST_PROCESSORS.contains(&kind(step)) {
            return refused("post-processor", kind(step));
        }
        if kind(step) == "TemplateProcessing" && !is_sound_template(step) {
            return refused("template", "single");
        }
    }
    Ok(())
}

/// Whether a text is there once, with few tokens around it, each of which has ids.
fn is_sound_template(template: &Value) -> bool {
    let mut texts = 0;
    let mut around = 0;
    for piece in template["single"].as_array().into_iter().flatten() {
        let Some(token) = piece.get("SpecialToken") else {
            texts += 1;
            if piece["Sequence"]["id"] != "A" {
                return false;
            }
            continue;
        };
        let name = token["id"].as_str().unwrap_or_default();
        let Some(ids) = template["special_tokens"][name]["ids"].as_array() else {
            return false;
        };
        around += ids.len();
    }
    texts == 1 && around <= AROUND_LIMIT
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or_default()
}

/// The steps of a sequence, one step by itself, or none.
fn steps<'a>(path: &str, value: &'a Value, key: &str) -> Result<Vec<&'a Value>> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    if kind(value) != "Sequence" {
        return Ok(vec![value]);
    }
    let steps: Vec<&Value> = value[key].as_array().into_iter().flatten().collect();
    if steps.len() > STEPS_LIMIT {
        return Err(Error::model(format!(
            "`{path}`: a sequence of {} steps is not supported",
            steps.len()
        )));
    }
    Ok(steps)
}

/// A table of replacements that the library can follow.
fn check_charsmap(path: &str, normalizer: &Value) -> Result<()> {
    let text = normalizer["precompiled_charsmap"].as_str();
    if text.is_some_and(charsmap::is_sound) {
        return Ok(());
    }
    Err(Error::model(format!(
        "`{path}`: the `precompiled_charsmap` is damaged"
    )))
}
