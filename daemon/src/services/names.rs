//! Names that a request uses, looked up: models, samplers, schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgd_engine::sampling::{samplers, schedules};
use imgd_models::{Entry, HubCache, Source};
use imgd_proto::{limits, v1};

use super::{
    added::Added,
    found::{FoundModel, FoundModels},
    known,
    own::OwnModel,
    preset::Preset,
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
    pub models: BTreeMap<String, OwnModel>,
    /// Models that were added while a daemon ran.
    pub added: Added,
    /// The model of a request that names none.
    pub default_model: String,
    /// The Hugging Face cache, where there is a place for it.
    pub hub: Option<HubCache>,
    /// Where adapters lie that have a name.
    pub lora_dir: PathBuf,
    /// Where ControlNets lie that have a name.
    pub control_dir: PathBuf,
    /// Where upscalers lie that have a name.
    pub upscaler_dir: PathBuf,
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
    /// Other names of the user's own.
    pub aliases: Vec<String>,
    /// The family's short name; empty where the model was not looked into.
    pub family: &'static str,
    /// Parts that have to come from elsewhere.
    pub lacks: Vec<&'static str>,
}

/// What a name leads to.
#[derive(Debug)]
pub struct Resolved {
    /// The model.
    pub key: ModelKey,
    /// What a request gets that it does not say, before the model's own files are asked.
    pub preset: Preset,
    /// Other names of the user's own.
    pub aliases: Vec<String>,
}

/// A model under a name of the user's own.
pub(super) struct Own {
    pub(super) name: String,
    pub(super) origin: &'static str,
    pub(super) model: OwnModel,
}

/// Names that a message tells at most.
const TOLD: usize = 10;

/// Where a model may come from besides other programs.
const INSIDE: &str = "imgd";
const CONFIG: &str = "config";
pub(super) const ADDED: &str = "added";
const CACHE: &str = "cache";

#[cfg(test)]
impl Names {
    /// Of a daemon without any model, for tests to fill in.
    pub(crate) fn bare() -> Self {
        Self {
            starter: None,
            models: BTreeMap::new(),
            added: Added::default(),
            default_model: STARTER.to_owned(),
            hub: None,
            lora_dir: "/loras".into(),
            control_dir: "/controls".into(),
            upscaler_dir: "/upscalers".into(),
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
        self.resolve(asked).map(|resolved| resolved.key)
    }

    /// The model of that name or path, and what a request gets that does not say more.
    pub fn resolve(&self, asked: &str) -> Result<Resolved, Failure> {
        limits::validate_model(asked)?;
        let name = if asked.is_empty() {
            self.default_model.as_str()
        } else {
            asked
        };
        let path = name.starts_with('/').then(|| normal(Path::new(name)));
        let own = match &path {
            Some(path) => self.own(|own| own.model.path.as_ref() == Some(path)),
            None => self.own(|own| own.model.is_called(&own.name, name)),
        };
        let mut preset = Preset::default();
        let mut aliases = Vec::new();
        let mut asked_name = name.to_owned();
        if let Some(own) = own {
            if let Some(path) = &own.model.path {
                return Ok(self.own_resolved(path, &own));
            }
            (preset, aliases, asked_name) = (own.model.preset, own.model.aliases, own.name);
        }
        let key = match path {
            Some(path) => self.at(path),
            None => self.named(&asked_name)?,
        };
        if let Some(own) = self.own(|own| own.model.path.is_none() && own.name == key.name) {
            preset = preset.or(own.model.preset);
            aliases = own.model.aliases;
        }
        if let Some(entry) = entry(&key) {
            preset = preset.or(Preset::from(&entry.defaults));
        }
        Ok(Resolved {
            key,
            preset,
            aliases,
        })
    }

    /// A model that has a path under a name of the user's own. One path with one configuration is one model, however it is called.
    fn own_resolved(&self, path: &Path, own: &Own) -> Resolved {
        let OwnModel {
            config,
            preset,
            aliases,
            ..
        } = &own.model;
        let first = self.own(|other| {
            other.model.path.as_deref() == Some(path) && other.model.config == *config
        });
        let name = first.map_or_else(|| own.name.clone(), |first| first.name);
        let mut key = key(name, path.to_owned());
        if let Some(config) = config {
            key = key.with_config(&config.to_string_lossy());
        }
        Resolved {
            key,
            preset: preset.clone(),
            aliases: aliases.clone(),
        }
    }

    /// The first model of the user's own that fits: of the config, then of those that were added.
    pub(super) fn own(&self, fits: impl Fn(&Own) -> bool) -> Option<Own> {
        self.all_own().into_iter().find(fits)
    }

    fn all_own(&self) -> Vec<Own> {
        let of = |origin: &'static str, models: &BTreeMap<String, OwnModel>| -> Vec<Own> {
            let own = |(name, model): (&String, &OwnModel)| Own {
                name: name.clone(),
                origin,
                model: model.clone(),
            };
            models.iter().map(own).collect()
        };
        let mut all = of(CONFIG, &self.models);
        all.extend(of(ADDED, &self.added.all()));
        all
    }

