//! What a line of a batch may say: the names of the contract's fields, the flags' names beside them, and what each
//! takes.

use imgd_client::{Control, KeepAlive, Lora, ModelPart, ReferenceImage};
use imgd_proto::limits;

use crate::{
    borders::borders,
    control_arg::control,
    durations, numbers,
    output::Format,
    picture_args::{
        Precision, Priority, PromptSyntax, absolute, lora, model_name, part, reference,
    },
    picture_file::{self, PictureFile},
};

/// What a line says; what it leaves out is the command line's, else the model's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Own {
    pub(super) prompt: Option<String>,
    pub(super) negative_prompt: Option<String>,
    pub(super) model: Option<String>,
    pub(super) model_config: Option<String>,
    pub(super) model_parts: Option<Vec<ModelPart>>,
    pub(super) width_px: Option<u32>,
    pub(super) height_px: Option<u32>,
    pub(super) num_inference_steps: Option<u32>,
    pub(super) guidance_scale: Option<f64>,
    pub(super) seed: Option<u64>,
    pub(super) variation_seed: Option<u64>,
    pub(super) variation_strength: Option<f64>,
    pub(super) num_images: Option<u32>,
    pub(super) sampler: Option<String>,
    pub(super) schedule: Option<String>,
    pub(super) clip_skip: Option<u32>,
    pub(super) max_sequence_length: Option<u32>,
    pub(super) init_image: Option<PictureFile>,
    pub(super) mask: Option<PictureFile>,
    pub(super) strength: Option<f64>,
    pub(super) mask_blur_px: Option<u32>,
    pub(super) only_masked_padding_px: Option<u32>,
    pub(super) extend_left_px: Option<u32>,
    pub(super) extend_right_px: Option<u32>,
    pub(super) extend_top_px: Option<u32>,
    pub(super) extend_bottom_px: Option<u32>,
    pub(super) hires_scale: Option<f64>,
    pub(super) hires_strength: Option<f64>,
    pub(super) hires_steps: Option<u32>,
    pub(super) loras: Option<Vec<Lora>>,
    pub(super) controls: Option<Vec<Control>>,
    pub(super) styles: Option<Vec<String>>,
    pub(super) ref_images: Option<Vec<ReferenceImage>>,
    pub(super) prompt_syntax: Option<PromptSyntax>,
    pub(super) precision: Option<Precision>,
    pub(super) format: Option<Format>,
    pub(super) jpeg_quality: Option<u32>,
    pub(super) omit_metadata: Option<bool>,
    pub(super) priority: Option<Priority>,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) output: Option<String>,
    /// The fields that are given, by their index in [`FIELDS`].
    given: Vec<usize>,
}

/// What kind of value a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// True or false; in a text file the name alone is true.
    Switch,
    /// Text, or a number of seconds.
    Time,
}

/// A field that a line may have.
#[derive(Debug)]
pub(super) struct Field {
    /// Its names, the contract's first.
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind,
    set: fn(&mut Own, &str) -> Result<(), String>,
}

/// A field's value is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The contract's name of the field, where it has one.
    pub(super) field: Option<&'static str>,
    /// What is wrong.
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            field: None,
            message: message.into(),
        }
    }
}

macro_rules! fields {
    ($($names:expr, $kind:ident, |$own:ident, $text:ident| $set:expr;)*) => {
        /// Every field.
        pub(super) const FIELDS: &[Field] = &[$(Field {
            names: &$names,
            kind: Kind::$kind,
            set: |$own, $text| {
                $set;
                Ok(())
            },
        }),*];
    };
}

