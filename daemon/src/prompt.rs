//! Text that a user wrote. It reaches the engine and nothing else: no log, no error, no `Debug` output.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::OnceLock,
};

/// A prompt. `Debug` shows its length and a hash that changes with every start of the daemon.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt(String);

impl Prompt {
    /// Takes the text in.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the engine alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let hash = KEY.get_or_init(RandomState::new).hash_one(&self.0);
        write!(
            formatter,
            "[{} bytes, {:08x}]",
            self.0.len(),
            hash & 0xffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Prompt;

    #[test]
    fn debug_output_holds_no_word_of_the_prompt() {
        let shown = format!("{:?}", Prompt::new("a canary".to_owned()));
        assert!(
            shown.starts_with("[8 bytes, ") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
