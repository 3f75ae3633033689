//! From lines to jobs: settings filled in, seeds pinned, names given, places checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use imgd_client::{
    Control, GenerateRequest, HiresFix, ImageInput, Lora, ModelPart, PromptSyntax, ReferenceImage,
    sha256_hex, v1,
};
use imgd_proto::limits::validate_generate;

use super::{
    fields::{Own, Wrong},
    ledger::Ledger,
    lines::{Line, Problem},
};
use crate::{
    output::{Output, Wanted, fixed_folder, is_fixed_name},
    picture_args::{FileArgs, PictureArgs, Priority, syntax},
};

/// What the command line says for all lines.
#[derive(Debug)]
pub(super) struct Defaults<'a> {
    pub(super) picture: &'a PictureArgs,
    pub(super) file: &'a FileArgs,
    /// `-o`.
    pub(super) output: Option<&'a Path>,
    pub(super) overwrites: bool,
    pub(super) priority: Priority,
    pub(super) keep_alive: Option<imgd_client::KeepAlive>,
}

/// A line as a job.
#[derive(Debug)]
pub(super) struct Order {
    /// The line's number.
    pub(super) number: u64,
    /// What to submit; seed and number of pictures are filled in.
    pub(super) request: GenerateRequest,
    pub(super) output: Output,
    /// The pictures that are written already, by index.
    pub(super) there: BTreeMap<u32, PathBuf>,
}

impl Order {
    /// The job's own name.
    pub(super) fn id(&self) -> &str {
        self.request.request_id.as_deref().unwrap_or_default()
    }

    /// Pictures it makes.
    pub(super) fn count(&self) -> u32 {
        self.request.num_images.unwrap_or(1)
    }

    /// Whether every picture is written.
    pub(super) fn is_done(&self) -> bool {
        (0..self.count()).all(|index| self.there.contains_key(&index))
    }
}

/// Makes a job of every line, or says what is wrong with each that cannot be one.
pub(super) fn orders(
    lines: Vec<Line>,
    defaults: &Defaults<'_>,
    ledger: &Ledger,
) -> Result<Vec<Order>, Vec<Problem>> {
    let mut orders = Vec::with_capacity(lines.len());
    let mut problems = Vec::new();
    let mut occurrences = BTreeMap::<String, u32>::new();
    let mut taken = BTreeMap::<PathBuf, u64>::new();
    let mut ids = BTreeSet::new();
    for Line { number, own } in lines {
        let outcome = order(number, &own, defaults, ledger, &mut occurrences, &mut taken);
        match outcome {
            Ok(order) => {
                debug_assert!(ids.insert(order.id().to_owned()), "names are unique");
                orders.push(order);
            }
            Err(wrong) => problems.push(Problem { number, wrong }),
        }
    }
    if problems.is_empty() {
        Ok(orders)
    } else {
        Err(problems)
    }
}

