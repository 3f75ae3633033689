//! Prompt to conditioning: tokenizers and text encoders.

pub mod clip;
pub mod embeddings;
pub mod emphasis;
pub mod json_tokenizer;
pub mod qwen2_5_vl;
pub mod qwen3;
pub mod t5;
pub mod tokenizer;

use crate::{Error, Result};

/// Checks a size that a text encoder's configuration names.
fn within(field: &str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::model(format!(
        "text encoder config: `{field}` is {value}, outside 1 to {most}"
    )))
}