fields! {
    ["prompt"], Text, |own, text| own.prompt = Some(text.to_owned());
    ["negative_prompt"], Text, |own, text| own.negative_prompt = Some(text.to_owned());
    ["model", "m"], Text, |own, text| own.model = Some(model_name(text));
    ["model_config", "config"], Text, |own, text| own.model_config = Some(absolute(text));
    ["model_parts", "parts"], Text,
        |own, text| own.model_parts = Some(text.split(',').map(|one| part(one.trim())).collect::<Result<_, _>>()?);
    ["width_px", "width"], Number, |own, text| own.width_px = Some(numbers::whole(&limits::WIDTH_PX)(text)?);
    ["height_px", "height"], Number, |own, text| own.height_px = Some(numbers::whole(&limits::HEIGHT_PX)(text)?);
    ["size"], Text, |own, text| {
        let size = numbers::size(text)?;
        (own.width_px, own.height_px) = (Some(size.width_px), Some(size.height_px));
    };
    ["num_inference_steps", "steps"], Number,
        |own, text| own.num_inference_steps = Some(numbers::whole(&limits::NUM_INFERENCE_STEPS)(text)?);
    ["guidance_scale", "cfg", "cfg_scale"], Number,
        |own, text| own.guidance_scale = Some(numbers::number(&limits::GUIDANCE_SCALE)(text)?);
    ["seed", "s"], Number, |own, text| own.seed = Some(numbers::seed(text)?);
    ["variation_seed"], Number, |own, text| own.variation_seed = Some(numbers::seed(text)?);
    ["variation_strength"], Number,
        |own, text| own.variation_strength = Some(numbers::number(&limits::VARIATION_STRENGTH)(text)?);
    ["num_images", "n"], Number, |own, text| own.num_images = Some(numbers::whole(&limits::NUM_IMAGES)(text)?);
    ["sampler"], Text, |own, text| own.sampler = Some(text.to_owned());
    ["schedule"], Text, |own, text| own.schedule = Some(text.to_owned());
    ["clip_skip"], Number, |own, text| own.clip_skip = Some(numbers::whole(&limits::CLIP_SKIP)(text)?);
    ["max_sequence_length"], Number,
        |own, text| own.max_sequence_length = Some(numbers::whole(&limits::MAX_SEQUENCE_LENGTH)(text)?);
    ["init_image"], Text, |own, text| own.init_image = Some(picture_file::file(&limits::INIT_IMAGE)(text)?);
    ["mask"], Text, |own, text| own.mask = Some(picture_file::file(&limits::MASK)(text)?);
    ["strength"], Number, |own, text| own.strength = Some(numbers::number(&limits::STRENGTH)(text)?);
    ["mask_blur_px", "mask_blur"], Number,
        |own, text| own.mask_blur_px = Some(numbers::whole(&limits::MASK_BLUR_PX)(text)?);
    ["only_masked_padding_px", "only_masked"], Number,
        |own, text| own.only_masked_padding_px = Some(numbers::whole(&limits::ONLY_MASKED_PADDING_PX)(text)?);
    ["extend_left_px"], Number,
        |own, text| own.extend_left_px = Some(numbers::whole(&limits::EXTEND_LEFT_PX)(text)?);
    ["extend_right_px"], Number,
        |own, text| own.extend_right_px = Some(numbers::whole(&limits::EXTEND_RIGHT_PX)(text)?);
    ["extend_top_px"], Number,
        |own, text| own.extend_top_px = Some(numbers::whole(&limits::EXTEND_TOP_PX)(text)?);
    ["extend_bottom_px"], Number,
        |own, text| own.extend_bottom_px = Some(numbers::whole(&limits::EXTEND_BOTTOM_PX)(text)?);
    ["extend"], Text, |own, text| {
        let borders = borders(text)?;
        own.extend_left_px = Some(borders.left_px);
        own.extend_right_px = Some(borders.right_px);
        own.extend_top_px = Some(borders.top_px);
        own.extend_bottom_px = Some(borders.bottom_px);
    };
    ["hires_scale"], Number, |own, text| own.hires_scale = Some(numbers::number(&limits::HIRES_SCALE)(text)?);
    ["hires_strength"], Number,
        |own, text| own.hires_strength = Some(numbers::number(&limits::HIRES_STRENGTH)(text)?);
    ["hires_steps"], Number, |own, text| own.hires_steps = Some(numbers::whole(&limits::HIRES_STEPS)(text)?);
    ["loras", "lora"], Text,
        |own, text| own.loras = Some(text.split(',').map(|one| lora(one.trim())).collect::<Result<_, _>>()?);
    ["controls", "control"], Text,
        |own, text| own.controls = Some(text.split(';').map(|one| control(one.trim())).collect::<Result<_, _>>()?);
    ["styles", "style"], Text,
        |own, text| own.styles = Some(text.split(',').map(|name| name.trim().to_owned()).collect());
    ["ref_images", "ref_image"], Text, |own, text| {
        let file = picture_file::file(&limits::REF_IMAGE);
        let read = |path: &str| Ok(reference(&file(path).map_err(|why| format!("{path}: {why}"))?));
        own.ref_images = Some(text.split(';').map(|one| read(one.trim())).collect::<Result<_, String>>()?);
    };
    ["prompt_syntax"], Text, |own, text| own.prompt_syntax = Some(choice(text)?);
    ["precision"], Text, |own, text| own.precision = Some(choice(text)?);
    ["format"], Text, |own, text| own.format = Some(choice(text)?);
    ["jpeg_quality"], Number, |own, text| own.jpeg_quality = Some(numbers::whole(&limits::JPEG_QUALITY)(text)?);
    ["omit_metadata", "no_metadata"], Switch, |own, text| own.omit_metadata = Some(switch(text)?);
    ["priority"], Text, |own, text| own.priority = Some(choice(text)?);
    ["keep_alive"], Time, |own, text| own.keep_alive = Some(durations::keep_alive(text)?);
    ["output", "o"], Text, |own, text| own.output = Some(text.to_owned());
}

