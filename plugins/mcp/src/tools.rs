//! The tools: names, descriptions, and what each takes. Schemas and the reader of arguments come from this table.

use std::sync::Arc;

use imgd_proto::limits::{self, Limit, Range};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// A whole number, both ends included.
    Integer(u64, u64),
    /// A number, both ends included.
    Number(f64, f64),
    Boolean,
}

/// One field of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
    /// What it is, in which unit, and what it is when absent.
    pub(crate) description: &'static str,
}

/// One tool.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    title: &'static str,
    description: &'static str,
    pub(crate) fields: &'static [Field],
    /// It changes nothing.
    is_read_only: bool,
    /// It ends something that cannot be begun again where it stopped.
    is_destructive: bool,
    /// What comes back is a job with pictures.
    gives_pictures: bool,
}

/// Pictures of one call: a conversation has little room for them.
pub(crate) const MAX_IMAGES: u64 = 8;
/// The largest seed: programs whose numbers are those of JavaScript keep no larger one exactly.
pub(crate) const MAX_SEED: u64 = (1 << 53) - 1;
/// How long a call waits for its pictures where it does not say, in seconds: many clients give a tool a minute.
pub(crate) const DEFAULT_WAIT_SECS: u64 = 50;
/// The longest that a call may wait, in seconds.
pub(crate) const MAX_WAIT_SECS: u64 = 3600;

const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Field {
    Field {
        name,
        kind,
        is_required: false,
        description,
    }
}

const fn required(name: &'static str, kind: Kind, description: &'static str) -> Field {
    Field {
        is_required: true,
        ..optional(name, kind, description)
    }
}

/// The kind that a limit of the contract means.
const fn of(limit: &Limit) -> Kind {
    match limit.range {
        Range::Integer { min, max } => Kind::Integer(min, max),
        Range::Number { min, max } => Kind::Number(min, max),
        Range::Bytes { .. } | Range::Characters { .. } | Range::Hours { .. } => Kind::Text,
    }
}

const PROMPT: Field = required(
    "prompt",
    Kind::Text,
    "What the picture shows, in the words of image models: subject, surroundings, style, light. At most 32,768 bytes.",
);
const NEGATIVE_PROMPT: Field = optional(
    "negative_prompt",
    Kind::Text,
    "What the picture avoids. Default: the model's.",
);
const MODEL: Field = optional(
    "model",
    Kind::Text,
    "A name from list_models. Default: the user's default model.",
);
const WIDTH: Field = optional(
    "width_px",
    of(&limits::WIDTH_PX),
    "Width in pixels, a multiple of 8. Default: the size the model was made for (see list_models), or that of the picture that is changed. \
Far from it, pictures get worse.",
);
const HEIGHT: Field = optional(
    "height_px",
    of(&limits::HEIGHT_PX),
    "Height in pixels, a multiple of 8. Default: as for the width.",
);
const STEPS: Field = optional(
    "num_inference_steps",
    of(&limits::NUM_INFERENCE_STEPS),
    "Denoising steps; the time grows with them. Default: the model's, which is almost always right.",
);
const GUIDANCE: Field = optional(
    "guidance_scale",
    of(&limits::GUIDANCE_SCALE),
    "How closely the prompt is followed; 1 or less is not at all. Default: the model's.",
);
const SEED: Field = optional(
    "seed",
    Kind::Integer(0, MAX_SEED),
    "Seed of the noise: the same request with the same seed gives the same picture. Picture i uses seed + i. Default: a random one, \
which is told.",
);
const NUM_IMAGES: Field = optional(
    "num_images",
    Kind::Integer(1, MAX_IMAGES),
    "Number of pictures. Default: 1.",
);
const SAMPLER: Field = optional(
    "sampler",
    Kind::Text,
    "The solver, a name from list_models. Default: the model's.",
);
const SCHEDULE: Field = optional(
    "schedule",
    Kind::Text,
    "The list of noise levels, a name from list_models. Default: the model's.",
);
const WAIT: Field = optional(
    "wait_secs",
    Kind::Integer(0, MAX_WAIT_SECS),
    "How long to wait for the pictures, in seconds. After that the work goes on, and job_status with the job_id gives them. \
0 does not wait. Default: 50.",
);
const IMAGE_PATH: Field = optional(
    "image_path",
    Kind::Text,
    "Absolute path of the picture: PNG, JPEG or WebP, at most 16 MiB, in a folder that the user has allowed. Paths that this server \
returned always work. Give this or image_base64.",
);
const IMAGE_BASE64: Field = optional(
    "image_base64",
    Kind::Text,
    "The picture's file itself, in base64: PNG, JPEG or WebP, at most 16 MiB.",
);
const JOB_ID: Field = required(
    "job_id",
    Kind::Text,
    "A job_id that one of these tools returned, 32 hexadecimal digits.",
);

