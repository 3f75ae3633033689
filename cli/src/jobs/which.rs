//! Which jobs a command means: ids or their first digits, on the command line or on standard input.

use std::io::Read as _;

use imgd_proto::limits::validate_job_id;

use crate::failure::Failure;

/// More ids than this on standard input are a mistake.
const MAX_STDIN_BYTES: u64 = 1 << 20;

/// Reads ids; `-` stands for those on standard input, separated by spaces or lines.
///
/// Fails with status 2 at the first that is none, before anything is done.
pub(crate) fn read(arguments: &[String]) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for argument in arguments {
        if argument == "-" {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .take(MAX_STDIN_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| {
                    Failure::usage(format!("cannot read ids from standard input: {error}"))
                })?;
            for word in text.split_whitespace() {
                ids.push(id(word)?);
            }
        } else {
            ids.push(id(argument)?);
        }
    }
    Ok(ids)
}

/// Checks one id, in capitals or not.
pub(crate) fn id(text: &str) -> Result<String, Failure> {
    let id = text.to_ascii_lowercase();
    validate_job_id(&id)
        .map_err(|_invalid| {
            Failure::usage(format!(
                "`{text}` is no id of a job: give 4 to 32 digits of 0-9 a-f"
            ))
            .field("job_id")
            .hint("`imgctl jobs --all` lists them")
        })
        .map(|()| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_in_capitals_or_not() {
        assert_eq!(id("ABCD01").unwrap(), "abcd01");
        for wrong in ["", "abc", "xyzw", "--all", &"0".repeat(33), "ab cd"] {
            let failure = id(wrong).unwrap_err();
            assert_eq!(
                (failure.code, failure.field.as_deref()),
                (2, Some("job_id"))
            );
        }
    }
}
