//! Models of the Hugging Face cache: those of the catalogue by their names, others as `hf:org/repo`, once they were pulled.
//!
//! The daemon fetches nothing: what is not there is answered with the command that fetches it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use imgd_models::{HubCache, RepoId, Source};

use crate::failure::{Failure, Reason};

/// Where the model of that name lies; `None` for a name that is neither the catalogue's nor a hub's.
///
/// Fails when it is known and was not pulled.
pub(super) fn find(name: &str, hub: Option<&HubCache>) -> Result<Option<PathBuf>, Failure> {
    let source = match imgd_models::entry(name) {
        Some(entry) => entry.source.clone(),
        None if name.starts_with("hf:") => name
            .parse::<Source>()
            .map_err(|error| Failure::invalid("model", error.to_string()))?,
        None => return Ok(None),
    };
    if let Some(path) = hub.and_then(|hub| hub.find(&source)) {
        return Ok(Some(path));
    }
    let place = match hub {
        Some(hub) => format!("it is not in {}", hub.root().display()),
        None => "there is no Hugging Face cache".to_owned(),
    };
    let message = format!("model `{name}` is known, and was not fetched yet: {place}");
    Err(Failure::new(Reason::ModelNotFound, message)
        .with_field("model")
        .with_hint(format!(
            "`imgctl pull {name}` fetches it; `hub_cache` names another place to look"
        )))
}

/// The name of a directory or file of the cache: the catalogue's, else `hf:org/repo`. None where that name leads elsewhere.
pub(super) fn name_of(path: &Path, hub: Option<&HubCache>) -> Option<String> {
    let hub = hub?;
    let folder = path
        .strip_prefix(hub.root())
        .ok()?
        .iter()
        .next()?
        .to_str()?;
    let repo = repo_of(folder)?;
    let leads_here = |source: &Source| hub.find(source).as_deref() == Some(path);
    let mut of_repo = imgd_models::catalogue()
        .iter()
        .filter(|entry| entry.source.repo == repo);
    if let Some(entry) = of_repo.find(|entry| leads_here(&entry.source)) {
        return Some(entry.name.clone());
    }
    let source = Source {
        repo,
        revision: None,
        file: None,
    };
    leads_here(&source).then(|| source.to_string())
}

/// The names of the models in the cache: those of the catalogue, and every other diffusers directory.
pub(super) fn pulled(hub: &HubCache) -> Vec<String> {
    let folders = fs::read_dir(hub.root()).into_iter().flatten().flatten();
    let names = folders.filter_map(|entry| {
        let source = Source {
            repo: repo_of(entry.file_name().to_str()?)?,
            revision: None,
            file: None,
        };
        let path = hub.find(&source)?;
        // Much else in the cache is one file of weights.
        name_of(&path, Some(hub)).filter(|name| path.is_dir() || !name.starts_with("hf:"))
    });
    names.collect()
}

/// The repository of a folder `models--org--name`.
fn repo_of(folder: &str) -> Option<RepoId> {
    let repo = folder.strip_prefix("models--")?.replacen("--", "/", 1);
    RepoId::parse(&repo).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Place,
        services::{Names, preset::Preset},
    };

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A cache with FLUX.1 [schnell] in it, and with a repository that has no name.
    fn cache() -> (tempfile::TempDir, Names) {
        let folder = tempfile::tempdir().unwrap();
        for repo in ["black-forest-labs--FLUX.1-schnell", "org--model"] {
            let repository = folder.path().join(format!("models--{repo}"));
            let snapshot = repository.join("snapshots").join(COMMIT);
            fs::create_dir_all(&snapshot).unwrap();
            fs::write(snapshot.join("model_index.json"), "{}").unwrap();
            fs::create_dir(repository.join("refs")).unwrap();
            fs::write(repository.join("refs/main"), COMMIT).unwrap();
        }
        let names = Names {
            starter: Some(Place::Embedded),
            default_model: "schnell".to_owned(),
            hub: Some(HubCache::new(folder.path())),
            ..Names::bare()
        };
        (folder, names)
    }

    #[test]
    fn names_aliases_sources_and_paths_lead_to_one_model() {
        let (_folder, names) = cache();
        let model = names.model("flux:schnell").unwrap();
        assert_eq!(model.name, "flux:schnell");
        let path = model.place.file().unwrap().display().to_string();
        assert!(path.ends_with(COMMIT));
        for name in [
            "schnell",
            "Flux-Schnell",
            "hf:black-forest-labs/FLUX.1-schnell",
            "",
            &path,
        ] {
            assert_eq!(names.model(name).unwrap(), model, "{name}");
        }
        let other = names.model("hf:org/model").unwrap();
        assert_eq!(other.name, "hf:org/model");
        let listed: Vec<_> = names
            .list()
            .0
            .into_iter()
            .map(|model| model.key.name)
            .collect();
        assert_eq!(listed, ["flux:schnell", "hf:org/model", "starter"]);
    }

    #[test]
    fn what_was_not_pulled_is_answered_with_the_command_that_does() {
        let (_folder, names) = cache();
        for name in ["flux-dev", "hf:org/other", "hf:org/model@v2"] {
            let failure = names.model(name).unwrap_err();
            assert_eq!(failure.reason, Reason::ModelNotFound);
            let hint = failure.hint.unwrap();
            assert!(hint.contains(&format!("`imgctl pull {name}`")), "{hint}");
        }
        assert_eq!(
            names.model("hf:org").unwrap_err().reason,
            Reason::InvalidField
        );
    }

    #[test]
    fn a_model_of_the_users_own_keeps_its_own_settings() {
        let (_folder, mut names) = cache();
        names.models.insert("sdxl".to_owned(), "/own".into());
        let own = names.model("sdxl").unwrap();
        assert_eq!(own.name, "sdxl");
        assert_eq!(names.resolve("sdxl").unwrap().preset, Preset::default());
        let schnell = names.resolve("schnell").unwrap();
        assert_eq!(schnell.preset.num_inference_steps, Some(4));
    }
}