pub(crate) const GENERATE: &str = "generate_image";
pub(crate) const EDIT: &str = "edit_image";
pub(crate) const UPSCALE: &str = "upscale_image";
pub(crate) const LIST_MODELS: &str = "list_models";
pub(crate) const JOB_STATUS: &str = "job_status";
pub(crate) const CANCEL_JOB: &str = "cancel_job";

/// Every tool.
pub(crate) static TOOLS: [Spec; 6] = [
    Spec {
        name: GENERATE,
        title: "Generate an image",
        description: "Draws pictures from a text with an image model on this machine. Returns each picture inline, its absolute path on \
disk, its seed and all settings.",
        fields: &[
            PROMPT,
            NEGATIVE_PROMPT,
            MODEL,
            WIDTH,
            HEIGHT,
            STEPS,
            GUIDANCE,
            SEED,
            NUM_IMAGES,
            SAMPLER,
            SCHEDULE,
            WAIT,
        ],
        is_read_only: false,
        is_destructive: false,
        gives_pictures: true,
    },
    Spec {
        name: EDIT,
        title: "Edit an image",
        description: "Draws a new picture that begins from one that is there: changes its style or content, or repaints the part that a \
mask marks. The picture itself is not changed.",
        fields: &[
            PROMPT,
            IMAGE_PATH,
            IMAGE_BASE64,
            optional(
                "mask_path",
                Kind::Text,
                "Absolute path of a mask of the picture's size: what is white is repainted, what is black is kept. As image_path. Default: \
the whole picture is repainted.",
            ),
            optional(
                "mask_base64",
                Kind::Text,
                "The mask's file itself, in base64.",
            ),
            optional(
                "strength",
                of(&limits::STRENGTH),
                "How much changes: 0.3 changes details, 0.6 the style, 1 keeps nothing of what is repainted. Default: 0.75, with a mask 1.",
            ),
            NEGATIVE_PROMPT,
            MODEL,
            WIDTH,
            HEIGHT,
            STEPS,
            GUIDANCE,
            SEED,
            NUM_IMAGES,
            SAMPLER,
            SCHEDULE,
            WAIT,
        ],
        is_read_only: false,
        is_destructive: false,
        gives_pictures: true,
    },
    Spec {
        name: UPSCALE,
        title: "Enlarge an image",
        description: "Makes a picture larger by a network that adds detail. list_models names the upscalers there are; without any, this \
cannot be used.",
        fields: &[
            IMAGE_PATH,
            IMAGE_BASE64,
            optional(
                "upscaler",
                Kind::Text,
                "A name from list_models. Default: the only one.",
            ),
            optional(
                "scale",
                of(&limits::UPSCALE_SCALE),
                "How many times longer each side becomes. Default: as the upscaler makes it.",
            ),
            WAIT,
        ],
        is_read_only: false,
        is_destructive: false,
        gives_pictures: true,
    },
    Spec {
        name: LIST_MODELS,
        title: "List models",
        description: "Lists the image models, upscalers, samplers and schedules that there are, and the default model's size and settings.",
        fields: &[],
        is_read_only: true,
        is_destructive: false,
        gives_pictures: false,
    },
    Spec {
        name: JOB_STATUS,
        title: "Ask for a job",
        description: "Says how a job of these tools is: waiting, running (with the share that is done) or ended. Returns its finished \
pictures inline and their paths.",
        fields: &[
            JOB_ID,
            optional(
                "wait_secs",
                Kind::Integer(0, MAX_WAIT_SECS),
                "How long to wait for the job's end, in seconds. Default: 0.",
            ),
            optional(
                "with_pictures",
                Kind::Boolean,
                "Whether to return the finished pictures inline, not their paths alone. Default: true.",
            ),
        ],
        // Pictures that were not written yet are.
        is_read_only: false,
        is_destructive: false,
        gives_pictures: true,
    },
    Spec {
        name: CANCEL_JOB,
        title: "Cancel a job",
        description: "Ends a job of these tools that waits or runs. Pictures that are finished stay.",
        fields: &[JOB_ID],
        is_read_only: false,
        is_destructive: true,
        gives_pictures: false,
    },
];

