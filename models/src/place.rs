//! Where the Hugging Face cache is, as huggingface_hub finds it.

use std::path::{Path, PathBuf};

/// The folder of everything that huggingface_hub keeps: `HF_HOME`, else `huggingface` in the user's cache folder.
///
/// `variable` reads the environment; `home` is the user's home directory.
pub fn hub_home(
    variable: impl Fn(&str) -> Option<PathBuf>,
    home: Option<&Path>,
) -> Option<PathBuf> {
    if let Some(set) = variable("HF_HOME") {
        return Some(expanded(set, home));
    }
    let cache = match variable("XDG_CACHE_HOME") {
        Some(set) => set,
        None => home?.join(".cache"),
    };
    Some(cache.join("huggingface"))
}

/// The cache of models: `HF_HUB_CACHE`, else `hub` in [`hub_home`].
pub fn cache_dir(
    variable: impl Fn(&str) -> Option<PathBuf>,
    home: Option<&Path>,
) -> Option<PathBuf> {
    let set = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    if let Some(set) = set {
        return Some(expanded(set, home));
    }
    Some(hub_home(variable, home)?.join("hub"))
}

/// The path with the home directory in the place of a leading `~`.
fn expanded(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        cache_dir(variable, Some(Path::new("/home/ann")))
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_looks() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "/home/ann/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (
                &[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")],
                "/home/ann/hf/hub",
            ),
            (
                &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")],
                "/old",
            ),
            (
                &[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/new",
            ),
        ];
        for (variables, expected) in cases {
            assert_eq!(
                found(variables),
                Some(PathBuf::from(expected)),
                "{variables:?}"
            );
        }
        assert_eq!(cache_dir(|_| None, None), None);
    }
}
