//! Where a prompt comes from: the command line, standard input or a file.

use std::{
    fs::File,
    io::{self, Read},
};

use imgd_proto::limits::{self, Range};

use crate::failure::Failure;

/// Reads a prompt: `-` is standard input, `@FILE` a file, `@@…` a prompt that begins with `@`, else the text itself.
///
/// The last line break of standard input or a file is not part of the prompt.
pub(crate) fn read(argument: &str) -> Result<String, Failure> {
    if argument == "-" {
        return read_from(io::stdin().lock(), "standard input");
    }
    match argument.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::usage(format!("cannot read the prompt from `{path}`: {error}"))
                    .field("prompt")
                    .hint("write `@@` for a prompt that begins with `@`")
            })?;
            read_from(file, &format!("`{path}`"))
        }
        None => Ok(argument.to_owned()),
    }
}

fn read_from(source: impl Read, name: &str) -> Result<String, Failure> {
    let Range::Bytes { max: max_bytes } = limits::PROMPT.range else {
        unreachable!("a prompt is limited in bytes")
    };
    let failure = |what: String| Failure::usage(what).field("prompt");
    let mut bytes = Vec::new();
    source
        // One more for a line break and one to notice that there is more.
        .take(max_bytes + 3)
        .read_to_end(&mut bytes)
        .map_err(|error| failure(format!("cannot read the prompt from {name}: {error}")))?;
    let text = String::from_utf8(bytes);
    let mut text =
        text.map_err(|_invalid| failure(format!("the prompt in {name} is not UTF-8 text")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.len() as u64 > max_bytes {
        return Err(failure(format!(
            "the prompt in {name} is longer than {max_bytes} bytes"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_break_is_not_part_of_it() {
        let read = |text: &str| read_from(text.as_bytes(), "x").unwrap();
        assert_eq!(read("a red apple\n"), "a red apple");
        assert_eq!(read("two\nlines\r\n"), "two\nlines");
        assert_eq!(read(""), "");
    }

    #[test]
    fn text_that_is_too_long_or_no_text_is_refused() {
        let long = vec![b'x'; 40_000];
        assert_eq!(read_from(&long[..], "x").unwrap_err().code, 2);
        assert_eq!(read_from(&[0xff, 0xfe][..], "x").unwrap_err().code, 2);
        let full = "x".repeat(32_768) + "\n";
        assert_eq!(read_from(full.as_bytes(), "x").unwrap().len(), 32_768);
    }

    #[test]
    fn an_at_sign_names_a_file() {
        assert_eq!(read("@@home").unwrap(), "@home");
        let failure = read("@/nonexistent/prompt").unwrap_err();
        assert_eq!(
            (failure.code, failure.field.as_deref()),
            (2, Some("prompt"))
        );
    }
}
