//! `tokenizer.json` of CLIP, and of text encoders that name their own rules.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::{
    checkpoint::Source,
    text::{json_tokenizer::JsonTokenizer, tokenizer::Tokenizer},
};
use libfuzzer_sys::fuzz_target;

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = imgd_fuzz::folder();
    imgd_fuzz::write(&root.join("model_index.json"), b"{}");
    root
});
const TEXT: &str = "A photo of 3 caf\u{e9}s, \u{1f600}  \u{304b}\n it's";

fuzz_target!(|bytes: &[u8]| {
    imgd_fuzz::write(&ROOT.join("tokenizer/tokenizer.json"), bytes);
    let source = Source::directory(&*ROOT).expect("the folder is there");
    if let Ok(tokenizer) = Tokenizer::open(&source, "tokenizer", None) {
        let _ = tokenizer.encode(TEXT, 77);
    }
    for padding in ["<pad>", "<|endoftext|>"] {
        if let Ok(tokenizer) = JsonTokenizer::open(&source, "tokenizer", padding) {
            let _ = tokenizer.encode(TEXT, 64);
        }
    }
});