impl Spec {
    /// The tool of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// What the protocol says of it.
    pub(crate) fn tool(&self) -> Tool {
        let annotations = ToolAnnotations::with_title(self.title)
            .read_only(self.is_read_only)
            .destructive(self.is_destructive)
            .idempotent(self.is_read_only)
            .open_world(false);
        let tool = Tool::new(self.name, self.description, self.input_schema())
            .with_title(self.title)
            .with_annotations(annotations);
        if self.gives_pictures {
            tool.with_raw_output_schema(Arc::new(output_schema()))
        } else {
            tool
        }
    }

    fn input_schema(&self) -> JsonObject {
        let properties: Map<_, _> = self
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), field.schema()))
            .collect();
        let required: Vec<_> = self
            .fields
            .iter()
            .filter(|field| field.is_required)
            .map(|field| field.name)
            .collect();
        object(json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }))
    }
}

impl Field {
    fn schema(&self) -> Value {
        let description = self.description;
        match self.kind {
            Kind::Text => json!({ "type": "string", "description": description }),
            Kind::Boolean => json!({ "type": "boolean", "description": description }),
            Kind::Integer(min, max) => json!({
                "type": "integer", "minimum": min, "maximum": max, "description": description,
            }),
            Kind::Number(min, max) => json!({
                "type": "number", "minimum": min, "maximum": max, "description": description,
            }),
        }
    }
}

/// What a job with pictures looks like.
fn output_schema() -> JsonObject {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let number = |description: &str| json!({ "type": "integer", "description": description });
    object(json!({
        "type": "object",
        "properties": {
            "job_id": text("The job, for job_status and cancel_job; empty for a private one."),
            "state": text("queued, running, paused, succeeded, failed or cancelled."),
            "fraction": { "type": "number", "description": "Share that is done, 0 to 1." },
            "pictures": {
                "type": "array",
                "description": "The finished pictures, in the order of the inline ones.",
                "items": {
                    "type": "object",
                    "properties": {
                        "path": text("Absolute path of the file."),
                        "width_px": number("Width in pixels."),
                        "height_px": number("Height in pixels."),
                        "seed": number("Its seed."),
                        "sha256": text("SHA-256 of the file."),
                        "settings": { "type": "object", "description": "All it was made with." },
                        "is_preview": {
                            "type": "boolean",
                            "description": "The inline picture is a smaller JPEG; the file has all of it.",
                        },
                    },
                    "required": ["path", "width_px", "height_px"],
                },
            },
            "notices": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["job_id", "state", "pictures"],
    }))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("written as an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_says_what_it_is_and_stands_once() {
        for tool in &TOOLS {
            for (index, field) in tool.fields.iter().enumerate() {
                assert!(field.description.ends_with('.'), "{}", field.name);
                assert!(
                    tool.fields[..index]
                        .iter()
                        .all(|other| other.name != field.name),
                    "{} twice in {}",
                    field.name,
                    tool.name
                );
            }
            assert!(std::ptr::eq(Spec::named(tool.name).unwrap(), tool));
        }
    }

    #[test]
    fn ranges_of_the_schema_are_those_of_the_contract() {
        let schema = Value::Object(Spec::named(EDIT).unwrap().input_schema());
        assert_eq!(schema["properties"]["width_px"]["maximum"], 4096);
        assert_eq!(schema["properties"]["strength"]["maximum"], 1.0);
        assert_eq!(schema["required"], json!(["prompt"]));
    }

    #[test]
    fn descriptions_name_the_default_wait() {
        assert!(
            WAIT.description
                .ends_with(&format!("Default: {DEFAULT_WAIT_SECS}."))
        );
    }
}
