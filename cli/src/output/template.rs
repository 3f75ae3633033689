//! File names with placeholders, and names made from prompts.

use std::path::{Path, PathBuf};

use imgd_client::{GenerateRequest, v1::Settings};

use crate::{failure::Failure, json};

/// A prompt's part of a file name has at most this many bytes.
const MAX_SLUG_BYTES: usize = 60;

/// The placeholders and what they stand for, as the help text has them.
const PLACEHOLDERS: [&str; 9] = [
    "prompt",
    "seed",
    "index",
    "model",
    "sampler",
    "steps",
    "width",
    "height",
    "variation_seed",
];

/// Where [`PLACEHOLDERS`] has the variation's seed; its value is empty where there is none.
const VARIATION_SEED: usize = 8;

/// A file name with placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(&'static str),
    /// `-` and the variation's seed; nothing where there is none.
    Variation,
}

/// What placeholders stand for in one picture's name, in the order of the placeholders.
#[derive(Debug, Default)]
pub(crate) struct Values([String; PLACEHOLDERS.len()]);

impl Values {
    /// The values of picture `index` (from 0), made with these settings.
    pub(crate) fn new(prompt: &str, index: u32, settings: &Settings) -> Self {
        let (width_px, height_px) = json::size_px(settings);
        Self([
            slug(prompt),
            settings.seed.to_string(),
            (index + 1).to_string(),
            slug(last_part(&settings.model)),
            slug(&settings.sampler),
            settings.num_inference_steps.to_string(),
            width_px.to_string(),
            height_px.to_string(),
            settings
                .variation_seed
                .map(|seed| seed.to_string())
                .unwrap_or_default(),
        ])
    }

    /// The values that are known before a picture is made; a placeholder stands for itself where there is none.
    pub(crate) fn expected(request: &GenerateRequest, index: u32) -> Self {
        let mut values = Self(PLACEHOLDERS.map(|name| format!("{{{name}}}")));
        let model = request.model.as_deref().map(last_part);
        let varies = request.variation_strength.unwrap_or_default() > 0.0;
        let counted = |seed: u64| seed.wrapping_add(index.into());
        let seed = request
            .seed
            .map(|seed| if varies { seed } else { counted(seed) });
        let variation = match (varies, request.variation_seed) {
            (false, _) => Some(String::new()),
            (true, seed) => seed.map(|seed| counted(seed).to_string()),
        };
        // A second pass makes a size that the model has a say in.
        let size = |side_px: Option<u32>| {
            let known = side_px.filter(|_| request.hires.is_none());
            known.map(|side_px| side_px.to_string())
        };
        for (at, value) in [
            Some(slug(&request.prompt)),
            seed.map(|seed| seed.to_string()),
            Some((index + 1).to_string()),
            model.map(slug),
            request.sampler.as_deref().map(slug),
            request.num_inference_steps.map(|steps| steps.to_string()),
            size(request.width_px),
            size(request.height_px),
            variation,
        ]
        .into_iter()
        .enumerate()
        {
            if let Some(value) = value {
                values.0[at] = value;
            }
        }
        values
    }

    /// The values of a name in which only the picture's index (from 0) may stand.
    pub(crate) fn of_index(index: u32) -> Self {
        let mut values = Self::default();
        values.0[2] = (index + 1).to_string();
        values
    }
}

impl Template {
    /// Reads `{name}` as placeholders and `{{`, `}}` as braces. Fails on a placeholder there is not.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some(after) = tail.strip_prefix("{{").or(tail.strip_prefix("}}")) {
                literal.push_str(&tail[..1]);
                rest = after;
                continue;
            }
            let end = tail.find('}').filter(|_| tail.starts_with('{'));
            let name = end.map_or(tail, |end| &tail[1..end]);
            let known = end.and_then(|_| PLACEHOLDERS.into_iter().find(|known| *known == name));
            let Some(known) = known else {
                return Err(unknown(name));
            };
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Placeholder(known));
            rest = &tail[name.len() + 2..];
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Ok(Self { parts })
    }

    pub(crate) fn has_placeholders(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Placeholder(_) | Part::Variation))
    }

    /// Appends `-{index}`.
    pub(crate) fn push_index(&mut self) {
        self.parts
            .extend([Part::Text("-".into()), Part::Placeholder("index")]);
    }

    /// Appends `-` and the variation's seed, where there is one.
    pub(crate) fn push_variation(&mut self) {
        self.parts.push(Part::Variation);
    }

    /// Appends the extension, without its dot.
    pub(crate) fn push_extension(&mut self, extension: &str) {
        self.parts.push(Part::Text(format!(".{extension}")));
    }

    /// The folder, where no placeholder stands in it.
    pub(crate) fn fixed_folder(&self) -> Option<PathBuf> {
        let last_slash = self.parts.iter().rposition(|part| match part {
            Part::Text(text) => text.contains('/'),
            Part::Placeholder(_) | Part::Variation => false,
        });
        let Some(last) = last_slash else {
            return Some(PathBuf::new());
        };
        let mut folder = String::new();
        for part in &self.parts[..=last] {
            match part {
                Part::Text(text) => folder.push_str(text),
                Part::Placeholder(_) | Part::Variation => return None,
            }
        }
        let end = folder.rfind('/').map_or(0, |slash| slash + 1);
        Some(Path::new(&folder[..end]).to_owned())
    }

    /// The path with values in the places of placeholders.
    pub(crate) fn path(&self, values: &Values) -> PathBuf {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Placeholder(name) => PLACEHOLDERS
                .iter()
                .position(|known| known == name)
                .map(|i| values.0[i].clone())
                .unwrap_or_default(),
            Part::Variation => match values.0[VARIATION_SEED].as_str() {
                "" => String::new(),
                seed => format!("-{seed}"),
            },
        };
        self.parts.iter().map(text).collect::<String>().into()
    }
}

