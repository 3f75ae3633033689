//! The prompt grammar of AUTOMATIC1111's web UI: how strongly words count, and where a part of the prompt ends.
//!
//! `(word)` counts 1.1 times, `[word]` as much less, `(word:1.3)` 1.3 times; they may be nested. A backslash before a bracket makes it a
//! letter. `BREAK` begins another part. What is not closed holds to the end.

/// What a bracket changes the weight by.
const STEP: f32 = 1.1;

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text, and how strongly it counts.
    Text(String, f32),
    /// Another part begins.
    Break,
}

/// Takes a prompt apart.
pub fn parse(prompt: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Where the pieces of open brackets begin.
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let scale = |pieces: &mut [Piece], by: f32| {
        for piece in pieces {
            if let Piece::Text(_, weight) = piece {
                *weight *= by;
            }
        }
    };
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let letter = after.chars().next().filter(|c| "()[]\\".contains(*c));
                rest = letter.map_or(after, |letter| &after[letter.len_utf8()..]);
                if let Some(letter) = letter {
                    pieces.push(Piece::Text(letter.to_string(), 1.0));
                }
            }
            '(' => {
                round.push(pieces.len());
                rest = after;
            }
            '[' => {
                square.push(pieces.len());
                rest = after;
            }
            ':' if !round.is_empty() && explicit(after).is_some() => {
                let (weight, behind) = explicit(after).unwrap_or((1.0, after));
                if let Some(from) = round.pop() {
                    scale(&mut pieces[from..], weight);
                }
                rest = behind;
            }
            ')' if !round.is_empty() => {
                if let Some(from) = round.pop() {
                    scale(&mut pieces[from..], STEP);
                }
                rest = after;
            }
            ']' if !square.is_empty() => {
                if let Some(from) = square.pop() {
                    scale(&mut pieces[from..], 1.0 / STEP);
                }
                rest = after;
            }
            _ => {
                let end = after
                    .find(['\\', '(', ')', '[', ']', ':'])
                    .map_or(rest.len(), |at| at + first.len_utf8());
                push_words(&rest[..end], &mut pieces);
                rest = &rest[end..];
            }
        }
    }
    for from in round {
        scale(&mut pieces[from..], STEP);
    }
    for from in square {
        scale(&mut pieces[from..], 1.0 / STEP);
    }
    merged(pieces)
}

/// A number, a closing bracket and what follows.
fn explicit(text: &str) -> Option<(f32, &str)> {
    let (number, behind) = text.split_once(')')?;
    let number = number.trim();
    let is_plain = number
        .chars()
        .all(|c| c.is_ascii_digit() || "+-.".contains(c));
    let weight = number
        .parse()
        .ok()
        .filter(|weight: &f32| weight.is_finite())?;
    is_plain.then_some((weight, behind))
}

/// Text, cut at `BREAK` where it stands as a word.
fn push_words(text: &str, pieces: &mut Vec<Piece>) {
    const BREAK: &str = "BREAK";
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    let mut from = 0;
    while let Some(at) = rest[from..].find(BREAK).map(|at| at + from) {
        let end = at + BREAK.len();
        if rest[..at].ends_with(is_word) || rest[end..].starts_with(is_word) {
            from = end;
            continue;
        }
        pieces.push(Piece::Text(rest[..at].trim_end().to_owned(), 1.0));
        pieces.push(Piece::Break);
        rest = rest[end..].trim_start();
        from = 0;
    }
    pieces.push(Piece::Text(rest.to_owned(), 1.0));
}

/// Neighbours of one weight in one piece; empty ones left out.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), piece) {
            (_, Piece::Text(text, _)) if text.is_empty() => {}
            #[expect(clippy::float_cmp, reason = "the same brackets give the same bits")]
            (Some(Piece::Text(before, a)), Piece::Text(text, b)) if *a == b => {
                before.push_str(&text);
            }
            (_, piece) => all.push(piece),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and weight in hundredths; `BREAK` as -1, as A1111 has it.
    fn parsed(prompt: &str) -> Vec<(String, i32)> {
        parse(prompt)
            .into_iter()
            .map(|piece| match piece {
                #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
                Piece::Text(text, weight) => (text, (weight * 1000.0).round() as i32),
                Piece::Break => ("BREAK".to_owned(), -1),
            })
            .collect()
    }

    fn pieces(expected: &[(&str, i32)]) -> Vec<(String, i32)> {
        expected
            .iter()
            .map(|(text, weight)| ((*text).to_owned(), *weight))
            .collect()
    }

    /// The examples of A1111's `parse_prompt_attention`, and some of what it leaves open.
    #[test]
    fn weights_are_those_of_a1111() {
        for (prompt, expected) in [
            ("normal text", &[("normal text", 1000)][..]),
            (
                "an (important) word",
                &[("an ", 1000), ("important", 1100), (" word", 1000)],
            ),
            ("(unbalanced", &[("unbalanced", 1100)]),
            ("\\(literal\\]", &[("(literal]", 1000)]),
            ("(unnecessary)(parens)", &[("unnecessaryparens", 1100)]),
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                &[
                    ("a ", 1000),
                    ("house", 1573),
                    (" ", 1100),
                    ("on", 1000),
                    (" a ", 1100),
                    ("hill", 550),
                    (", sun, ", 1100),
                    ("sky", 1464),
                    (".", 1100),
                ],
            ),
            ("[[faint]]", &[("faint", 826)]),
            ("(a:-0.5)", &[("a", -500)]),
            ("a: b (c: d)", &[("a: b ", 1000), ("c: d", 1100)]),
            ("(a:1.2.3)", &[("a:1.2.3", 1100)]),
            ("closed) again]", &[("closed) again]", 1000)]),
            ("a\\b", &[("ab", 1000)]),
            ("", &[]),
            (
                "one BREAK two BREAKFAST",
                &[("one", 1000), ("BREAK", -1), ("two BREAKFAST", 1000)],
            ),
            (
                "(one BREAK two:1.5)",
                &[("one", 1500), ("BREAK", -1), ("two", 1500)],
            ),
            ("é(ü:2)", &[("é", 1000), ("ü", 2000)]),
        ] {
            assert_eq!(parsed(prompt), pieces(expected), "{prompt}");
        }
    }
}
