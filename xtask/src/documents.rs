//! Rules about the documents: every file and every name in them exists.

use std::{fs, io, path::Path};

use crate::files;

/// Documents at the root, besides those in `docs/`.
const AT_ROOT: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// Folders whose paths a document may name.
const HOUSE: [&str; 17] = [
    "benches/",
    "cli/",
    "client/",
    "daemon/",
    "docs/",
    "e2e/",
    "engine/",
    "launchd/",
    "manual/",
    "models/",
    "packaging/",
    "plugins/",
    "proto/",
    "systemd/",
    "xtask/",
    ".ci/",
    ".cargo/",
];

/// Links to files, paths in backticks, and `path.rs::name`s that lead nowhere.
pub fn names(root: &Path) -> io::Result<Vec<String>> {
    let mut documents: Vec<_> = AT_ROOT.iter().map(Into::into).collect();
    for folder in ["docs", "systemd", "launchd", "models", "packaging"] {
        documents.extend(files(root, folder, "md")?);
    }
    let mut broken = Vec::new();
    for document in documents {
        let text = fs::read_to_string(root.join(&document))?;
        let folder = document.parent().unwrap_or(Path::new(""));
        let mut complain = |name: &str| broken.push(format!("{}: `{name}`", document.display()));
        for target in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !root.join(folder).join(path).exists() {
                complain(target);
            }
        }
        for name in
            backticked(&text).filter(|name| HOUSE.iter().any(|house| name.starts_with(house)))
        {
            if name.contains([' ', '<', '*', '{', '…']) {
                continue;
            }
            let (path, item) = name
                .split_once("::")
                .map_or((name, None), |(path, item)| (path, Some(item)));
            let path = root.join(path);
            if !path.exists() || item.is_some_and(|item| !defines(&path, item)) {
                complain(name);
            }
        }
    }
    Ok(broken)
}

/// Whether a source file has a function, type, constant or module of this name; of `Type::name`, both.
fn defines(path: &Path, item: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    item.split("::").all(|name| {
        let name = name.trim_end_matches("()");
        [
            "fn",
            "struct",
            "enum",
            "trait",
            "const",
            "static",
            "type",
            "mod",
            "macro_rules!",
            "impl",
            "rpc",
        ]
        .iter()
        .any(|keyword| {
            text.match_indices(&format!("{keyword} {name}"))
                .any(|(at, found)| {
                    let after = text[at + found.len()..].chars().next();
                    !after.is_some_and(|character| character.is_alphanumeric() || character == '_')
                })
        })
    })
}

/// Targets of Markdown links and pictures.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](")
        .filter_map(|(at, _)| text[at + 2..].split(')').next())
}

/// What stands between single backticks, outside fenced blocks.
fn backticked(text: &str) -> impl Iterator<Item = &str> {
    let outside = text.split("\n```").step_by(2);
    outside
        .flat_map(|part| part.lines())
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_fences_are_not_taken() {
        let text = "a `b` c\n```sh\n`no`\n```\n`d` e";
        assert_eq!(backticked(text).collect::<Vec<_>>(), ["b", "d"]);
    }

    #[test]
    fn links_are_found() {
        assert_eq!(
            links("[a](b.md) ![c](d/e.png)").collect::<Vec<_>>(),
            ["b.md", "d/e.png"]
        );
    }
}
