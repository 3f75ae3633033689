//! Rules about the text of the sources.

use std::{fs, io, path::Path};

use crate::rust_files;

/// Where unsafe code may be; each block says why it is sound.
const UNSAFE: [&str; 3] = [
    "engine/src/kernels",
    "engine/src/checkpoint",
    "daemon/src/sys.rs",
];

/// Where the environment may be read.
const ENVIRONMENT: [&str; 9] = [
    "daemon/src/config",
    "daemon/src/config.rs",
    "cli/src/main.rs",
    "proto/src/socket.rs",
    // no part of a program that is shipped
    "e2e/src/programs.rs",
    "daemon/src/sandbox/tests.rs",
    "daemon/src/spawner/tests.rs",
    "daemon/src/worker/tests.rs",
    "proto/build.rs",
];

/// Where the daemon may know the engine: the worker.
const WORKER: [&str; 1] = ["daemon/src/worker"];

/// What of the engine the supervisor may name: lists, embedded bytes, how prompts spell names and what headers say, which compute
/// nothing.
const DATA: [&str; 4] = [
    "imgd_engine::sampling",
    "imgd_engine::checkpoint::EmbeddedFile",
    "imgd_engine::text::embeddings",
    "imgd_engine::recognise",
];

/// Files with unsafe code outside the places for it.
pub fn unsafe_code(root: &Path) -> io::Result<Vec<String>> {
    find(root, "", &UNSAFE, "unsafe code", |line| {
        words(line).any(|word| word == "unsafe") || line.contains("unsafe_code,")
    })
}

/// Files that read the environment outside the places for it.
pub fn environment(root: &Path) -> io::Result<Vec<String>> {
    let reads = [
        "env::var(",
        "env::var_os(",
        "env::vars(",
        "env::vars_os(",
        "env::{var",
        "getenv(",
    ];
    find(root, "", &ENVIRONMENT, "the environment is read", |line| {
        reads.iter().any(|read| line.contains(read))
    })
}

/// Files of the supervisor that name the tensor library, or more of the engine than its data.
pub fn supervisor(root: &Path) -> io::Result<Vec<String>> {
    find(root, "daemon/src", &WORKER, "the engine is named", |line| {
        let is_data = DATA.iter().any(|data| line.contains(data));
        (line.contains("imgd_engine") && !is_data) || line.contains("candle_core")
    })
}

/// Lines of code below `folder`, outside `allowed`, that `breaks` is true of. Tests of the rules are exempt.
fn find(
    root: &Path,
    folder: &str,
    allowed: &[&str],
    what: &str,
    breaks: impl Fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    let mut broken = Vec::new();
    for file in rust_files(root)? {
        let exempt = allowed.iter().any(|place| file.starts_with(place));
        if exempt || !file.starts_with(folder) || file.starts_with("xtask") {
            continue;
        }
        for (number, line) in code_lines(&root.join(&file))? {
            if breaks(&line) {
                broken.push(format!("{}:{number}: {what} here", file.display()));
            }
        }
    }
    Ok(broken)
}

/// Lines of a file without comments and without the contents of strings, numbered from 1.
fn code_lines(path: &Path) -> io::Result<Vec<(usize, String)>> {
    let text = fs::read_to_string(path)?;
    Ok(text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, strip(line)))
        .collect())
}

/// The code of one line. Strings over several lines are taken for code: a false alarm at worst.
fn strip(line: &str) -> String {
    let mut code = String::new();
    let mut characters = line.chars().peekable();
    let mut in_string = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => {
                characters.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(character),
        }
    }
    code
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_alphanumeric() && character != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(
            strip(r#"let a = "unsafe // \" x"; // unsafe"#),
            "let a = ; "
        );
    }

    #[test]
    fn only_whole_words_count() {
        assert!(!words("unsafe_code").any(|word| word == "unsafe"));
        assert!(words("x = unsafe{ y }").any(|word| word == "unsafe"));
    }
}
