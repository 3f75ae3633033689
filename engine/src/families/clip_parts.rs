//! A weighted prompt of any length, cut into the parts that CLIP reads at once, as AUTOMATIC1111's web UI cuts it.

use super::clip_symbols::{Position, Reader, Symbol};
use crate::{
    Error, Notice, Result,
    text::{
        emphasis::{self, Piece},
        tokenizer::Tokenizer,
    },
};

/// A part that is full ends after its last comma, if no more than so many tokens follow that.
const COMMA_DISTANCE: usize = 20;
/// Most parts of a prompt.
const MOST_PARTS: usize = 64;

/// What is read at once, with how strongly each position counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) positions: Vec<Position>,
    pub(super) weights: Vec<f32>,
}

/// A prompt in parts, at least one; `field` is the request's name of it.
pub(super) fn cut(
    prompt: &str,
    (tokenizer, reader): (&Tokenizer, &Reader<'_>),
    room: usize,
    field: &'static str,
    notices: &mut Vec<Notice>,
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
        for (symbol, _) in reader.read(&text, notices)? {
            let is_comma = matches!(symbol, Symbol::Token(token) if comma == [token]);
            parts.push(symbol, weight, is_comma);
        }
        if parts.done.len() >= MOST_PARTS {
            let message = format!("`{field}` has more than {MOST_PARTS} parts of {room} tokens");
            return Err(Error::invalid(field, message).with_hint("say it in fewer words"));
        }
    }
    if !parts.part.positions.is_empty() || parts.done.is_empty() {
        parts.end();
    }
    Ok(parts.done)
}

/// Parts while they are cut.
struct Parts {
    done: Vec<Part>,
    part: Part,
    /// Positions of the part before its last comma.
    last_comma: Option<usize>,
    room: usize,
}

impl Parts {
    fn end(&mut self) {
        self.done.push(std::mem::take(&mut self.part));
        self.last_comma = None;
    }

    /// An embedding stays in one part.
    fn push(&mut self, symbol: Symbol, weight: f32, is_comma: bool) {
        let count = self.part.positions.len();
        if is_comma {
            self.last_comma = Some(count);
        } else if let Some(comma) = self
            .last_comma
            .filter(|comma| count == self.room && count - comma <= COMMA_DISTANCE)
        {
            let positions = self.part.positions.split_off(comma + 1);
            let weights = self.part.weights.split_off(comma + 1);
            self.end();
            self.part = Part { positions, weights };
        }
        if self.part.positions.len() + symbol.positions().count() > self.room {
            self.end();
        }
        self.part.positions.extend(symbol.positions());
        self.part.weights.resize(self.part.positions.len(), weight);
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
            parts.push(Symbol::Token(*token), 1.0, *is_comma);
        }
        parts.end();
        let token = |position: &Position| match position {
            Position::Token(token) => *token,
            Position::Vector { .. } => u32::MAX,
        };
        let tokens = |part: &Part| part.positions.iter().map(token).collect();
        parts.done.iter().map(tokens).collect()
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

    #[test]
    fn an_embedding_is_in_one_part() {
        let mut parts = Parts {
            done: Vec::new(),
            part: Part::default(),
            last_comma: None,
            room: 10,
        };
        let embedding = |vectors| Symbol::Embedding { index: 0, vectors };
        for token in 0..7 {
            parts.push(Symbol::Token(token), 1.0, token == 5);
        }
        parts.push(embedding(4), 0.5, false);
        parts.push(embedding(6), 1.0, false);
        parts.push(Symbol::Token(7), 1.0, false);
        parts.end();
        let lengths: Vec<_> = parts.done.iter().map(|part| part.positions.len()).collect();
        assert_eq!(lengths, [7, 10, 1]);
        assert_eq!(parts.done[1].weights[3..5], [0.5, 1.0]);
        assert_eq!(
            parts.done[1].positions[9],
            Position::Vector { index: 0, row: 5 }
        );
    }
}
