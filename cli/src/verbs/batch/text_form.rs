//! Text: one prompt a line, with flags behind it, as A1111's "prompts from file" has them.
//!
//! ```text
//! # a comment
//! a red apple
//! a blue bird --seed 7 --steps=20 --negative-prompt "blurry, ugly"
//! --prompt "a title page -- with dashes" --size 256x384 -o cover.png
//! ```
//!
//! The flags begin at the first word that begins with `--` and a letter, or is `-m`, `-n`, `-o` or `-s`; the prompt is
//! what stands before it, taken as it is, and `'…'`, `"…"` and `\` quote in the flags alone.

use super::{
    fields::{Kind, Own, Wrong, find},
    lines::{Line, Problem},
};

/// Reads every line; blank ones and comments are passed over.
pub(super) fn parse(text: &str) -> Vec<Result<Line, Problem>> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(number, line)| match one(line.trim()) {
            Ok(own) => Ok(Line { number, own }),
            Err(wrong) => Err(Problem { number, wrong }),
        })
        .collect()
}

fn one(line: &str) -> Result<Own, Wrong> {
    let (prompt, flags) = line.split_at(flags_begin(line).unwrap_or(line.len()));
    let mut own = Own::default();
    if !prompt.trim().is_empty() {
        own.set(find("prompt")?, "prompt", prompt.trim_end())?;
    }
    let mut words = words(flags)?.into_iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-') else {
            return Err(Wrong::new(format!(
                "`{word}` belongs to no flag; a value with spaces stands in quotation marks"
            )));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let field = find(name.trim_start_matches('-'))?;
        let shown = word.split('=').next().unwrap_or(&word);
        let value = match (value, field.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => words.next().ok_or_else(|| Wrong {
                field: Some(field.names[0]),
                message: format!("`{shown}` needs a value"),
            })?,
        };
        own.set(field, shown, &value)?;
    }
    Ok(own)
}

/// Where the first word begins that is a flag.
fn flags_begin(line: &str) -> Option<usize> {
    const SHORT: [&str; 4] = ["-m", "-n", "-o", "-s"];
    line.match_indices('-').map(|(at, _)| at).find(|&at| {
        let is_word_start = line[..at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace);
        let word = line[at..]
            .split(char::is_whitespace)
            .next()
            .unwrap_or_default();
        let long = word.strip_prefix("--").and_then(|name| name.chars().next());
        is_word_start && (SHORT.contains(&word) || long.is_some_and(char::is_alphabetic))
    })
}

/// Words as a shell takes them apart, without its variables and wildcards.
fn words(text: &str) -> Result<Vec<String>, Wrong> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            ('\\', None | Some('"')) => {
                let next = characters.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            (_, Some(_)) => word.get_or_insert_default().push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(character),
        }
    }
    if let Some(quote) = quote {
        return Err(Wrong::new(format!(
            "a quotation mark {quote} is not closed"
        )));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flags_stand_behind_the_prompt() {
        let own = one(r#"an "apple" -- it's red --seed 7 --steps=20 -n 2 --negative-prompt "a, \"b\"" --no-metadata"#)
            .unwrap();
        assert_eq!(own.prompt.as_deref(), Some("an \"apple\" -- it's red"));
        assert_eq!((own.seed, own.num_inference_steps), (Some(7), Some(20)));
        assert_eq!((own.num_images, own.omit_metadata), (Some(2), Some(true)));
        assert_eq!(own.negative_prompt.as_deref(), Some("a, \"b\""));
    }

    #[test]
    fn short_flags_are_flags_too() {
        let own = one("well-known -x -n 2 -s 3 -o a.png").unwrap();
        assert_eq!(own.prompt.as_deref(), Some("well-known -x"));
        assert_eq!((own.num_images, own.seed), (Some(2), Some(3)));
        assert_eq!(own.output.as_deref(), Some("a.png"));
    }

    #[test]
    fn a_prompt_may_be_a_flag_itself() {
        let own = one(r#"--prompt "x --steps 3" --negative_prompt='' --cfg_scale 2"#).unwrap();
        assert_eq!(own.prompt.as_deref(), Some("x --steps 3"));
        assert_eq!(
            (own.negative_prompt.as_deref(), own.guidance_scale),
            (Some(""), Some(2.0))
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (line, message) in [
            ("x --steps", "`--steps` needs a value"),
            ("x --steps 0", "`--steps` cannot be `0`"),
            ("x --seed 7 8", "`8` belongs to no flag"),
            ("x --sede 7", "there is no field `sede`"),
            ("x --sampler \"e", "a quotation mark \" is not closed"),
            ("x --seed 1 --seed 2", "`--seed` is given twice"),
            ("x --prompt y", "`--prompt` is given twice"),
        ] {
            let wrong = one(line).unwrap_err();
            assert!(wrong.message.starts_with(message), "{line}: {wrong:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_passed_over() {
        let lines = parse("# x\n\n a \r\n  # y\n#z\nb --seed 1\n");
        let numbers: Vec<_> = lines
            .iter()
            .map(|line| line.as_ref().unwrap().number)
            .collect();
        assert_eq!(numbers, [3, 6]);
    }

    fn quoted(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(line in "\\PC*") {
            drop(one(&line));
        }

        #[test]
        fn a_prompt_without_flags_is_taken_as_it_is(prompt in "[a-zA-Z(][a-zA-Z0-9,.:'\"\\\\() é-]*") {
            prop_assume!(flags_begin(&prompt).is_none());
            let own = one(prompt.trim()).unwrap();
            prop_assert_eq!(own.prompt.as_deref(), Some(prompt.trim()));
        }

        #[test]
        fn any_text_comes_through_quotation_marks(prompt in "[^\\pC]*", negative in "[^\\pC]*") {
            let line = format!("--prompt {} --negative-prompt={}", quoted(&prompt), quoted(&negative));
            let own = one(&line).unwrap();
            prop_assert_eq!(own.prompt, Some(prompt));
            prop_assert_eq!(own.negative_prompt, Some(negative));
        }
    }
}
