//! `imgctl replay`: makes a picture again from what its file says, and compares.

mod a1111;
mod compare;
mod embedded;
mod exif;
mod quality;
mod recipe;

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use imgd_client::{Client, Event, GenerateRequest, Image, Reason, sha256_hex, v1};
use imgd_proto::limits::validate_generate;
use serde_json::{Map, Value, json};

use self::{
    compare::{Outcome, Setting},
    recipe::Recipe,
};
use crate::{
    Context,
    failure::{Failure, exit},
    json,
    output::{Format, Output, Wanted},
    picture_args::model_name,
    progress::Progress,
    table,
};

/// A larger file is no picture of imgd's: 4,096 x 4,096 pixels of three bytes fit.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 0 when the picture is the same (its bytes, or its pixels at least), with 1 when it is not.

Examples:
  imgctl replay a-red-apple-7.png
  imgctl replay old.jpg -o new.jpg --model ~/models/sdxl"
)]
pub(crate) struct Replay {
    /// A PNG, JPEG or WebP file that imgd wrote, or one with settings in A1111's form
    #[arg(value_name = "PICTURE")]
    picture: PathBuf,
    /// Model to make it with, where the picture's name of it is not known here
    #[arg(long, short, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Keep the new picture: a file, or a folder
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Overwrite a file of that name
    #[arg(long, requires = "output")]
    force: bool,
    /// What the file says, once `prepare` has read it.
    #[arg(skip)]
    prepared: Option<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    bytes: Vec<u8>,
    recipe: Recipe,
    output: Option<Output>,
}

impl Replay {
    /// Reads the picture and what it says.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        let shown = self.picture.display();
        let bytes = read(&self.picture)?;
        let Some(format) = format(&bytes) else {
            return Err(Failure::usage(format!(
                "`{shown}` is no PNG, JPEG or WebP picture"
            )));
        };
        let mut recipe = recipe::recipe(&embedded::read(&bytes)).map_err(|why| {
            Failure::usage(format!("`{shown}` cannot be made again: {why}"))
                .hint("pictures of `--no-metadata`, and those that passed through another program, say nothing")
        })?;
        let request = &mut recipe.request;
        request.format = format.into();
        if format == Format::Jpeg {
            let quality = quality::of_jpeg(&bytes);
            if !quality.is_some_and(|quality| quality.is_exact) {
                let guess = "its JPEG tables are not imgd's: another program has written the file";
                recipe.guesses.push(guess.into());
            }
            request.jpeg_quality = quality.map(|quality| quality.percent);
        }
        if let Some(model) = &self.model {
            request.model = Some(model_name(model));
        }
        // Choices were made and styles applied when it was drawn.
        request.prompts_are_final = true;
        // Nobody needs a second copy in the daemon's library.
        request.private = Some(true);
        validate_generate(&v1::GenerateRequest::from(request.clone())).map_err(|error| {
            Failure::usage(format!(
                "`{shown}` says what cannot be made: {}",
                error.message
            ))
        })?;
        let wanted = self.output.as_deref().map(|path| Wanted {
            path: Some(path),
            format: Some(format),
            overwrites: self.force,
            num_images: 1,
            prompt: &recipe.request.prompt,
        });
        let output = wanted.map(Output::plan).transpose()?;
        self.prepared = Some(Prepared {
            bytes,
            recipe,
            output,
        });
        Ok(())
    }

    /// Makes it again and compares.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(Prepared {
            bytes,
            recipe,
            output,
        }) = self.prepared
        else {
            unreachable!("`prepare` ran before")
        };
        if !context.quiet && !context.json {
            for guess in &recipe.guesses {
                context.terminal.notice(guess);
            }
        }
        let image = draw(context, recipe.request.clone())
            .await
            .map_err(|failure| {
                let is_model = failure.reason == Reason::ModelNotFound.as_str();
                match &recipe.request.model {
                    Some(model) if is_model => Failure {
                        message: format!(
                            "the picture was made with model `{model}`: {}",
                            failure.message
                        ),
                        hint: Some("say where that model is here with --model".into()),
                        ..failure
                    },
                    _ => failure,
                }
            })?;
        let kept = match &output {
            Some(output) => output.write(&image)?,
            None => None,
        };
        let found =
            compare::files(&bytes, &image.bytes).map_err(|why| Failure::new(exit::FAILED, why))?;
        let setting = setting(&recipe, &image);
        Report {
            context,
            picture: &self.picture,
            found,
            setting,
            kept: kept.as_deref(),
            guesses: &recipe.guesses,
            image: &image,
        }
        .tell()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read the picture `{}`: {why}",
            path.display()
        ))
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(&"it is larger than 64 MiB"));
    }
    Ok(bytes)
}

fn format(bytes: &[u8]) -> Option<Format> {
    match image::guess_format(bytes).ok()? {
        image::ImageFormat::Png => Some(Format::Png),
        image::ImageFormat::Jpeg => Some(Format::Jpeg),
        image::ImageFormat::WebP => Some(Format::Webp),
        _ => None,
    }
}

