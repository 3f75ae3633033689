//! Names that are given to models while the daemon runs: which may be given, and which may be taken back.

use std::path::{Path, PathBuf};

use imgd_proto::v1;

use super::{
    names::{ADDED, Names, Own},
    own::{OwnModel, why_no_name},
};
use crate::{
    engine::{ModelKey, Place},
    failure::{Failure, Reason},
};

/// The name and the model of a checked request.
///
/// Fails naming the field when a name is none or is another model's.
pub(super) fn check(
    request: &v1::AddModelRequest,
    names: &Names,
) -> Result<(String, OwnModel), Failure> {
    let path: PathBuf = Path::new(&request.path).components().collect();
    let name = match request.name.as_str() {
        "" => name_of(&path).ok_or_else(|| {
            let message = format!("`{}` is called as no model may be", path.display());
            Failure::invalid("name", message).with_hint("give another name with `--name`")
        })?,
        name => name.to_owned(),
    };
    let own = names.own(|own| own.name == name && own.origin == ADDED);
    let is_again = own.is_some_and(|own| own.model.path.as_ref() == Some(&path));
    for (field, given) in [("name", &name)]
        .into_iter()
        .chain(request.aliases.iter().map(|alias| ("aliases", alias)))
    {
        let refused = |why: String| {
            let message = format!("`{given}` {why}");
            Err(Failure::invalid(field, message).with_hint("give another name"))
        };
        if let Some(why) = why_no_name(given) {
            return refused(why.to_owned());
        }
        if given.starts_with("hf:") || imgd_models::entry(given).is_some() {
            return refused("is what `imgctl pull` calls a model".to_owned());
        }
        let other = names
            .own(|own| own.model.is_called(&own.name, given) && !(is_again && own.name == name));
        if let Some(other) = other {
            return refused(format!("is a name of another model, {}", place(&other)));
        }
    }
    let config = Some(&request.model_config).filter(|config| !config.is_empty());
    let model = OwnModel {
        path: Some(path),
        config: config.map(PathBuf::from),
        aliases: request.aliases.clone(),
        ..OwnModel::default()
    };
    Ok((name, model))
}

/// The model as it is looked into before it gets its name.
pub(super) fn key(name: &str, request: &v1::AddModelRequest) -> ModelKey {
    let key = ModelKey {
        place: Place::Directory(Path::new(&request.path).components().collect()),
        name: name.to_owned(),
        precision: v1::Precision::Auto,
    };
    key.with_config(&request.model_config)
}

/// The name and the place of the model that was added under a name.
///
/// Fails when the name was given by somebody else: no file of theirs is touched.
pub(super) fn removable(asked: &str, names: &Names) -> Result<(String, String), Failure> {
    let is_asked = |own: &Own| own.model.is_called(&own.name, asked);
    if let Some(own) = names.own(|own| own.origin == ADDED && is_asked(own)) {
        return Ok((own.name.clone(), place(&own)));
    }
    let refused = |message: String, hint: &str| {
        Failure::new(Reason::InvalidField, message)
            .with_field("model")
            .with_hint(hint)
    };
    if let Some(own) = names.own(is_asked) {
        let message = format!("`{}` is in the daemon's config, not added", own.name);
        return Err(refused(message, "take it out of `[models]` there"));
    }
    let key = names.model(asked)?;
    let message = match key.place.file() {
        None => format!("`{asked}` is inside the program"),
        Some(path) => format!("`{asked}` was not added: it lies at {}", path.display()),
    };
    Err(refused(
        message,
        "imgd deletes no file of another program; `imgctl models rm` takes back what `imgctl models add` added, and deletes what `imgctl pull` got",
    ))
}

fn place(own: &Own) -> String {
    let path = own.model.path.as_deref();
    path.map_or_else(|| own.name.clone(), |path| path.display().to_string())
}

/// The name of a file or directory without its ending, where a model may be called so.
fn name_of(path: &Path) -> Option<String> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let name = match ending {
        Some("safetensors" | "gguf") => path.file_stem(),
        _ => path.file_name(),
    };
    let name = name?.to_str()?.to_owned();
    why_no_name(&name).is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let names = Names {
            models: [("own".to_owned(), "/own".into())].into(),
            ..Names::bare()
        };
        let added = OwnModel {
            aliases: vec!["d".to_owned()],
            ..PathBuf::from("/a/dream.safetensors").into()
        };
        names.added.insert("dream", added).unwrap();
        names
    }

    fn request(path: &str, name: &str, aliases: &[&str]) -> v1::AddModelRequest {
        v1::AddModelRequest {
            path: path.to_owned(),
            name: name.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            model_config: String::new(),
        }
    }

    #[test]
    fn a_name_is_the_files_where_none_is_given_and_another_models_never() {
        let names = names();
        let named = |request: &v1::AddModelRequest| check(request, &names).map(|(name, _)| name);
        assert_eq!(
            named(&request("/b/Sharp v1.5.safetensors", "", &[])).unwrap(),
            "Sharp v1.5"
        );
        assert_eq!(
            named(&request("/b/xl-v1.0/", "", &["x"])).unwrap(),
            "xl-v1.0"
        );
        // The same model again, with another alias.
        assert_eq!(
            named(&request("/a/dream.safetensors", "", &["dr"])).unwrap(),
            "dream"
        );
        for (path, name, aliases, field) in [
            ("/b/dream.safetensors", "", &[][..], "name"),
            ("/b/x", "own", &[], "name"),
            ("/b/x", "starter", &[], "name"),
            ("/b/x", "flux-schnell", &[], "name"),
            ("/b/x", "hf:a", &[], "name"),
            ("/b/.x", "", &[], "name"),
            ("/b/x", "", &["d"], "aliases"),
            ("/b/x", "", &["dream"], "aliases"),
        ] {
            let failure = named(&request(path, name, aliases)).unwrap_err();
            assert_eq!(
                failure.field.as_deref(),
                Some(field),
                "{path} {name} {aliases:?}"
            );
        }
    }

    #[test]
    fn what_was_added_alone_can_be_removed() {
        let names = names();
        for name in ["dream", "d"] {
            let (name, path) = removable(name, &names).unwrap();
            assert_eq!(
                (name.as_str(), path.as_str()),
                ("dream", "/a/dream.safetensors")
            );
        }
        assert!(
            removable("own", &names)
                .unwrap_err()
                .message
                .contains("config")
        );
        assert_eq!(
            removable("nobody", &names).unwrap_err().reason,
            Reason::ModelNotFound
        );
        assert!(
            removable("/elsewhere", &names)
                .unwrap_err()
                .message
                .contains("/elsewhere")
        );
    }
}