fn order(
    number: u64,
    own: &Own,
    defaults: &Defaults<'_>,
    ledger: &Ledger,
    occurrences: &mut BTreeMap<String, u32>,
    taken: &mut BTreeMap<PathBuf, u64>,
) -> Result<Order, Wrong> {
    let place = place(defaults.output, own.output.as_deref());
    let format = own.format.or(defaults.file.format);
    let mut request = request(own, defaults);
    let count = *request.num_images.get_or_insert(1);
    // The format is known with the place, and the place depends on the name that the job has: as text it is enough.
    let identity = identity(
        &request,
        format.map(|format| format.extension()),
        own,
        defaults,
    );
    let occurrence = occurrences.entry(identity.clone()).or_default();
    let digest = sha256_hex(format!("{identity}\n{occurrence}").as_bytes());
    *occurrence += 1;
    let id = format!("batch-{}", &digest[..32]);
    // Without a seed every run would make other pictures; 32 bits keep names short.
    let pinned =
        |digits: &str| u64::from_str_radix(digits, 16).expect("SHA-256 in hexadecimal digits");
    request.seed.get_or_insert_with(|| pinned(&digest[32..40]));
    if request.variation_strength.is_some() {
        request
            .variation_seed
            .get_or_insert_with(|| pinned(&digest[40..48]));
    }
    let there = ledger.there(&id);
    let is_fixed = place.as_deref().is_some_and(is_fixed_name);
    let wanted = Wanted {
        path: place.as_deref(),
        format,
        // What an earlier run named is its own.
        overwrites: defaults.overwrites || (is_fixed && ledger.has_begun(&id)),
        num_images: count,
        prompt: &request.prompt,
    };
    let output = Output::plan(wanted).map_err(|failure| Wrong {
        field: Some("output"),
        message: match failure.hint {
            Some(hint) => format!("{} ({hint})", failure.message),
            None => failure.message,
        },
    })?;
    if output.is_stdout() {
        return Err(Wrong {
            field: Some("output"),
            message: "pictures of a batch cannot go to standard output".into(),
        });
    }
    request.format = output.format;
    request.request_id = Some(id);
    validate_generate(&v1::GenerateRequest::from(request.clone())).map_err(|error| Wrong {
        field: Some(error.field),
        message: match error.hint {
            Some(hint) => format!("{} ({hint})", error.message),
            None => error.message,
        },
    })?;
    if is_fixed {
        for path in (0..count).filter_map(|index| output.expected(&request, index)) {
            let is_device = path.exists() && !path.is_file();
            if let Some(other) = taken.insert(path.clone(), number).filter(|_| !is_device) {
                return Err(Wrong {
                    field: Some("output"),
                    message: format!("`{}` is line {other}'s already", path.display()),
                });
            }
        }
    }
    Ok(Order {
        number,
        request,
        output,
        there,
    })
}

/// The line's settings over the command line's.
fn request(own: &Own, defaults: &Defaults<'_>) -> GenerateRequest {
    let base = defaults
        .picture
        .request(own.prompt.as_deref().unwrap_or_default());
    let file = defaults.file;
    let precision = own.precision.map_or(base.precision, Into::into);
    GenerateRequest {
        negative_prompt: own.negative_prompt.clone().or(base.negative_prompt),
        model: own.model.clone().or(base.model),
        model_config: own.model_config.clone().or(base.model_config),
        model_parts: own.model_parts.clone().unwrap_or(base.model_parts),
        width_px: own.width_px.or(base.width_px),
        height_px: own.height_px.or(base.height_px),
        num_inference_steps: own.num_inference_steps.or(base.num_inference_steps),
        guidance_scale: own.guidance_scale.or(base.guidance_scale),
        seed: own.seed.or(base.seed),
        variation_seed: own.variation_seed.or(base.variation_seed),
        variation_strength: own.variation_strength.or(base.variation_strength),
        num_images: own.num_images.or(base.num_images),
        sampler: own.sampler.clone().or(base.sampler),
        schedule: own.schedule.clone().or(base.schedule),
        clip_skip: own.clip_skip.or(base.clip_skip),
        max_sequence_length: own.max_sequence_length.or(base.max_sequence_length),
        prompt_syntax: own
            .prompt_syntax
            .map_or(base.prompt_syntax, |own| syntax(Some(own))),
        loras: own.loras.clone().unwrap_or(base.loras),
        controls: own.controls.clone().unwrap_or(base.controls),
        styles: own.styles.clone().unwrap_or(base.styles),
        ref_images: own.ref_images.clone().unwrap_or(base.ref_images),
        input: input(own, base.input),
        hires: hires(own, base.hires),
        precision,
        jpeg_quality: own.jpeg_quality.or(file.jpeg_quality),
        omit_metadata: own.omit_metadata.unwrap_or(file.no_metadata),
        priority: own.priority.unwrap_or(defaults.priority).into(),
        keep_alive: own.keep_alive.or(defaults.keep_alive),
        ..base
    }
}

