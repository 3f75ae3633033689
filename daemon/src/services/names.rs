//! Names that a request uses, looked up: models, samplers, schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgd_engine::sampling::{samplers, schedules};
use imgd_models::{Entry, HubCache};
use imgd_proto::{limits, v1};

use super::known;
use super::styles::Style;
use crate::{
    engine::{ModelKey, Place},
    failure::{Failure, Reason},
};

/// Name of the model that comes with the program.
pub const STARTER: &str = "starter";

/// The models that have a name.
#[derive(Debug, Clone)]
pub struct Names {
    /// Where the starter is; `None` when this build has none and none was found.
    pub starter: Option<Place>,
    /// Entries of `[models]`.
    pub models: BTreeMap<String, PathBuf>,
    /// The model of a request that names none.
    pub default_model: String,
    /// The Hugging Face cache, where there is a place for it.
    pub hub: Option<HubCache>,
    /// Where adapters lie that have a name.
    pub lora_dir: PathBuf,
    /// Where ControlNets lie that have a name.
    pub control_dir: PathBuf,
    /// Where files of choices lie that prompts name.
    pub wildcard_dir: PathBuf,
    /// Entries of `[styles]`.
    pub styles: BTreeMap<String, Style>,
    /// Where embeddings lie that prompts name.
    pub embedding_dir: PathBuf,
}

impl Names {
    /// The model of that name or path, computing as `auto` does; the default for an empty one.
    pub fn model(&self, asked: &str) -> Result<ModelKey, Failure> {
        limits::validate_model(asked)?;
        let name = if asked.is_empty() {
            self.default_model.as_str()
        } else {
            asked
        };
        if name == STARTER {
            let place = self.starter.clone().ok_or_else(no_starter)?;
            return Ok(ModelKey {
                place,
                name: name.to_owned(),
                precision: v1::Precision::Auto,
            });
        }
        let directory = if name.starts_with('/') {
            normal(Path::new(name))
        } else {
            match self.models.get(name) {
                Some(directory) => directory.clone(),
                None => known::find(name, self.hub.as_ref())?.ok_or_else(|| self.unknown(name))?,
            }
        };
        // One directory is one model, however it is called.
        let named = self.models.iter().find(|(_, path)| **path == directory);
        let name = named
            .map(|(name, _)| name.clone())
            .or_else(|| known::name_of(&directory, self.hub.as_ref()))
            .unwrap_or_else(|| directory.display().to_string());
        Ok(ModelKey {
            place: Place::Directory(directory),
            name,
            precision: v1::Precision::Auto,
        })
    }

    /// Every model that has a name, the default first.
    pub fn list(&self) -> Vec<ModelKey> {
        let starter = self.starter.iter().map(|_| STARTER.to_owned());
        let mut names: Vec<_> = starter.chain(self.models.keys().cloned()).collect();
        names.extend(self.hub.iter().flat_map(known::pulled));
        names.sort_unstable();
        names.dedup();
        let mut keys: Vec<_> = names
            .into_iter()
            .filter_map(|name| self.model(&name).ok())
            .collect();
        // A model of the configuration may lie in the cache.
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(key.name.clone()));
        keys.sort_by_key(|key| !self.is_default(key));
        keys
    }

    /// Whether this is the model of a request that names none.
    pub fn is_default(&self, key: &ModelKey) -> bool {
        self.model("").is_ok_and(|default| {
            (default.place, default.name) == (key.place.clone(), key.name.clone())
        })
    }

    /// What the catalogue says of a model that was found by it.
    pub fn entry(&self, key: &ModelKey) -> Option<&'static Entry> {
        let is_own = self.models.contains_key(&key.name);
        let mut entries = imgd_models::catalogue().iter();
        entries.find(|entry| !is_own && entry.name == key.name)
    }

    fn unknown(&self, name: &str) -> Failure {
        let known: Vec<_> = self
            .starter
            .iter()
            .map(|_| STARTER)
            .chain(self.models.keys().map(String::as_str))
            .collect();
        let hint = nearest(name, &known).map_or_else(
            || {
                format!(
                    "known are {}; others by the absolute path of a diffusers directory, or from `imgctl pull`",
                    quoted(&known)
                )
            },
            |near| format!("did you mean `{near}`? List all with `imgctl models`"),
        );
        Failure::new(
            Reason::ModelNotFound,
            format!("model `{name}` is not known"),
        )
        .with_field("model")
        .with_hint(hint)
    }
}

fn no_starter() -> Failure {
    Failure::new(
        Reason::ModelNotFound,
        "this build has no starter model inside, and none lies beside the program",
    )
    .with_field("model")
    .with_hint("set `starter_dir` in the config, or name another model")
}