async fn draw(context: &Context, request: GenerateRequest) -> Result<Image, Failure> {
    let client = Client::connect(context.connect.clone()).await?;
    let mut generation = client.generate(request).await?;
    let draws = context.terminal.draws_progress() && !context.quiet && !context.json;
    let mut progress = Progress::new(draws);
    let mut image = None;
    while let Some(event) = generation.next().await {
        let event = event?;
        progress.follow(&event);
        if let Event::Image(finished) = event {
            image = Some(finished);
        }
    }
    image.ok_or_else(|| Failure::new(exit::FAILED, "imgd made no picture"))
}

/// The first setting that was something else: by the records, else by what the daemon says.
fn setting(recipe: &Recipe, image: &Image) -> Option<Setting> {
    let now = embedded::read(&image.bytes).record;
    let now: Map<String, Value> = now
        .and_then(|record| serde_json::from_str(&record).ok())
        .unwrap_or_default();
    if !recipe.record.is_empty() {
        return compare::records(&recipe.record, &now);
    }
    // Other programs take another hash, of which ten digits are told.
    let was = recipe.model_hash.as_deref().filter(|was| !was.is_empty())?;
    (!image.model_hash.starts_with(was)).then(|| Setting {
        name: "model_hash".into(),
        was: json!(was),
        is: json!(image.model_hash.get(..was.len())),
    })
}

struct Report<'a> {
    context: &'a Context,
    picture: &'a Path,
    found: Outcome,
    setting: Option<Setting>,
    kept: Option<&'a Path>,
    guesses: &'a [String],
    image: &'a Image,
}

impl Report<'_> {
    fn tell(&self) -> Result<(), Failure> {
        let terminal = self.context.terminal;
        if self.context.json {
            terminal.line(&self.json().to_string())?;
        } else {
            terminal.line(&self.lines().join("\n"))?;
        }
        if matches!(self.found, Outcome::Identical | Outcome::SamePixels) {
            return Ok(());
        }
        let failure = Failure::new(
            exit::FAILED,
            format!("`{}` was not made again as it was", self.picture.display()),
        );
        let failure = Failure {
            reason: "NOT_IDENTICAL".into(),
            ..failure
        };
        Err(
            match self.setting.as_ref().map(|setting| setting.name.as_str()) {
                Some("model_hash") => {
                    failure.hint("the model's weights are not those it was made with")
                }
                Some("numerics") => failure
                    .hint("imgd computes otherwise since: its version then makes the same picture"),
                None if self.guesses.is_empty() => failure
                    .hint("the settings are the same: another kind of processor may have made it"),
                _ => failure,
            },
        )
    }

    fn lines(&self) -> Vec<String> {
        let picture = self.picture.display();
        let setting = self.setting.as_ref().map(Setting::sentence);
        let mut lines = match &self.found {
            Outcome::Identical => {
                let size = table::size(self.image.bytes.len() as u64);
                let sha256 = sha256_hex(&self.image.bytes);
                vec![format!("identical: {picture}, {size}, sha256 {sha256}")]
            }
            Outcome::SamePixels => {
                let why = setting.unwrap_or_else(|| "another program has written it".into());
                vec![format!("same pixels, other file: {picture}: {why}")]
            }
            Outcome::Size { was, is } => {
                let mut lines = vec![format!(
                    "different: {picture} has {}x{} pixels, the new one {}x{}",
                    was.0, was.1, is.0, is.1
                )];
                lines.extend(setting);
                lines
            }
            Outcome::Pixels(pixels) => {
                let [first, all] = pixels.sentences();
                match setting {
                    Some(setting) => vec![format!("different: {picture}: {setting}"), first, all],
                    None => vec![format!("different: {picture}: {first}"), all],
                }
            }
        };
        if let Some(kept) = self.kept {
            lines.push(format!("the new picture is {}", kept.display()));
        }
        lines
    }

    fn json(&self) -> Value {
        let (outcome, pixels) = match &self.found {
            Outcome::Identical => ("identical", None),
            Outcome::SamePixels => ("same_pixels", None),
            Outcome::Size { .. } => ("different", None),
            Outcome::Pixels(pixels) => ("different", Some(pixels.json())),
        };
        let size = match &self.found {
            Outcome::Size { was, is } => Some(json!({ "was": [was.0, was.1], "is": [is.0, is.1] })),
            _ => None,
        };
        let fields = json!({
            "picture": self.picture.to_string_lossy(),
            "outcome": outcome,
            "setting": self.setting.as_ref().map(Setting::json),
            "size_px": size,
            "pixels": pixels,
            "guesses": self.guesses,
            "path": self.kept.map(|path| path.to_string_lossy()),
            "sha256": sha256_hex(&self.image.bytes),
        });
        json::object("replay", fields)
    }
}
