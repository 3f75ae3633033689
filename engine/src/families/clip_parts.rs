//! A weighted prompt of any length, cut into the parts that CLIP reads at once, as AUTOMATIC1111's web UI cuts it.

use crate::{
    Error, Result,
    text::{
        emphasis::{self, Piece},
        tokenizer::Tokenizer,
    },
};

/// A part that is full ends after its last comma, if no more than so many tokens follow that.
const COMMA_DISTANCE: usize = 20;
/// Most parts of a prompt.
const MOST_PARTS: usize = 64;

/// Tokens that are read at once, with how strongly each counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) tokens: Vec<u32>,
    pub(super) weights: Vec<f32>,
}

/// A prompt in parts, at least one; `field` is the request's name of it.
pub(super) fn cut(
    prompt: &str,
    tokenizer: &Tokenizer,
    room: usize,
    field: &'static str,
) -> Result<Vec<Part>> {
    if room == 0 {
        return Ok(vec![Part::default()]);
    }
    let comma = tokenizer.tokens(",")?;
    let mut parts = Parts {
        done: Vec::new(),
        part: Part::default(),
        last_comma: None,
        room,
    };
    for piece in emphasis::parse(prompt) {
        let Piece::Text(text, weight) = piece else {
            parts.end();
            continue;
        };
        for token in tokenizer.tokens(&text)? {
            parts.push(token, weight, comma == [token]);
        }
        if parts.done.len() >= MOST_PARTS {
            let message = format!("`{field}` has more than {MOST_PARTS} parts of {room} tokens");
            return Err(Error::invalid(field, message).with_hint("say it in fewer words"));
        }
    }
    if !parts.part.tokens.is_empty() || parts.done.is_empty() {
        parts.end();
    }
    Ok(parts.done)
}

/// Parts while they are cut.
struct Parts {
    done: Vec<Part>,
    part: Part,
    /// Tokens of the part before its last comma.
    last_comma: Option<usize>,
    room: usize,
}

impl Parts {
    fn end(&mut self) {
        self.done.push(std::mem::take(&mut self.part));
        self.last_comma = None;
    }

    fn push(&mut self, token: u32, weight: f32, is_comma: bool) {
        let count = self.part.tokens.len();
        if is_comma {
            self.last_comma = Some(count);
        } else if let Some(comma) = self
            .last_comma
            .filter(|comma| count == self.room && count - comma <= COMMA_DISTANCE)
        {
            let tokens = self.part.tokens.split_off(comma + 1);
            let weights = self.part.weights.split_off(comma + 1);
            self.end();
            self.part = Part { tokens, weights };
        }
        if self.part.tokens.len() == self.room {
            self.end();
        }
        self.part.tokens.push(token);
        self.part.weights.push(weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(room: usize, tokens: &[(u32, bool)]) -> Vec<Vec<u32>> {
        let mut parts = Parts {
            done: Vec::new(),
            part: Part::default(),
            last_comma: None,
            room,
        };
        for (token, is_comma) in tokens {
            parts.push(*token, 1.0, *is_comma);
        }
        parts.end();
        parts.done.into_iter().map(|part| part.tokens).collect()
    }

    #[test]
    fn a_full_part_ends_at_a_comma_that_is_near() {
        let words = |count: u32| (0..count).map(|token| (token, false)).collect::<Vec<_>>();
        assert_eq!(
            parts(30, &words(35)),
            [(0..30).collect::<Vec<_>>(), (30..35).collect()]
        );
        let with_comma_at = |at: usize| {
            let mut tokens = words(35);
            tokens[at].1 = true;
            parts(30, &tokens)
        };
        assert_eq!(
            with_comma_at(12),
            [(0..13).collect::<Vec<_>>(), (13..35).collect()]
        );
        assert_eq!(with_comma_at(9)[0].len(), 30);
        assert_eq!(with_comma_at(10)[0].len(), 11);
        assert_eq!(with_comma_at(29)[0].len(), 30);
        assert_eq!(with_comma_at(30)[0].len(), 30);
    }
}
