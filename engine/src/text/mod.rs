//! From a prompt to what the networks are conditioned on.

pub mod clip;
pub mod tokenizer;
