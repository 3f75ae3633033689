use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    lengths: Vec<usize>,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    files: BTreeMap<String, String>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    prompt: String,
    ids: Vec<u32>,
    #[serde(default)]
    padded: Vec<Vec<u32>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/tokenizer.json")).unwrap()
}

/// A model whose directory `tokenizer` has these files.
fn with_files<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (tempfile::TempDir, Source) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("tokenizer")).unwrap();
    for (name, text) in files {
        std::fs::write(root.path().join("tokenizer").join(name), text).unwrap();
    }
    let source = Source::Directory(root.path().to_owned());
    (root, source)
}

fn open(case: &Case) -> Tokenizer {
    if case.files.is_empty() {
        let starter = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/starter");
        return Tokenizer::open(&Source::Directory(starter.into()), "tokenizer", None).unwrap();
    }
    let (_root, source) = with_files(
        case.files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    Tokenizer::open(&source, "tokenizer", None).unwrap()
}

#[test]
fn ids_are_those_of_transformers() {
    let golden = golden();
    for (name, case) in &golden.cases {
        let tokenizer = open(case);
        let limit = tokenizer.max_positions().unwrap_or(usize::MAX);
        for Row {
            prompt,
            ids,
            padded,
        } in &case.rows
        {
            // Truncated to the tokenizer's own length where it has one.
            let encoded = tokenizer.encode(prompt, ids.len()).unwrap();
            let kept = ids.len().min(limit);
            assert_eq!(
                encoded.ids[..kept - 1],
                ids[..kept - 1],
                "{name}: {prompt:?}"
            );
            assert_eq!(encoded.token_count, kept, "{name}: {prompt:?}");
            assert_eq!(
                encoded.truncated.is_some(),
                ids.len() > limit,
                "{name}: {prompt:?}"
            );
            for (expected, length) in padded.iter().zip(&golden.lengths) {
                if *length <= limit {
                    assert_eq!(
                        &tokenizer.encode(prompt, *length).unwrap().ids,
                        expected,
                        "{name} {length}: {prompt:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_notice_has_the_end_of_the_prompt_as_the_user_wrote_it() {
    let tokenizer = open(&golden().cases["starter"]);
    let encoded = tokenizer
        .encode("A red APPLE, on a  wooden Table", 6)
        .unwrap();
    assert_eq!(encoded.ids.len(), 6);
    assert_eq!(encoded.truncated.as_deref(), Some("on a  wooden Table"));
    assert_eq!(tokenizer.encode("a red apple", 40).unwrap().truncated, None);
    // A cut inside of a character is moved to its start.
    for length in 2..12 {
        let truncated = tokenizer.encode("🍎🍎🍎", length).unwrap().truncated;
        assert!(
            truncated.is_none_or(|text| "🍎🍎🍎".ends_with(&text)),
            "{length}"
        );
    }
}

#[test]
fn lengths_are_those_of_the_encoder_and_of_the_files() {
    let tokenizer = open(&golden().cases["starter"]);
    assert_eq!(tokenizer.max_positions(), Some(40));
    assert_eq!(tokenizer.encode("", 77).unwrap().ids.len(), 40);
    assert_eq!(tokenizer.encode("", 8).unwrap().ids.len(), 8);
    assert_eq!(
        tokenizer.encode("", 1).unwrap_err().kind(),
        ErrorKind::ModelInvalid
    );
    // A length of 1e30 stands for none.
    assert_eq!(open(&golden().cases["decoder"]).max_positions(), None);
}

#[test]
fn long_prompts_are_refused_and_allowed_ones_are_quick() {
    let tokenizer = open(&golden().cases["starter"]);
    for letter in ["x", "'", "é", "1", " ", "🍎", "\0"] {
        let prompt = letter.repeat(PROMPT_LIMIT_BYTES / letter.len());
        assert_eq!(tokenizer.encode(&prompt, 40).unwrap().ids.len(), 40);
    }
    let error = tokenizer
        .encode(&"x".repeat(PROMPT_LIMIT_BYTES + 1), 40)
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ErrorKind::InvalidArgument, Some("prompt"))
    );
}

#[test]
fn hostile_rules_in_a_file_are_never_run() {
    let case = &golden().cases["modern"];
    let mut json: serde_json::Value = serde_json::from_str(&case.files["tokenizer.json"]).unwrap();
    let replace = serde_json::json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "................"});
    json["normalizer"] = serde_json::json!({"type": "Sequence", "normalizers":
        [replace, replace, replace, replace, replace, replace, {"type": "Precompiled", "precompiled_charsmap": "/////wAA"}]});
    json["pre_tokenizer"] = serde_json::json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": false});
    let (_root, source) = with_files([
        ("tokenizer.json", json.to_string().as_str()),
        (
            "tokenizer_config.json",
            &case.files["tokenizer_config.json"],
        ),
    ]);
    let tokenizer = Tokenizer::open(&source, "tokenizer", None).unwrap();
    let plain = open(case);
    for prompt in ["a", "a red apple", &"a".repeat(1000)] {
        assert_eq!(
            tokenizer.encode(prompt, 77).unwrap(),
            plain.encode(prompt, 77).unwrap()
        );
    }
}

#[test]
fn broken_files_are_named() {
    let vocab = r#"{"a": 0, "b</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4}"#;
    let fails = |files: &[(&str, &str)]| {
        let (_root, source) = with_files(files.iter().copied());
        Tokenizer::open(&source, "tokenizer", None).unwrap_err()
    };
    assert!(
        with_files([("vocab.json", vocab), ("merges.txt", "a b</w>\n")])
            .1
            .contains("tokenizer/vocab.json")
    );
    let added: Vec<_> = (0..1025)
        .map(|id| serde_json::json!({"id": id, "content": "a"}))
        .collect();
    let many = serde_json::json!({"model": {"vocab": {}, "merges": []}, "added_tokens": added});
    let many = many.to_string();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "vocab.json"),
        (&[("vocab.json", vocab)], "merges.txt"),
        (
            &[("vocab.json", "{\"a\": -1}"), ("merges.txt", "")],
            "vocab.json",
        ),
        (
            &[("vocab.json", "{\"a\": 0}"), ("merges.txt", "")],
            "<|startoftext|>",
        ),
        (
            &[("vocab.json", vocab), ("merges.txt", "a b</w> c")],
            "does not name two tokens",
        ),
        (
            &[("vocab.json", vocab), ("merges.txt", "b</w> a")],
            "there is none",
        ),
        (
            &[("vocab.json", vocab), ("merges.txt", "zz a")],
            "there is none",
        ),
        (
            &[
                ("vocab.json", vocab),
                ("merges.txt", ""),
                ("tokenizer_config.json", "["),
            ],
            "tokenizer_config.json",
        ),
        (
            &[(
                "tokenizer.json",
                r#"{"model": {"type": "Unigram", "vocab": {}, "merges": []}}"#,
            )],
            "Unigram",
        ),
        (&[("tokenizer.json", "{}")], "tokenizer.json"),
        // The library counts on from the highest id.
        (
            &[("vocab.json", r#"{"a": 4294967295}"#), ("merges.txt", "")],
            "has the id 4294967295",
        ),
        (&[("tokenizer.json", many.as_str())], "adds 1025 tokens"),
    ];
    for (files, expected) in cases {
        let message = fails(files).to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}