/// Fields of the contract that a batch has its own mind about.
const REFUSED: [(&str, &str); 6] = [
    ("request_id", "a batch names its jobs itself"),
    (
        "timeout",
        "a job outlives its client, so it has no time limit",
    ),
    ("private", "a job outlives its client, so it is kept"),
    ("preview_every_n_steps", "a batch shows no previews"),
    (
        "upscaler",
        "a batch draws; `imgctl upscale` enlarges what it drew",
    ),
    (
        "upscale_scale",
        "a batch draws; `imgctl upscale` enlarges what it drew",
    ),
];

/// The field of that name; `-` and `_` are the same.
pub(super) fn find(name: &str) -> Result<&'static Field, Wrong> {
    let wanted = name.trim().to_lowercase().replace('-', "_");
    if let Some(field) = FIELDS
        .iter()
        .find(|field| field.names.contains(&wanted.as_str()))
    {
        return Ok(field);
    }
    if let Some((field, why)) = REFUSED.iter().find(|(refused, _)| *refused == wanted) {
        return Err(Wrong {
            field: Some(field),
            message: format!("`{name}` cannot be set here: {why}"),
        });
    }
    let near = FIELDS
        .iter()
        .flat_map(|field| field.names)
        .max_by(|a, b| strsim::jaro(a, &wanted).total_cmp(&strsim::jaro(b, &wanted)))
        .filter(|near| strsim::jaro(near, &wanted) > 0.7);
    Err(Wrong::new(match near {
        Some(near) => format!("there is no field `{name}`; did you mean `{near}`?"),
        None => format!("there is no field `{name}`"),
    }))
}

