//! Where a prompt names textual inversion embeddings. `embedding:NAME` does, as in ComfyUI; with A1111's grammar a file's name alone
//! does as well, which is looked for among tokens.
//!
//! Says nothing of files: who calls knows which names there are.

use super::emphasis::{self, Piece};

/// What stands before the name.
pub const PREFIX: &str = "embedding:";

/// What may follow a name without belonging to it.
const PUNCTUATION: &[char] = &['.', ';', ':', '!', '?', ')', ']', '}', '"', '\''];

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// The text, or the embedding's name without [`PREFIX`].
    pub text: &'a str,
    /// Whether it is a name.
    pub is_name: bool,
    /// Byte of the whole text where it begins, the prefix included.
    pub at: usize,
}

/// Cuts a text at its `embedding:NAME`.
///
/// A name ends at white space or a comma; punctuation behind it belongs to it only where `is_known` says so. The error is a name
/// that is not known.
pub fn spans(text: &str, is_known: impl Fn(&str) -> bool) -> Result<Vec<Span<'_>>, &str> {
    let mut found = Vec::new();
    let (mut from, mut searched) = (0, 0);
    while let Some(at) = text[searched..].find(PREFIX).map(|at| at + searched) {
        let begin = at + PREFIX.len();
        searched = begin;
        let word = text[begin..].split(|letter: char| letter.is_whitespace() || letter == ',');
        let word = word.into_iter().next().unwrap_or_default();
        let bare = word.trim_end_matches(PUNCTUATION);
        let is_inside_a_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if bare.is_empty() || is_inside_a_word {
            continue;
        }
        let name = if is_known(word) { word } else { bare };
        if !is_known(name) {
            return Err(name);
        }
        push_text(&mut found, text, from..at);
        found.push(Span {
            text: name,
            is_name: true,
            at,
        });
        from = begin + name.len();
        searched = from;
    }
    push_text(&mut found, text, from..text.len());
    Ok(found)
}

fn push_text<'a>(found: &mut Vec<Span<'a>>, text: &'a str, range: std::ops::Range<usize>) {
    if !range.is_empty() {
        found.push(Span {
            at: range.start,
            text: &text[range],
            is_name: false,
        });
    }
}

/// The texts of a prompt in which names are looked for: what stands between brackets where it has A1111's grammar, or all of it.
pub fn texts(prompt: &str, has_grammar: bool) -> Vec<String> {
    if !has_grammar {
        return vec![prompt.to_owned()];
    }
    let pieces = emphasis::parse(prompt).into_iter();
    pieces
        .filter_map(|piece| match piece {
            Piece::Text(text, _) => Some(text),
            Piece::Break => None,
        })
        .collect()
}

/// What has to be in the [`squeezed`] text for the tokens of a name to be in it, in whatever case and spacing.
pub fn squeezed(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Result<Vec<(&str, bool)>, &str> {
        let known = ["easy", "v1.5", "bad.", "styles/ink"];
        let found = spans(text, |name| known.contains(&name))?;
        for span in &found {
            let length = if span.is_name { PREFIX.len() } else { 0 };
            assert!(text[span.at + length..].starts_with(span.text));
        }
        Ok(found.iter().map(|span| (span.text, span.is_name)).collect())
    }

    #[test]
    fn names_end_where_a_reader_would_end_them() {
        for (text, expected) in [
            ("a cat", &[("a cat", false)][..]),
            ("embedding:easy", &[("easy", true)]),
            (
                "a embedding:easy, cat",
                &[("a ", false), ("easy", true), (", cat", false)],
            ),
            ("embedding:easy.", &[("easy", true), (".", false)]),
            ("embedding:bad.", &[("bad.", true)]),
            (
                "(embedding:v1.5)\nembedding:styles/ink",
                &[
                    ("(", false),
                    ("v1.5", true),
                    (")\n", false),
                    ("styles/ink", true),
                ],
            ),
            ("an embedding: easy", &[("an embedding: easy", false)]),
            ("embedding:, easy", &[("embedding:, easy", false)]),
            ("an_embedding:easy", &[("an_embedding:easy", false)]),
            ("", &[]),
        ] {
            assert_eq!(cut(text).unwrap(), expected, "{text}");
        }
        assert_eq!(cut("a embedding:hard, b"), Err("hard"));
        assert_eq!(
            cut("embedding:easyembedding:easy"),
            Err("easyembedding:easy")
        );
    }

    #[test]
    fn brackets_are_no_part_of_names_in_a_grammar_that_has_them() {
        let found = texts("(embedding:easy:1.2), [b] \\(c\\)", true);
        assert_eq!(found, ["embedding:easy", ", ", "b", " (c)"]);
        assert_eq!(texts("(a) b", false), ["(a) b"]);
    }
}
