//! Prompts: A1111's grammar, names of embeddings, CLIP's tokens.

#![no_main]

use std::sync::LazyLock;

use imgd_engine::{
    checkpoint::Source,
    text::{embeddings, tokenizer::Tokenizer},
};
use libfuzzer_sys::fuzz_target;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let starter = imgd_fuzz::repository().join("models/starter");
    let source = Source::directory(starter).expect("the starter is there");
    Tokenizer::open(&source, "tokenizer", None).expect("the starter has a tokenizer")
});

fuzz_target!(|prompt: &str| {
    for has_grammar in [false, true] {
        for text in embeddings::texts(prompt, has_grammar) {
            let _ = embeddings::spans(&text, |name| name.len() % 2 == 0);
            let _ = embeddings::squeezed(&text);
            let tokens = TOKENIZER.tokens_at(&text).expect("any text has tokens");
            assert!(tokens.iter().all(|(_, at)| text.is_char_boundary(*at)));
        }
    }
    let encoded = TOKENIZER
        .encode(prompt, 77)
        .expect("a short prompt is encoded");
    assert!(encoded.ids.len() <= 77);
});