/// The line's second pass, or the command line's with what the line says of it; without a scale it is refused later.
fn hires(own: &Own, base: Option<HiresFix>) -> Option<HiresFix> {
    let is_told =
        own.hires_scale.is_some() || own.hires_strength.is_some() || own.hires_steps.is_some();
    let base = base.or(is_told.then(HiresFix::default))?;
    Some(HiresFix {
        hires_scale: own.hires_scale.unwrap_or(base.hires_scale),
        hires_strength: own.hires_strength.or(base.hires_strength),
        hires_steps: own.hires_steps.or(base.hires_steps),
    })
}

/// The line's picture to begin from, or the command line's with what the line says of it.
fn input(own: &Own, base: Option<ImageInput>) -> Option<ImageInput> {
    let mut input = match &own.init_image {
        Some(picture) => ImageInput {
            init_image: picture.bytes.clone().into(),
            ..ImageInput::default()
        },
        None => base?,
    };
    if let Some(mask) = &own.mask {
        input.mask = mask.bytes.clone().into();
    }
    input.strength = own.strength.or(input.strength);
    input.mask_blur_px = own.mask_blur_px.or(input.mask_blur_px);
    input.only_masked_padding_px = own.only_masked_padding_px.or(input.only_masked_padding_px);
    for (side, own) in [
        (&mut input.extend_left_px, own.extend_left_px),
        (&mut input.extend_right_px, own.extend_right_px),
        (&mut input.extend_top_px, own.extend_top_px),
        (&mut input.extend_bottom_px, own.extend_bottom_px),
    ] {
        *side = own.unwrap_or(*side);
    }
    Some(input)
}

/// Which part of the picture is drawn, where it is not all of it and no more.
fn area(input: &ImageInput) -> Option<serde_json::Value> {
    let borders = [
        input.extend_left_px,
        input.extend_right_px,
        input.extend_top_px,
        input.extend_bottom_px,
    ];
    let blur = input.mask_blur_px.filter(|blur| *blur > 0);
    let padding = input.only_masked_padding_px;
    let is_plain = (blur, padding, borders) == (None, None, [0; 4]);
    (!is_plain)
        .then(|| serde_json::json!({"mask_blur": blur, "only_masked": padding, "extend": borders}))
}

/// Where the line's pictures go: its own place inside `-o` where that is a folder, else instead of it.
fn place(output: Option<&Path>, own: Option<&str>) -> Option<PathBuf> {
    match (output, own) {
        (Some(folder), Some(own)) if folder.is_dir() && own != "-" => Some(folder.join(own)),
        (_, Some(own)) => Some(own.into()),
        (output, None) => output.map(Path::to_owned),
    }
}

