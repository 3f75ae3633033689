//! What a `tokenizer.json` may ask for.

use serde_json::Value;

use crate::{Error, Result};

/// Models of which a tokenizer is made.
const MODELS: &[&str] = &["Unigram", "BPE"];
/// Normalizers without settings that could do harm.
const NORMALIZERS: &[&str] = &["NFC", "NFKC", "NFD", "NFKD", "Lowercase", "Strip"];
/// Pre-tokenizers likewise.
const PRE_TOKENIZERS: &[&str] = &["Metaspace", "WhitespaceSplit", "ByteLevel"];
const POST_PROCESSORS: &[&str] = &["TemplateProcessing", "ByteLevel"];
/// The pattern by which Qwen's and GPT's successors cut text into words.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What T5's files replace: runs of spaces by one.
const SPACES: &str = " {2,}";
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
    }
    Ok(())
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

/// A table of replacements begins with the length of its first part, which the library believes.
fn check_charsmap(path: &str, normalizer: &Value) -> Result<()> {
    let text = normalizer["precompiled_charsmap"]
        .as_str()
        .unwrap_or_default();
    let bytes = text.trim_end_matches('=').len() / 4 * 3;
    let promised = first_bytes(text).map(u32::from_le_bytes);
    let fits = promised.is_some_and(|promised| {
        promised % 4 == 0 && usize::try_from(promised).is_ok_and(|promised| promised + 4 <= bytes)
    });
    if fits {
        return Ok(());
    }
    Err(Error::model(format!(
        "`{path}`: the `precompiled_charsmap` is damaged"
    )))
}

/// The first four bytes of a text in base64.
fn first_bytes(text: &str) -> Option<[u8; 4]> {
    let sextet = |character: u8| match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bits = 0u64;
    for character in text.as_bytes().get(..6)? {
        bits = bits << 6 | u64::from(sextet(*character)?);
    }
    u32::try_from(bits >> 4).ok().map(u32::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_begins_with_its_first_bytes() {
        assert_eq!(first_bytes("AQIDBA=="), Some([1, 2, 3, 4]));
        assert_eq!(first_bytes("/////wAA"), Some([255, 255, 255, 255]));
        assert_eq!(first_bytes("AQI"), None);
    }
}
