//! `imgctl upscale`: makes pictures larger by a network.

mod pictures;

use std::path::{Path, PathBuf};

use clap::Args;
use imgd_client::{
    Client, Event, GenerateRequest, ImageFormat, ImageInput, JobRequest, KeepAlive,
    Upscale as Asked, v1,
};
use imgd_proto::limits::{self, validate_generate};
use serde_json::json;

use self::pictures::Picture;
use crate::{
    Context, durations,
    failure::Failure,
    jobs::{objects, place, words},
    json, numbers,
    output::{self, Format, Output, Wanted},
    picture_args::{FileArgs, Precision, Priority, model_name},
    progress::Progress,
    show, table,
};

/// The name of a picture where none is given; the prompt's place has the old one's name.
const DEFAULT_NAME: &str = "{prompt}-{model}";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl upscale photo.png -m 4x-UltraSharp
  imgctl upscale photo.png -m 4x-UltraSharp --scale 2 -o larger.png
  imgctl upscale drawings/*.png -m RealESRGAN_x4plus_anime_6B -o larger/
  imgctl upscale --list

An upscaler is a safetensors file of an ESRGAN, Real-ESRGAN or Compact network; its name is that of a file in the daemon's folder
of upscalers, ~/.local/share/imgd/upscalers if nothing else is set (`upscaler_dir`). A picture has at most 16 MiB; what is made of it has
at most 16,384 pixels on a side and 67 million in all.")]
pub(crate) struct Upscale {
    /// Pictures to enlarge: PNG, JPEG or WebP files
    #[arg(value_name = "PICTURE", required_unless_present = "list")]
    pictures: Vec<PathBuf>,
    /// Upscaler: a name that `--list` lists, or the path of its file [default: the only one there is]
    #[arg(long, short, value_name = "NAME|PATH")]
    model: Option<String>,
    /// How much longer each side becomes, 0.25 to 16; what the network makes is brought to it by Lanczos' filter [default: as the network makes it]
    #[arg(long, value_name = "N", value_parser = numbers::number(&limits::UPSCALE_SCALE), allow_hyphen_values = true)]
    scale: Option<f64>,
    /// List the upscalers that have a name
    #[arg(long, conflicts_with_all = ["pictures", "model", "scale", "output", "detach"])]
    list: bool,
    /// Number format of the computation
    #[arg(
        long,
        value_enum,
        default_value_t = Precision::Auto,
        hide_possible_values = true,
        value_name = "auto|f32|bf16"
    )]
    precision: Precision,
    /// File, folder, `-` for standard output, or a name with {prompt} (the old name), {model} {width} {height} [default: {prompt}-{model}.png]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
    /// Overwrite a file of the same name, instead of refusing -o FILE or numbering other names
    #[arg(long)]
    force: bool,
    /// Show each picture in the terminal
    #[arg(long)]
    show: bool,
    /// Keep the upscaler in memory afterwards: 5m, 300 (seconds), 0 unloads at once, -1 never [default: the daemon's]
    #[arg(long, value_name = "TIME", value_parser = durations::keep_alive, allow_hyphen_values = true)]
    keep_alive: Option<KeepAlive>,
    /// How urgent it is
    #[arg(long, value_enum, default_value_t = Priority::Interactive, hide_possible_values = true, value_name = "interactive|batch|background")]
    priority: Priority,
    /// Print the jobs' ids and leave: they are finished without you, and kept for `imgctl attach` and `imgctl get`
    #[arg(long, short, conflicts_with_all = ["private", "output", "force", "show"])]
    detach: bool,
    /// Keep nothing: no picture reaches the daemon's disk, and no list shows the request
    #[arg(long)]
    private: bool,
    /// What `prepare` has read.
    #[arg(skip)]
    read: Vec<Picture>,
    /// Where the pictures go, once `prepare` has found out.
    #[arg(skip)]
    place: Option<Output>,
}

impl Upscale {
    /// Reads the pictures, and checks the request and the place of the output: nothing is enlarged in vain.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        if self.list {
            return Ok(());
        }
        self.read = pictures::read(&self.pictures)?;
        let mut format = self.file.format.unwrap_or(Format::Png).into();
        if !self.detach {
            if let Some(path) = self.output.as_deref().filter(|_| self.read.len() > 1) {
                check_for_several(path)?;
            }
            let wanted = Wanted {
                path: self.output.as_deref(),
                format: self.file.format,
                overwrites: self.force,
                num_images: 1,
                prompt: "",
            };
            let output = Output::plan_as(wanted, DEFAULT_NAME)?;
            format = output.format;
            self.place = Some(output);
        }
        for picture in &self.read {
            validate_generate(&v1::GenerateRequest::from(self.request(picture, format)))?;
        }
        Ok(())
    }

    /// What Ctrl-C means.
    pub(super) fn interrupted(&self) -> Failure {
        if self.detach {
            let what = "some jobs may have been submitted";
            Failure::interrupted(what).hint("`imgctl jobs` lists them then")
        } else {
            Failure::interrupted("the work was cancelled")
        }
    }

    /// Enlarges, or has it done.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(output) = &self.place {
            place::check_stdout(output, context)?;
        }
        let client = Client::connect(context.connect.clone()).await?;
        if self.list {
            return list(&client, context).await;
        }
        for picture in &self.read {
            let done = match &self.place {
                None => self.submit(&client, picture, context).await,
                Some(output) => self.follow(&client, picture, output, context).await,
            };
            done.map_err(|mut failure| {
                if self.read.len() > 1 && !failure.is_note {
                    failure.message = format!("`{}`: {}", picture.path.display(), failure.message);
                }
                failure
            })?;
        }
        Ok(())
    }

    /// Leaves the work to the daemon.
    async fn submit(
        &self,
        client: &Client,
        picture: &Picture,
        context: &Context,
    ) -> Result<(), Failure> {
        let format = self.file.format.unwrap_or(Format::Png).into();
        let submitted = client
            .submit(JobRequest {
                generate: self.request(picture, format),
                ..JobRequest::default()
            })
            .await?;
        if context.json {
            let object = objects::job(&submitted.job);
            return context.terminal.line(&object.to_string());
        }
        context.terminal.line(&submitted.job.id)?;
        if !context.quiet {
            let id = words::short_id(&submitted.job.id);
            let text =
                format!("`imgctl attach {id}` follows it, `imgctl get {id}` writes its picture");
            context.terminal.note(&text);
        }
        Ok(())
    }

    async fn follow(
        &self,
        client: &Client,
        picture: &Picture,
        output: &Output,
        context: &Context,
    ) -> Result<(), Failure> {
        let terminal = context.terminal;
        let mut generation = client
            .generate(self.request(picture, output.format))
            .await?;
        let is_drawn = terminal.draws_progress() && !context.quiet && !context.json;
        let mut progress = Progress::new(is_drawn);
        while let Some(event) = generation.next().await {
            let event = event?;
            if context.json
                && let Some(object) = json::event(&event, generation.job_id())
            {
                terminal.line(&object.to_string())?;
            }
            progress.follow(&event);
            match &event {
                Event::Image(image) => {
                    let path = progress.suspend(|| output.write_as(&picture.name(), image))?;
                    if context.json {
                        let object = json::image(image, path.as_deref(), generation.job_id());
                        terminal.line(&object.to_string())?;
                        continue;
                    }
                    progress.suspend(|| {
                        if self.show && !output.is_stdout() {
                            show::picture(&terminal, &image.bytes)?;
                        }
                        path.map_or(Ok(()), |path| terminal.line(&path.display().to_string()))
                    })?;
                }
                Event::Notice { message, .. } if !context.quiet => {
                    progress.suspend(|| terminal.notice(message));
                }
                Event::Finished(timings) if !context.json && !context.quiet => {
                    progress.clear();
                    let engine = durations::short(timings.engine());
                    terminal.note(&format!("enlarged in {engine}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn request(&self, picture: &Picture, format: ImageFormat) -> GenerateRequest {
        let mut request = GenerateRequest {
            input: Some(ImageInput {
                init_image: picture.file.bytes.clone().into(),
                ..ImageInput::default()
            }),
            upscale: Some(Asked {
                upscaler: self.model.as_deref().map(model_name).unwrap_or_default(),
                upscale_scale: self.scale,
            }),
            precision: self.precision.into(),
            priority: self.priority.into(),
            keep_alive: self.keep_alive,
            private: self.private.then_some(true),
            ..GenerateRequest::default()
        };
        self.file.fill(&mut request, format);
        request
    }
}

/// Fails where several pictures would have one name.
fn check_for_several(path: &Path) -> Result<(), Failure> {
    let several = "there are several pictures";
    if path == Path::new("-") {
        let message = format!("{several}, and only one can go to standard output");
        return Err(Failure::usage(message));
    }
    if output::is_fixed_name(path) {
        let message = format!("{several}, and -o names one file");
        return Err(Failure::usage(message)
            .hint("name a folder, or a pattern as in -o '{prompt}-large.png'"));
    }
    Ok(())
}

async fn list(client: &Client, context: &Context) -> Result<(), Failure> {
    let upscalers = client.upscalers().await?;
    if context.json {
        for upscaler in &upscalers {
            let fields = json!({
                "name": upscaler.name,
                "path": upscaler.path,
                "is_loaded": upscaler.is_loaded,
            });
            let object = json::object("upscaler", fields);
            context.terminal.line(&object.to_string())?;
        }
        return Ok(());
    }
    let mut rows = vec![["NAME", "STATE", "PATH"].map(str::to_owned).to_vec()];
    let is_empty = upscalers.is_empty();
    rows.extend(upscalers.into_iter().map(|upscaler| {
        let state = if upscaler.is_loaded { "loaded" } else { "" };
        vec![upscaler.name, state.to_owned(), upscaler.path]
    }));
    context.terminal.line(&table::lines(&rows).join("\n"))?;
    if is_empty && !context.quiet {
        let text = "there are none: put safetensors files of upscalers into the daemon's folder, `upscaler_dir`";
        context.terminal.note(text);
    }
    Ok(())
}