/// What makes a line the same as that of an earlier run: everything that decides a picture and its name. Not urgency,
/// not `keep_alive`, not the folder: a batch may be made more urgent, and its pictures moved.
fn identity(
    request: &GenerateRequest,
    format: Option<&str>,
    own: &Own,
    defaults: &Defaults<'_>,
) -> String {
    let folder = fixed_folder(defaults.output);
    let pattern = defaults
        .output
        .filter(|output| !output.is_dir())
        .map(|output| output.strip_prefix(&folder).unwrap_or(output));
    let mut settings = serde_json::json!([
        "1",
        request.prompt,
        request.negative_prompt,
        request.model,
        request.width_px,
        request.height_px,
        request.num_inference_steps,
        request.guidance_scale,
        request.seed,
        request.num_images,
        request.sampler,
        request.schedule,
        request.clip_skip,
        i32::from(request.precision),
        format,
        request.jpeg_quality,
        request.omit_metadata,
        own.output,
        pattern.map(Path::to_string_lossy),
    ]);
    // What came later counts where it is there: names of earlier runs stay what they were.
    let later = [
        request
            .model_config
            .as_ref()
            .map(|config| serde_json::json!({"model_config": config})),
        Some(&request.model_parts)
            .filter(|parts| !parts.is_empty())
            .map(|parts| {
                let of = |part: &ModelPart| serde_json::json!([part.part, part.file]);
                serde_json::json!({"model_parts": parts.iter().map(of).collect::<Vec<_>>()})
            }),
        request
            .max_sequence_length
            .map(|length| serde_json::json!({"max_sequence_length": length})),
        (request.prompt_syntax != PromptSyntax::Unspecified)
            .then(|| serde_json::json!({"prompt_syntax": i32::from(request.prompt_syntax)})),
        Some(&request.loras)
            .filter(|loras| !loras.is_empty())
            .map(|loras| {
                let of = |lora: &Lora| serde_json::json!([lora.lora, lora.weight]);
                serde_json::json!({"loras": loras.iter().map(of).collect::<Vec<_>>()})
            }),
        Some(&request.controls)
            .filter(|controls| !controls.is_empty())
            .map(|controls| {
                let of = |control: &Control| {
                    serde_json::json!([
                        control.control_model,
                        sha256_hex(&control.control_image),
                        control.preprocess,
                        control.control_weight,
                        control.control_start,
                        control.control_end,
                        control.canny_low,
                        control.canny_high,
                    ])
                };
                serde_json::json!({"controls": controls.iter().map(of).collect::<Vec<_>>()})
            }),
        request
            .variation_strength
            .map(|strength| serde_json::json!({"variation": [request.variation_seed, strength]})),
        Some(&request.ref_images)
            .filter(|pictures| !pictures.is_empty())
            .map(|pictures| {
                let of = |picture: &ReferenceImage| sha256_hex(&picture.ref_image);
                serde_json::json!({"ref_images": pictures.iter().map(of).collect::<Vec<_>>()})
            }),
        request.input.as_ref().map(|input| {
            let digest = |bytes: &[u8]| sha256_hex(bytes);
            serde_json::json!({
                "init_image": digest(&input.init_image),
                "mask": digest(&input.mask),
                "strength": input.strength,
            })
        }),
        request.input.as_ref().and_then(area),
        request.hires.map(|hires| {
            serde_json::json!({"hires": [hires.hires_scale, hires.hires_strength, hires.hires_steps]})
        }),
        Some(&request.styles)
            .filter(|styles| !styles.is_empty())
            .map(|styles| serde_json::json!({"styles": styles})),
    ];
    if let Some(settings) = settings.as_array_mut() {
        settings.extend(later.into_iter().flatten());
    }
    settings.to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::verbs::batch::{jsonl_form, text_form};

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        picture: PictureArgs,
        #[command(flatten)]
        file: FileArgs,
        #[arg(short)]
        output: Option<PathBuf>,
    }

    fn made(
        flags: &str,
        lines: Vec<Result<Line, Problem>>,
        folder: &Path,
    ) -> Result<Vec<Order>, Vec<Problem>> {
        let flags = Flags::parse_from(["x"].into_iter().chain(flags.split_whitespace()));
        let output = flags
            .output
            .as_ref()
            .map_or(folder.to_owned(), |name| folder.join(name));
        let defaults = Defaults {
            picture: &flags.picture,
            file: &flags.file,
            output: Some(&output),
            overwrites: false,
            priority: Priority::Batch,
            keep_alive: None,
        };
        let ledger = Ledger::open(&fixed_folder(defaults.output)).unwrap();
        orders(
            lines.into_iter().map(Result::unwrap).collect(),
            &defaults,
            &ledger,
        )
    }

    fn ids(flags: &str, text: &str, folder: &Path) -> Vec<String> {
        let orders = made(flags, text_form::parse(text), folder).unwrap();
        orders.iter().map(|order| order.id().to_owned()).collect()
    }

    #[test]
    fn a_line_wins_over_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let orders = made(
            "--steps 5 --size 64x64 --format jpeg --jpeg-quality 80",
            text_form::parse(
                "a\nb --steps 9 --width 128\nc --output x.webp --format webp --jpeg-quality 80",
            ),
            folder.path(),
        );
        let problems = orders.unwrap_err();
        assert_eq!(
            (problems[0].number, problems[0].wrong.field),
            (3, Some("jpeg_quality"))
        );
        let orders = made(
            "--steps 5 --size 64x64",
            text_form::parse("a\nb --steps 9 --width 128"),
            folder.path(),
        )
        .unwrap();
        assert_eq!(orders[0].request.num_inference_steps, Some(5));
        let request = &orders[1].request;
        assert_eq!(
            (
                request.num_inference_steps,
                request.width_px,
                request.height_px
            ),
            (Some(9), Some(128), Some(64))
        );
        assert_eq!(request.priority, imgd_client::Priority::Batch);
    }

    #[test]
    fn names_hold_from_run_to_run_and_differ_from_line_to_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = "a\na\nb\na --seed 7\na --steps 3\na --output x.png\n";
        let first = ids("", text, folder.path());
        assert_eq!(first, ids("", text, folder.path()));
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 6);
        // Another order of the lines, other flags that say the same, another folder, another form.
        let other = tempfile::tempdir().unwrap();
        let turned = ids("", "b\n\n# x\na --steps 3\na", other.path());
        assert_eq!(
            turned,
            [first[2].clone(), first[4].clone(), first[0].clone()]
        );
        assert_eq!(ids("--steps 3", "a", folder.path()), [first[4].clone()]);
        let json = made(
            "",
            jsonl_form::parse(r#"{"seed": 7, "prompt": "a"}"#),
            folder.path(),
        )
        .unwrap();
        assert_eq!(json[0].id(), first[3]);
        // Other settings.
        assert_ne!(ids("--model xl", "b", folder.path()), [first[2].clone()]);
    }

    #[test]
    fn a_line_without_a_seed_gets_one_that_holds() {
        let folder = tempfile::tempdir().unwrap();
        let seeds = |text| {
            let orders = made("", text_form::parse(text), folder.path()).unwrap();
            orders
                .iter()
                .map(|order| order.request.seed.unwrap())
                .collect::<Vec<_>>()
        };
        let first = seeds("a\na\nb --seed 3");
        assert_eq!(first, seeds("a\na\nb --seed 3"));
        assert!(first[0] != first[1] && first[2] == 3);
        assert!(first.iter().all(|&seed| seed <= u64::from(u32::MAX)));
    }

    #[test]
    fn wrong_places_are_named_with_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("taken.png"), "mine").unwrap();
        let text = "a --output x.png\nb --output x.png\nc --output taken.png\nd --output missing/x.png\n\
                    e --output x.gif\nf --output '{sead}.png'\ng --width 12 --height 8\nh --output -";
        let problems = made("", text_form::parse(text), folder.path()).unwrap_err();
        let found: Vec<_> = problems
            .iter()
            .map(|problem| {
                (
                    problem.number,
                    problem.wrong.field.unwrap(),
                    problem.wrong.message.as_str(),
                )
            })
            .collect();
        for (i, (number, field, words)) in [
            (2, "output", "is line 1's already"),
            (3, "output", "exists already"),
            (4, "output", "there is no folder"),
            (5, "output", "does not write `.gif`"),
            (6, "output", "did you mean `{seed}`"),
            (7, "width_px", "must be a multiple of 8"),
            (8, "output", "standard output"),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!((found[i].0, found[i].1), (number, field));
            assert!(found[i].2.contains(words), "{}", found[i].2);
        }
    }

    #[test]
    fn names_that_an_earlier_run_chose_are_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let text = "a --output x.png -n 2";
        let id = ids("", text, folder.path()).remove(0);
        let picture = folder.path().join("x-1.png");
        std::fs::write(&picture, "abc").unwrap();
        assert!(made("", text_form::parse(text), folder.path()).is_err());
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.begin(&id).unwrap();
        ledger.wrote(&id, 0, &picture, 3).unwrap();
        let order = made("", text_form::parse(text), folder.path())
            .unwrap()
            .remove(0);
        assert!(!order.is_done());
        assert_eq!(order.there.keys().copied().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_is_remembered_lies_in_the_folder_of_the_output() {
        for (output, folder) in [
            ("a.png", "."),
            ("{seed}.png", "."),
            ("x/{seed}/a", "x/"),
            ("x/a", "x/"),
            ("/tmp", "/tmp"),
        ] {
            assert_eq!(
                fixed_folder(Some(Path::new(output))),
                Path::new(folder),
                "{output}"
            );
        }
        assert_eq!(fixed_folder(None), Path::new("."));
    }
}
