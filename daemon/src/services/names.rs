//! Names that a request uses, looked up: models, samplers, schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgd_engine::sampling::{samplers, schedules};
use imgd_models::{Entry, HubCache, Source};
use imgd_proto::{limits, v1};

use super::{
    found::{FoundModel, FoundModels},
    known,
    styles::Style,
};
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
    /// What other programs have.
    pub found: FoundModels,
}

/// A model that has a name, with what a list says of it.
#[derive(Debug)]
pub struct Listed {
    /// The model.
    pub key: ModelKey,
    /// Whether a request that names none means it.
    pub is_default: bool,
    /// Where it was found, as a person calls it: a program, or a place of ours.
    pub origin: &'static str,
    /// The family's short name; empty where the model was not looked into.
    pub family: &'static str,
    /// Parts that have to come from elsewhere.
    pub lacks: Vec<&'static str>,
}

/// Names that a message tells at most.
const TOLD: usize = 10;

/// Where a model may come from besides other programs.
const INSIDE: &str = "imgd";
const CONFIG: &str = "config";
const CACHE: &str = "cache";

#[cfg(test)]
impl Names {
    /// Of a daemon without any model, for tests to fill in.
    pub(crate) fn bare() -> Self {
        Self {
            starter: None,
            models: BTreeMap::new(),
            default_model: STARTER.to_owned(),
            hub: None,
            lora_dir: "/loras".into(),
            control_dir: "/controls".into(),
            wildcard_dir: "/wildcards".into(),
            styles: BTreeMap::new(),
            embedding_dir: "/embeddings".into(),
            found: FoundModels::default(),
        }
    }
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
            self.directory(name)?
        };
        // One directory is one model, however it is called.
        let name = self
            .own_name(&directory)
            .or_else(|| self.found.name_of(&directory, |name| self.is_taken(name)))
            .unwrap_or_else(|| directory.display().to_string());
        Ok(key(name, directory))
    }

    /// Whether the model of a request that names none is one that there is, or that could be pulled.
    pub fn default_is_known(&self) -> bool {
        let name = self.default_model.as_str();
        let may_be_pulled = || imgd_models::entry(name).is_some() || name.parse::<Source>().is_ok();
        name == STARTER || may_be_pulled() || self.model(name).is_ok()
    }

    /// Where the model of that name lies: one of ours, of the catalogue or the hub's, else of another program.
    fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        if let Some(directory) = self.models.get(name) {
            return Ok(directory.clone());
        }
        let not_pulled = match known::find(name, self.hub.as_ref()) {
            Ok(Some(directory)) => return Ok(directory),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        let found = self.found.find(name)?;
        found.ok_or_else(|| not_pulled.unwrap_or_else(|| self.unknown(name)))
    }

    /// The name of a directory or file that is ours, or lies in the cache.
    fn own_name(&self, directory: &Path) -> Option<String> {
        let named = self.models.iter().find(|(_, path)| *path == directory);
        named
            .map(|(name, _)| name.clone())
            .or_else(|| known::name_of(directory, self.hub.as_ref()))
    }

    /// Every model that has a name, in order of names, the default first; and what could not be read, in whole sentences.
    ///
    /// Reads the headers of files that it did not see before: not for a thread that others wait for.
    pub fn list(&self) -> (Vec<Listed>, Vec<String>) {
        let default = self.model("").ok();
        let starter = self.starter.iter().map(|_| (INSIDE, STARTER.to_owned()));
        let own = self.models.keys().map(|name| (CONFIG, name.clone()));
        let pulled = self.hub.iter().flat_map(known::pulled);
        let pulled = pulled.map(|name| (CACHE, name));
        let mut listed: Vec<Listed> = starter
            .chain(own)
            .chain(pulled)
            .filter_map(|(origin, name)| {
                let key = self.model(&name).ok()?;
                Some(Listed {
                    key,
                    is_default: false,
                    origin,
                    family: "",
                    lacks: Vec::new(),
                })
            })
            .collect();
        let (found, troubles) = self.found.list(|name| self.is_taken(name));
        listed.extend(found.into_iter().filter_map(|model| self.listed(model)));
        // A model of the configuration may lie in the cache, or with another program.
        let mut seen = BTreeSet::new();
        listed.retain(|model| seen.insert(model.key.place.clone()));
        for model in &mut listed {
            model.is_default = default.as_ref() == Some(&model.key);
        }
        listed.sort_by(|one, other| {
            let order = |model: &Listed| (!model.is_default, model.key.name.clone());
            order(one).cmp(&order(other))
        });
        (listed, troubles)
    }

    /// Whether the name means a model that is no other program's.
    fn is_taken(&self, name: &str) -> bool {
        name == STARTER
            || self.models.contains_key(name)
            || matches!(known::find(name, self.hub.as_ref()), Ok(Some(_)))
    }

    /// A model of another program; none where it has a name of ours.
    fn listed(&self, model: FoundModel) -> Option<Listed> {
        if self.own_name(&model.path).is_some() {
            return None;
        }
        Some(Listed {
            key: key(model.name, model.path),
            is_default: false,
            origin: model.app,
            family: model.recognised.family,
            lacks: model.recognised.lacks,
        })
    }

    /// What the catalogue says of a model that was found by it.
    pub fn entry(&self, key: &ModelKey) -> Option<&'static Entry> {
        let is_own = self.models.contains_key(&key.name);
        let mut entries = imgd_models::catalogue().iter();
        entries.find(|entry| !is_own && entry.name == key.name)
    }

    fn unknown(&self, name: &str) -> Failure {
        let own = self.starter.iter().map(|_| STARTER.to_owned());
        let own: Vec<String> = own.chain(self.models.keys().cloned()).collect();
        let found = self.found.names(|name| self.is_taken(name));
        let known: Vec<&str> = own.iter().chain(&found).map(String::as_str).collect();
        let hint = nearest(name, &known).map_or_else(
            || {
                let known = &known[..known.len().min(TOLD)];
                format!(
                    "known are {}; `imgctl models` lists all; others by the absolute path of a diffusers directory or a file, or from `imgctl pull`",
                    quoted(known)
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

fn key(name: String, directory: PathBuf) -> ModelKey {
    ModelKey {
        place: Place::Directory(directory),
        name,
        precision: v1::Precision::Auto,
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
            ..Names::bare()
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
    fn the_default_must_be_known_and_need_not_be_pulled() {
        let known = |name: &str| {
            let default_model = name.to_owned();
            Names {
                default_model,
                ..names()
            }
            .default_is_known()
        };
        for name in ["starter", "anime", "flux:schnell", "hf:org/model"] {
            assert!(known(name), "{name}");
        }
        assert!(!known("animee") && !known("hf:org") && !known("sdxl/anime"));
    }

    #[test]
    fn the_default_is_listed_first() {
        let listed: Vec<_> = names()
            .list()
            .0
            .into_iter()
            .map(|model| model.key.name)
            .collect();
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
