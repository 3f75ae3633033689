//! Where a model comes from: `hf:org/repo`, with a revision and a file where they are named.

use std::{fmt, str::FromStr};

use crate::grammar::{check_path, is_revision};

/// How a repository is called: `org/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId(String);

impl RepoId {
    /// Reads `org/name`.
    pub fn parse(text: &str) -> Result<Self, InvalidSource> {
        let is_part = |part: &str| {
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (1..=96).contains(&part.len())
                && part.bytes().all(of_name)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                // the cache writes `/` as `--`
                && !part.contains("--")
                && !part.contains("..")
        };
        match text.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) && !name.ends_with(".git") => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidSource {
                text: text.to_owned(),
                why: "a repository is `org/name` of letters, digits, `-`, `_` and `.`",
            }),
        }
    }

    /// `org/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The repository's folder in the cache: `models--org--name`.
    pub fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A model in a repository of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The repository.
    pub repo: RepoId,
    /// Branch, tag or commit; none: what is pinned, else `main`.
    pub revision: Option<String>,
    /// One file alone, which is the model.
    pub file: Option<String>,
}

/// A text that names no repository, revision or file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no model of a hub: {why}")]
pub struct InvalidSource {
    text: String,
    why: &'static str,
}

impl FromStr for Source {
    type Err = InvalidSource;

    /// Reads `hf:org/repo[@revision][:file]`.
    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        let wrong = |why| InvalidSource {
            text: text.to_owned(),
            why,
        };
        let rest = text
            .strip_prefix("hf:")
            .ok_or_else(|| wrong("it does not begin with `hf:`"))?;
        let (rest, file) = match rest.split_once(':') {
            Some((rest, file)) => (rest, Some(file.to_owned())),
            None => (rest, None),
        };
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision.to_owned())),
            None => (rest, None),
        };
        let repo = RepoId::parse(repo).map_err(|error| wrong(error.why))?;
        if revision.as_deref().is_some_and(|name| !is_revision(name)) {
            return Err(wrong("what follows `@` is no branch, tag or commit"));
        }
        if let Some(Err(_)) = file.as_deref().map(check_path) {
            return Err(wrong(
                "what follows the second `:` is no path within a repository",
            ));
        }
        Ok(Self {
            repo,
            revision,
            file,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "hf:{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(formatter, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(formatter, ":{file}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_written_the_same() {
        for text in [
            "hf:org/repo",
            "hf:org/repo@main",
            "hf:org/repo@refs/pr/1:unet/config.json",
            "hf:org/re.po_1:model.safetensors",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        let source: Source = "hf:a/b@v1:c/d e.bin".parse().unwrap();
        assert_eq!(source.repo.folder(), "models--a--b");
        assert_eq!(source.revision.as_deref(), Some("v1"));
        assert_eq!(source.file.as_deref(), Some("c/d e.bin"));
    }

    #[test]
    fn what_would_leave_the_cache_is_refused() {
        for text in [
            "org/repo",
            "hf:repo",
            "hf:a/b/c",
            "hf:../b",
            "hf:a/..",
            "hf:a/b--c",
            "hf:a/b.git",
            "hf:a/b@../x",
            "hf:a/b@",
            "hf:a/b:",
            "hf:a/b:../../x",
            "hf:a/b:/etc/passwd",
            "hf:a /b",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