/// A text that [`Template::parse`] reads as itself.
pub(crate) fn escape(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// A file name's part: lower-case letters and digits of any script, words joined by `-`, cut between words.
///
/// Never empty, never with a dot, slash or control character.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::new();
    let lower = text.to_lowercase();
    for word in lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let room = MAX_SLUG_BYTES - slug.len();
        if slug.is_empty() {
            let end = (0..=word.len().min(room))
                .rev()
                .find(|&end| word.is_char_boundary(end));
            slug.push_str(&word[..end.unwrap_or(0)]);
        } else if word.len() < room {
            slug.push('-');
            slug.push_str(word);
        } else {
            break;
        }
    }
    if slug.is_empty() {
        "picture".into()
    } else {
        slug
    }
}

/// The last part of a model's path.
fn last_part(model: &str) -> &str {
    let parts = model.trim_end_matches('/').rsplit('/');
    parts.take(1).next().unwrap_or_default()
}

fn unknown(name: &str) -> Failure {
    let nearest = PLACEHOLDERS
        .into_iter()
        .max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)))
        .filter(|near| strsim::jaro(near, name) > 0.7);
    let known = PLACEHOLDERS.map(|known| format!("{{{known}}}")).join(" ");
    let hint = match nearest {
        Some(near) => format!("did you mean `{{{near}}}`? There are {known}"),
        None => format!("there are {known}; a brace itself is `{{{{` or `}}}}`"),
    };
    Failure::usage(format!(
        "the name after -o has an unknown placeholder `{name}`"
    ))
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values(
            [
                "a-red-apple",
                "7",
                "2",
                "starter",
                "euler",
                "14",
                "256",
                "128",
                "9",
            ]
            .map(str::to_owned),
        )
    }

    fn expand(text: &str) -> String {
        Template::parse(text)
            .unwrap()
            .path(&values())
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn every_placeholder_stands_for_its_value() {
        assert_eq!(expand("{prompt}-{seed}"), "a-red-apple-7");
        assert_eq!(
            expand("x/{index}_{model}_{sampler}_{steps}_{width}x{height}"),
            "x/2_starter_euler_14_256x128"
        );
        assert_eq!(expand("{seed}v{variation_seed}"), "7v9");
        assert_eq!(expand("{{{seed}}}"), "{7}");
        assert_eq!(expand(&escape("a{b}c")), "a{b}c");
    }

    #[test]
    fn names_of_variations_are_known_as_far_as_they_are_asked_for() {
        let mut template = Template::parse("{seed}").unwrap();
        template.push_variation();
        let name = |strength, variation_seed| {
            let request = GenerateRequest {
                seed: Some(7),
                variation_strength: strength,
                variation_seed,
                ..GenerateRequest::default()
            };
            let path = template.path(&Values::expected(&request, 2));
            path.to_str().unwrap().to_owned()
        };
        assert_eq!(name(None, None), "9");
        assert_eq!(name(Some(0.0), Some(1)), "9");
        assert_eq!(name(Some(0.1), Some(1)), "7-3");
        assert_eq!(name(Some(0.1), None), "7-{variation_seed}");
    }

    #[test]
    fn unknown_placeholders_are_refused_with_the_nearest() {
        let failure = Template::parse("{sead}").unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.hint.unwrap().contains("did you mean `{seed}`"));
        for wrong in ["{", "}", "a{seed", "seed}", "{}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_is_known_unless_a_placeholder_stands_in_it() {
        let folder = |text| Template::parse(text).unwrap().fixed_folder();
        assert_eq!(folder("{seed}"), Some("".into()));
        assert_eq!(folder("a/b/{seed}"), Some("a/b/".into()));
        assert_eq!(folder("/x{index}"), Some("/".into()));
        assert_eq!(folder("{model}/x"), None);
    }

    #[test]
    fn names_from_prompts_are_safe_and_short() {
        assert_eq!(slug("A red apple!"), "a-red-apple");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("ein grüner Apfel"), "ein-grüner-apfel");
        assert_eq!(slug("赤い林檎"), "赤い林檎");
        assert_eq!(slug("-rf .\u{0}\n"), "rf");
        for nothing in ["", " ", "…", "🍎"] {
            assert_eq!(slug(nothing), "picture");
        }
        assert!(slug(&"word ".repeat(50)).len() <= MAX_SLUG_BYTES);
        assert!(!slug(&"word ".repeat(50)).ends_with("wor"));
        assert!(slug(&"é".repeat(200)).len() <= MAX_SLUG_BYTES);
    }
}