impl Own {
    /// Takes a field's value as it is written; `name` is how the file calls the field.
    pub(super) fn set(
        &mut self,
        field: &'static Field,
        name: &str,
        text: &str,
    ) -> Result<(), Wrong> {
        let wrong = |message| Wrong {
            field: Some(field.names[0]),
            message,
        };
        if self.has(field) {
            return Err(wrong(format!("`{name}` is given twice")));
        }
        (field.set)(self, text)
            .map_err(|why| wrong(format!("`{name}` cannot be `{text}`: {why}")))?;
        // `size` stands for two, `extend` for four.
        let stands_for: &[&str] = match field.names[0] {
            "size" => &["size", "width_px", "height_px"],
            "width_px" | "height_px" => &[field.names[0], "size"],
            "extend" => &[
                "extend",
                "extend_left_px",
                "extend_right_px",
                "extend_top_px",
                "extend_bottom_px",
            ],
            "extend_left_px" | "extend_right_px" | "extend_top_px" | "extend_bottom_px" => {
                &[field.names[0], "extend"]
            }
            name => &[name],
        };
        let indices = (0..FIELDS.len()).filter(|&i| stands_for.contains(&FIELDS[i].names[0]));
        self.given.extend(indices);
        Ok(())
    }

    /// Whether the line gives that field.
    fn has(&self, field: &Field) -> bool {
        self.given
            .iter()
            .any(|&index| FIELDS[index].names == field.names)
    }
}

fn choice<T: clap::ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, true).map_err(|_unknown| {
        let names = T::value_variants().iter().filter_map(|value| {
            let value = value.to_possible_value()?;
            Some(value.get_name().to_owned())
        });
        format!("must be one of {}", names.collect::<Vec<_>>().join(", "))
    })
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use imgd_proto::limits::LIMITS;

    use super::*;

    #[test]
    fn every_field_of_the_contract_is_taken_or_refused_with_a_reason() {
        let of_others = [
            "file",
            "hold_after_steps",
            "images",
            "page_size",
            "part",
            "weight",
        ];
        // `controls` takes them all in one text.
        let of_controls =
            |field: &str| field.starts_with("control_") || field.starts_with("canny_");
        for limit in LIMITS
            .iter()
            .filter(|limit| !of_others.contains(&limit.field) && !of_controls(limit.field))
        {
            let is_refused = REFUSED.iter().any(|(field, _)| *field == limit.field);
            assert_eq!(find(limit.field).is_err(), is_refused, "{}", limit.field);
        }
    }

    #[test]
    fn names_of_flags_are_names_of_fields() {
        for (name, field) in [
            ("steps", "num_inference_steps"),
            ("num-inference-steps", "num_inference_steps"),
            ("CFG-Scale", "guidance_scale"),
            ("no-metadata", "omit_metadata"),
        ] {
            assert_eq!(find(name).unwrap().names[0], field);
        }
        let near = find("sede").unwrap_err();
        assert_eq!(
            near.message,
            "there is no field `sede`; did you mean `seed`?"
        );
        assert!(find("timeout").unwrap_err().message.contains("outlives"));
    }

    #[test]
    fn wrong_values_name_the_field_and_what_it_takes() {
        let mut own = Own::default();
        let wrong = own.set(find("steps").unwrap(), "--steps", "0").unwrap_err();
        assert_eq!(wrong.field, Some("num_inference_steps"));
        assert_eq!(
            wrong.message,
            "`--steps` cannot be `0`: must be a whole number from 1 to 1,000"
        );
        let wrong = own
            .set(find("format").unwrap(), "format", "gif")
            .unwrap_err();
        assert!(wrong.message.ends_with("must be one of png, jpeg, webp"));
    }

    #[test]
    fn nothing_is_given_twice() {
        for (first, second) in [
            ("steps", "num_inference_steps"),
            ("size", "width"),
            ("height", "size"),
            ("extend", "extend_top_px"),
            ("extend_left_px", "extend"),
        ] {
            let mut own = Own::default();
            let value = |name| if name == "size" { "8x8" } else { "8" };
            own.set(find(first).unwrap(), first, value(first)).unwrap();
            let wrong = own
                .set(find(second).unwrap(), second, value(second))
                .unwrap_err();
            assert!(
                wrong.message.ends_with("is given twice"),
                "{first} {second}"
            );
        }
    }
}