    /// The model of a name that is not the user's own.
    fn named(&self, name: &str) -> Result<ModelKey, Failure> {
        if name == STARTER {
            let place = self.starter.clone().ok_or_else(no_starter)?;
            return Ok(ModelKey {
                place,
                name: name.to_owned(),
                precision: v1::Precision::Auto,
            });
        }
        let not_pulled = match known::find(name, self.hub.as_ref()) {
            Ok(Some(directory)) => return Ok(self.at(directory)),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        match self.found.find(name)? {
            Some(path) => Ok(self.at(path)),
            None => Err(not_pulled.unwrap_or_else(|| self.unknown(name))),
        }
    }

    /// The model at a path, which may lie in the cache or belong to another program, and then has a name.
    fn at(&self, path: PathBuf) -> ModelKey {
        if let Some(own) = self.own(|own| own.model.path.as_ref() == Some(&path)) {
            return self.own_resolved(&path, &own).key;
        }
        let name = known::name_of(&path, self.hub.as_ref())
            .or_else(|| self.found.name_of(&path, |name| self.is_taken(name)))
            .unwrap_or_else(|| path.display().to_string());
        key(name, path)
    }

    /// Whether the model of a request that names none is one that there is, or that could be pulled.
    pub fn default_is_known(&self) -> bool {
        let name = self.default_model.as_str();
        let may_be_pulled = || imgd_models::entry(name).is_some() || name.parse::<Source>().is_ok();
        name == STARTER || may_be_pulled() || self.model(name).is_ok()
    }

    /// Every model that has a name, in order of names, the default first; and what could not be read, in whole sentences.
    ///
    /// Reads the headers of files that it did not see before: not for a thread that others wait for.
    pub fn list(&self) -> (Vec<Listed>, Vec<String>) {
        let default = self.model("").ok();
        let starter = self.starter.iter().map(|_| (INSIDE, STARTER.to_owned()));
        let own = self.all_own().into_iter().map(|own| (own.origin, own.name));
        let pulled = self.hub.iter().flat_map(known::pulled);
        let pulled = pulled.map(|name| (CACHE, name));
        let mut listed: Vec<Listed> = starter
            .chain(own)
            .chain(pulled)
            .filter_map(|(origin, name)| {
                let resolved = self.resolve(&name).ok()?;
                Some(Listed {
                    key: resolved.key,
                    aliases: resolved.aliases,
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
            || self
                .own(|own| own.model.is_called(&own.name, name))
                .is_some()
            || matches!(known::find(name, self.hub.as_ref()), Ok(Some(_)))
    }

    /// A model of another program; none where it has a name of ours.
    fn listed(&self, model: FoundModel) -> Option<Listed> {
        let is_ours = self
            .own(|own| own.model.path.as_ref() == Some(&model.path))
            .is_some()
            || known::name_of(&model.path, self.hub.as_ref()).is_some();
        if is_ours {
            return None;
        }
        let settings = self.own(|own| own.model.path.is_none() && own.name == model.name);
        Some(Listed {
            key: key(model.name, model.path),
            aliases: settings.map(|own| own.model.aliases).unwrap_or_default(),
            is_default: false,
            origin: model.app,
            family: model.recognised.family,
            lacks: model.recognised.lacks,
        })
    }

    fn unknown(&self, name: &str) -> Failure {
        let own = self.starter.iter().map(|_| STARTER.to_owned());
        let names = self.all_own().into_iter();
        let own: Vec<String> = own.chain(names.map(|own| own.name)).collect();
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

/// What the catalogue says of a model that was found by it.
fn entry(key: &ModelKey) -> Option<&'static Entry> {
    imgd_models::catalogue()
        .iter()
        .find(|entry| entry.name == key.name)
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
    use std::collections::BTreeMap;

    use imgd_proto::v1::{GenerateRequest, ModelPart};

    use super::{Names, OwnModel, Preset, check, with_files};
    use crate::{engine::Place, failure::Reason};

    fn names() -> Names {
        Names {
            starter: Some(Place::Embedded),
            models: BTreeMap::from([
                ("sdxl".to_owned(), "/models/sdxl".into()),
                ("anime".to_owned(), "/models/anime".into()),
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
    fn aliases_lead_to_the_model_with_the_settings_of_the_name() {
        let own = |path: Option<&str>, alias: &str, steps| OwnModel {
            path: path.map(Into::into),
            aliases: vec![alias.to_owned()],
            preset: Preset {
                num_inference_steps: Some(steps),
                ..Preset::default()
            },
            ..OwnModel::default()
        };
        let mut names = names();
        names
            .models
            .insert("fast".to_owned(), own(Some("/models/sdxl"), "f", 4));
        names
            .models
            .insert("slow".to_owned(), own(Some("/models/sdxl"), "s", 50));
        names
            .models
            .insert("starter".to_owned(), own(None, "apple", 9));
        let steps = |name: &str| {
            let resolved = names.resolve(name).unwrap();
            (resolved.key.name, resolved.preset.num_inference_steps)
        };
        // One directory is one model in memory, whatever it is asked to do.
        for (name, expected) in [("fast", 4), ("f", 4), ("slow", 50), ("s", 50)] {
            assert_eq!(steps(name), ("fast".to_owned(), Some(expected)), "{name}");
        }
        for name in ["starter", "apple"] {
            assert_eq!(steps(name), ("starter".to_owned(), Some(9)));
        }
        let listed = names.list().0;
        let starter = listed
            .iter()
            .find(|model| model.key.name == "starter")
            .unwrap();
        assert_eq!(starter.aliases, ["apple"]);
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