/// The model with what it lacks in the directory `config` and some parts from files of their own.
///
/// Fails naming the field for the model inside the program, which has all of its parts.
pub fn with_files(
    model: ModelKey,
    config: &str,
    parts: &[v1::ModelPart],
) -> Result<ModelKey, Failure> {
    let field = match (config, parts) {
        ("", []) => return Ok(model),
        ("", _) => "model_parts",
        _ => "model_config",
    };
    if model.place == Place::Embedded {
        let message = format!(
            "`{}` is inside the program, with all of its parts",
            model.name
        );
        return Err(Failure::invalid(field, message)
            .with_hint("name the model whose files these are with `model`"));
    }
    Ok(model.with_config(config).with_parts(parts))
}

/// Checks the names of a request's sampler and schedule.
pub fn check(request: &v1::GenerateRequest) -> Result<(), Failure> {
    let samplers: Vec<_> = samplers().iter().map(|sampler| sampler.name).collect();
    let schedules: Vec<_> = schedules().iter().map(|schedule| schedule.name).collect();
    one_of("sampler", &request.sampler, &samplers)?;
    one_of("schedule", &request.schedule, &schedules)
}

fn one_of(field: &'static str, name: &str, known: &[&str]) -> Result<(), Failure> {
    if name.is_empty() || known.contains(&name) {
        return Ok(());
    }
    let hint = nearest(name, known).map_or_else(
        || format!("known are {}", quoted(known)),
        |near| format!("did you mean `{near}`? List all with `imgctl samplers`"),
    );
    Err(Failure::invalid(field, format!("{field} `{name}` is not known")).with_hint(hint))
}

/// The name that is most like what was asked for, if any is.
pub(super) fn nearest<'a>(asked: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| -> String {
        let spelled = name.to_lowercase().replace("++", "pp");
        spelled
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric())
            .collect()
    };
    let asked = plain(asked);
    let distance = |name: &str| strsim::damerau_levenshtein(&asked, &plain(name));
    let near = known.iter().map(|name| (distance(name), *name)).min()?;
    (near.0 <= 1 + asked.len() / 3).then_some(near.1)
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The path without `.` and doubled slashes; `..` stays, since links decide what it means.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use imgd_proto::v1::{GenerateRequest, ModelPart};

    use super::{Names, check, with_files};
    use crate::{engine::Place, failure::Reason};

    fn names() -> Names {
        Names {
            starter: Some(Place::Embedded),
            models: BTreeMap::from([
                ("sdxl".to_owned(), PathBuf::from("/models/sdxl")),
                ("anime".to_owned(), PathBuf::from("/models/anime")),
            ]),
            default_model: "sdxl".to_owned(),
            lora_dir: "/loras".into(),
            control_dir: "/controls".into(),
            wildcard_dir: "/wildcards".into(),
            styles: [].into(),
            embedding_dir: "/embeddings".into(),
            hub: None,
        }
    }

    #[test]
    fn a_name_a_path_and_nothing_lead_to_the_same_model() {
        let names = names();
        let by_name = names.model("sdxl").unwrap();
        assert_eq!(names.model("").unwrap(), by_name);
        assert_eq!(names.model("/models//sdxl/").unwrap(), by_name);
        assert_eq!(names.model("/models/other").unwrap().name, "/models/other");
    }

    #[test]
    fn files_of_parts_make_another_copy_of_the_model() {
        let parts = [ModelPart {
            part: "vae".into(),
            file: "/vaes/other.safetensors".into(),
        }];
        let names = names();
        let plain = names.model("sdxl").unwrap();
        let other = with_files(plain.clone(), "", &parts).unwrap();
        assert!(plain != other && plain.is_of(&other) && plain.name == other.name);
        let both = with_files(plain.clone(), "/configs/xl", &parts).unwrap();
        assert!(both != other && both.is_of(&other));
        assert_eq!(with_files(plain.clone(), "", &[]).unwrap(), plain);
        let failure = with_files(names.model("starter").unwrap(), "", &parts).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("model_parts"));
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_nearest() {
        let failure = names().model("startr").unwrap_err();
        assert_eq!(failure.reason, Reason::ModelNotFound);
        assert_eq!(
            failure.hint.unwrap(),
            "did you mean `starter`? List all with `imgctl models`"
        );
        let hint = names().model("zzzzzzzzzz").unwrap_err().hint.unwrap();
        assert!(hint.contains("`anime`"), "{hint}");
        assert!(names().model("../../etc").is_err());
    }

    #[test]
    fn the_default_is_listed_first() {
        let listed: Vec<_> = names().list().into_iter().map(|key| key.name).collect();
        assert_eq!(listed, ["sdxl", "anime", "starter"]);
    }

    #[test]
    fn sampler_names_are_answered_as_people_write_them() {
        let asked = |sampler: &str| {
            check(&GenerateRequest {
                sampler: sampler.to_owned(),
                ..GenerateRequest::default()
            })
        };
        assert!(asked("").is_ok() && asked("dpmpp_2m").is_ok());
        let failure = asked("DPM++ 2M").unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("sampler"));
        assert!(
            failure
                .hint
                .unwrap()
                .starts_with("did you mean `dpmpp_2m`?")
        );
    }
}
