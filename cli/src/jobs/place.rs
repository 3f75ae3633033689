//! Where a job's pictures go: as `imgctl generate` would write them, and none twice.

use std::path::{Path, PathBuf};

use clap::Args;
use imgd_client::{
    Image,
    v1::{ImageMetadata, Job, JobImage},
};

use super::{objects, words};
use crate::{
    Context,
    failure::Failure,
    output::{Format, Output, Wanted},
    show,
    terminal::Terminal,
};

/// Flags for where pictures go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct PlaceArgs {
    /// File, folder, `-` for standard output, or a name with {prompt} {seed} {index} {model} {sampler} {steps} {width} {height} {variation_seed} [default: {prompt}-{seed}.png]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Overwrite a file of the same name, instead of refusing -o FILE or numbering other names
    #[arg(long)]
    force: bool,
    /// Show each picture in the terminal
    #[arg(long)]
    show: bool,
}

/// The place of one job's pictures.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    context: &'a Context,
    output: Output,
    shows: bool,
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It was written.
    Written,
    /// The same file was there already.
    Existed,
}

impl<'a> Place<'a> {
    /// Decides the place of `count` pictures of `job`, and checks what can be known now.
    pub(crate) fn plan(
        context: &'a Context,
        arguments: &PlaceArgs,
        job: &Job,
        count: u32,
    ) -> Result<Self, Failure> {
        let format = job
            .request
            .as_ref()
            .map_or(Format::Png, |request| request.format().into());
        let path = arguments.output.as_deref();
        if let Some((path, other)) = path.and_then(|path| Some((path, Format::of_path(path)?)))
            && other != format
        {
            let message = format!(
                "`{}` is no name for this job's pictures: they are {} files",
                path.display(),
                format.extension()
            );
            return Err(Failure::usage(message).field("output"));
        }
        let output = Output::plan(Wanted {
            path,
            format: Some(format),
            overwrites: arguments.force,
            num_images: count,
            prompt: words::prompt(job, 0),
        })?;
        check_stdout(&output, context)?;
        Ok(Self {
            context,
            shows: arguments.show && !context.json && !output.is_stdout(),
            output,
        })
    }

    /// The file of a finished picture, where it is there already.
    pub(crate) fn existing(
        &self,
        job: &Job,
        image: &JobImage,
        metadata: &ImageMetadata,
    ) -> Option<PathBuf> {
        let prompt = words::prompt(job, image.image_index);
        self.output.existing(prompt, image.image_index, metadata)
    }

    /// Whether a picture has to be fetched whose file is, or is not, there.
    pub(crate) fn needs(&self, existing: Option<&PathBuf>) -> bool {
        self.shows || existing.is_none()
    }

    /// Writes what was fetched of a picture, unless its file is there; prints its path.
    pub(crate) fn put(
        &self,
        job: &Job,
        image: &JobImage,
        metadata: &ImageMetadata,
        existing: Option<PathBuf>,
        fetched: Option<&Image>,
    ) -> Result<Done, Failure> {
        let (path, done) = match (existing, fetched) {
            (None, Some(fetched)) => {
                let prompt = words::prompt(job, image.image_index);
                (self.output.write_as(prompt, fetched)?, Done::Written)
            }
            (existing, _) => (existing, Done::Existed),
        };
        if let Some(fetched) = fetched.filter(|_| self.shows) {
            show::picture(&self.context.terminal, &fetched.bytes)?;
        }
        self.say(job, image, metadata, path.as_deref(), done)?;
        Ok(done)
    }

    fn say(
        &self,
        job: &Job,
        image: &JobImage,
        metadata: &ImageMetadata,
        path: Option<&Path>,
        done: Done,
    ) -> Result<(), Failure> {
        let terminal = self.context.terminal;
        if self.context.json {
            let existed = done == Done::Existed;
            let object = objects::file(&job.id, image, metadata, path, existed);
            return terminal.line(&object.to_string());
        }
        match path {
            Some(path) => terminal.line(&path.display().to_string()),
            None => Ok(()),
        }
    }
}

/// Fails where pictures would get in the way of what else goes to standard output.
pub(crate) fn check_stdout(output: &Output, context: &Context) -> Result<(), Failure> {
    if output.is_stdout() && context.json {
        return Err(Failure::usage("-o - and --json both want standard output"));
    }
    if output.is_stdout() && context.terminal.stdout_is_terminal() {
        return Err(Failure::usage(
            "standard output is a terminal, which cannot take a picture's bytes",
        )
        .hint("send it on with `| program` or `> file`, or see the picture with --show"));
    }
    Ok(())
}

/// Tells how many pictures were written and how many were there.
pub(crate) fn sum_up(terminal: Terminal, done: &[Done]) {
    let existed = done.iter().filter(|&&done| done == Done::Existed).count();
    let written = done.len() - existed;
    let pictures = |count: usize| match count {
        1 => "1 picture".to_owned(),
        count => format!("{count} pictures"),
    };
    match (written, existed) {
        (0, 0) => {}
        (_, 0) => terminal.note(&format!("{} written", pictures(written))),
        (0, _) => terminal.note(&format!("{} there already", pictures(existed))),
        _ => terminal.note(&format!(
            "{} written, {existed} there already",
            pictures(written)
        )),
    }
}
