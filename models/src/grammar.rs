//! What names may look like that become parts of paths: a hub may say anything.

/// Longest path of a file in a repository, in bytes.
const MAX_PATH_BYTES: usize = 512;

/// Whether this is a commit: 40 lower-case hexadecimal digits.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Whether this can be a blob's name: the SHA-256 of a large file, or git's SHA-1 of a small one.
pub fn is_blob_name(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this can be a branch, a tag or a commit. It becomes a file below `refs`.
pub fn is_revision(text: &str) -> bool {
    let is_part = |part: &str| {
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        !part.is_empty() && !part.starts_with(['.', '-']) && part.bytes().all(of_name)
    };
    text.len() <= 200 && text.split('/').all(is_part)
}

/// Checks the path of a file in a repository: it becomes a path below a snapshot. Says what is wrong, to follow "it".
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err("is longer than 512 bytes");
    }
    if path.starts_with('/') {
        return Err("is absolute");
    }
    if path.contains('\\') {
        return Err("holds a backslash");
    }
    if path.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("has a part that is empty, `.` or `..`");
    }
    if path.split('/').any(|part| part.starts_with("..")) {
        return Err("has a part that begins with `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_and_blobs_are_hexadecimal() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert!(is_commit(commit) && is_blob_name(commit));
        assert!(is_blob_name(&"0a".repeat(32)) && !is_commit(&"0a".repeat(32)));
        for wrong in [
            "",
            "../../..",
            "/tmp/x",
            &commit.to_uppercase(),
            &commit[1..],
        ] {
            assert!(!is_commit(wrong) && !is_blob_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn revisions_stay_below_refs() {
        for right in ["main", "v1.0", "refs/pr/12", "fp16", "feature/a-b_c"] {
            assert!(is_revision(right), "{right}");
        }
        for wrong in [
            "", "/", "../x", "a/../b", "a//b", "/main", "-x", ".x", "a b", "a\0", "é",
        ] {
            assert!(!is_revision(wrong), "{wrong}");
        }
    }

    #[test]
    fn paths_stay_below_the_snapshot() {
        for right in [
            "model_index.json",
            "unet/config.json",
            "a b/ü.txt",
            ".gitattributes",
        ] {
            assert_eq!(check_path(right), Ok(()), "{right}");
        }
        let long = "a/".repeat(300) + "b";
        for wrong in [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "a/.",
            "a\\b",
            "a\0b",
            "..x",
            "a/",
            &long,
        ] {
            assert!(check_path(wrong).is_err(), "{wrong}");
        }
    }
}
