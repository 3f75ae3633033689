//! Where pictures go: decided and checked before the work begins, so that none is drawn in vain.
//!
//! Without `-o` a picture is `<prompt>-<seed>.png` in the current folder, a variation `<prompt>-<seed>-<its seed>.png`. `-o` names a folder, a file, a template
//! with `{…}` placeholders, a device such as `/dev/null`, or `-` for standard output. Nothing is ever overwritten
//! without `--force`: a default or template name that is taken gets `-2`, `-3`…, a named file is refused.

mod format;
mod template;
mod write;

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use imgd_client::{GenerateRequest, Image, ImageFormat, v1::ImageMetadata};
use rustix::fs::statvfs;

pub(crate) use self::format::Format;
use self::{
    format::Name,
    template::{Template, Values},
    write::Taken,
};
use crate::failure::Failure;

/// The name of a picture when none is given.
const DEFAULT_NAME: &str = "{prompt}-{seed}";

/// Where the pictures of one request go.
#[derive(Debug)]
pub(crate) struct Output {
    /// File format of the pictures.
    pub(crate) format: ImageFormat,
    target: Target,
    prompt: String,
    /// What was written: with `--force` pictures of before are overwritten, and none of this time.
    written: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Debug)]
enum Target {
    /// Standard output.
    Stdout,
    /// A character device or a pipe, written as it is.
    Device(PathBuf),
    /// A file name with placeholders, and what to do when the name is taken.
    Named { template: Template, taken: Taken },
}

/// What the command line says about the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// `-o`.
    pub(crate) path: Option<&'a Path>,
    /// `--format`.
    pub(crate) format: Option<Format>,
    /// `--force`.
    pub(crate) overwrites: bool,
    /// Number of pictures.
    pub(crate) num_images: u32,
    /// The prompt, for names.
    pub(crate) prompt: &'a str,
}

impl Output {
    /// Decides the target and checks what can be known now: exit status 2 for a wrong name, 73 for one that cannot
    /// be written.
    pub(crate) fn plan(wanted: Wanted<'_>) -> Result<Self, Failure> {
        Self::plan_as(wanted, DEFAULT_NAME)
    }

    /// The same with `default_name`, a template, where `-o` names no file.
    pub(crate) fn plan_as(wanted: Wanted<'_>, default_name: &str) -> Result<Self, Failure> {
        let (target, format) = match wanted.path {
            None => (in_folder("", wanted, default_name)?, wanted.format),
            Some(path) if path == Path::new("-") => {
                if wanted.num_images > 1 {
                    let message = "only one picture can go to standard output";
                    return Err(Failure::usage(message).field("num_images"));
                }
                (Target::Stdout, wanted.format)
            }
            Some(path) => named(path, wanted, default_name)?,
        };
        let format = format.unwrap_or(Format::Png);
        Ok(Self {
            format: format.into(),
            target,
            prompt: wanted.prompt.to_owned(),
            written: Mutex::default(),
        })
    }

    /// Whether pictures take standard output for themselves.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self.target, Target::Stdout)
    }

    /// Writes a picture; returns its path, none for standard output.
    ///
    /// Where it cannot be written it is put into the folder for temporary files, and the failure says so.
    pub(crate) fn write(&self, image: &Image) -> Result<Option<PathBuf>, Failure> {
        self.write_as(&self.prompt, image)
    }

    /// Writes a picture that has a prompt of its own, as [`Output::write`] does.
    pub(crate) fn write_as(&self, prompt: &str, image: &Image) -> Result<Option<PathBuf>, Failure> {
        let (template, taken) = match &self.target {
            Target::Stdout => {
                return write::stdout(&image.bytes)
                    .map(|()| None)
                    .map_err(|error| Failure::stdout(&error));
            }
            Target::Device(path) => {
                return write::device(path, &image.bytes)
                    .map(|()| Some(path.clone()))
                    .map_err(|error| cannot_write(path, &error));
            }
            Target::Named { template, taken } => (template, *taken),
        };
        let path = template.path(&Values::new(prompt, image.index, &image.settings));
        let is_ours = |written: &BTreeSet<PathBuf>| written.contains(&path);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match taken {
            Taken::Replace if is_ours(&written) => Taken::Number,
            taken => taken,
        };
        write::file(&path, &image.bytes, taken)
            .inspect(|path| {
                written.insert(path.clone());
            })
            .map(Some)
            .map_err(|error| {
                let failure = cannot_write(&path, &error);
                match rescue(&path, &image.bytes) {
                    Ok(rescued) => {
                        failure.hint(format!("the picture is in `{}`", rescued.display()))
                    }
                    Err(_) => failure.hint("the picture is lost; draw it again with the same seed"),
                }
            })
    }
}

impl Output {
    /// The file of picture `index` where it is there already, whole and the same, under its name or a numbered one.
    pub(crate) fn existing(
        &self,
        prompt: &str,
        index: u32,
        metadata: &ImageMetadata,
    ) -> Option<PathBuf> {
        let Target::Named { template, .. } = &self.target else {
            return None;
        };
        let settings = metadata.settings.as_ref()?;
        let path = template.path(&Values::new(prompt, index, settings));
        write::same(&path, &metadata.sha256)
    }

    /// Where picture `index` goes, as far as it is known before it is made; a placeholder stands for itself where it is
    /// not, and a name that is taken gets a number yet. None for standard output.
    pub(crate) fn expected(&self, request: &GenerateRequest, index: u32) -> Option<PathBuf> {
        match &self.target {
            Target::Stdout => None,
            Target::Device(path) => Some(path.clone()),
            Target::Named { template, .. } => {
                Some(template.path(&Values::expected(request, index)))
            }
        }
    }
}

/// Writes a file that is no picture of a request; one that is there is refused or replaced.
pub(crate) fn file(path: &Path, bytes: &[u8], overwrites: bool) -> Result<PathBuf, Failure> {
    let taken = if overwrites {
        Taken::Replace
    } else {
        Taken::Refuse
    };
    write::file(path, bytes, taken).map_err(|error| cannot_write(path, &error))
}

/// The folder of `-o`, as far as it has no placeholder; `.` without one.
pub(crate) fn fixed_folder(output: Option<&Path>) -> PathBuf {
    let text = output.unwrap_or(Path::new("")).to_string_lossy();
    if Path::new(&*text).is_dir() {
        return text.into_owned().into();
    }
    let fixed = &text[..text.find('{').unwrap_or(text.len())];
    match fixed.rfind('/') {
        Some(slash) => fixed[..=slash].into(),
        None => ".".into(),
    }
}

/// Whether `-o PATH` names one file, not a folder and no pattern.
pub(crate) fn is_fixed_name(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_folder = path.is_dir() || text.ends_with('/');
    !is_folder && Template::parse(&text).is_ok_and(|template| !template.has_placeholders())
}

/// The default name in `folder`, which is empty or ends in `/`.
fn in_folder(folder: &str, wanted: Wanted<'_>, default_name: &str) -> Result<Target, Failure> {
    check_folder(Path::new(folder), Path::new(folder))?;
    let mut template = Template::parse(&format!("{}{default_name}", template::escape(folder)))?;
    template.push_variation();
    template.push_extension(wanted.format.unwrap_or(Format::Png).extension());
    let taken = if wanted.overwrites {
        Taken::Replace
    } else {
        Taken::Number
    };
    Ok(Target::Named { template, taken })
}

/// The target that `-o` names, and the format that its extension names.
fn named(
    path: &Path,
    wanted: Wanted<'_>,
    default_name: &str,
) -> Result<(Target, Option<Format>), Failure> {
    let text = path
        .to_str()
        .ok_or_else(|| Failure::usage("the path after -o is not UTF-8"))?;
    if text.is_empty() {
        return Err(Failure::usage("the path after -o is empty"));
    }
    if path.is_dir() || text.ends_with('/') {
        let folder = format!("{}/", text.trim_end_matches('/'));
        return Ok((in_folder(&folder, wanted, default_name)?, wanted.format));
    }
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok((Target::Device(path.to_owned()), wanted.format));
    }
    let Name {
        stem,
        extension,
        format,
    } = format::split(text, wanted.format)?;
    let mut template = Template::parse(stem)?;
    let is_template = template.has_placeholders();
    if !is_template && wanted.num_images > 1 {
        template.push_index();
    }
    let taken = match (wanted.overwrites, is_template) {
        (true, _) => Taken::Replace,
        (false, true) => Taken::Number,
        (false, false) => Taken::Refuse,
    };
    template.push_extension(extension);
    if taken == Taken::Refuse {
        for index in 0..wanted.num_images {
            check_free(&template.path(&Values::of_index(index)))?;
        }
    }
    // The folder of a template that has placeholders in it is known later.
    if let Some(folder) = template.fixed_folder() {
        check_folder(&folder, path)?;
    }
    Ok((Target::Named { template, taken }, Some(format)))
}

fn check_free(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(
            Failure::cannot_create(format!("`{}` exists already", path.display()))
                .hint("choose another name, or overwrite it with --force"),
        ),
        Err(_) => Ok(()),
    }
}

/// Fails unless files can be made in `folder` (empty: the current one) and its disk has room; the failure names
/// `path`.
fn check_folder(folder: &Path, path: &Path) -> Result<(), Failure> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(cannot_write(path, &io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder.display();
            return Err(Failure::cannot_create(format!(
                "cannot write `{}`: there is no folder `{folder}`",
                path.display()
            ))
            .hint(format!("make it with `mkdir -p '{folder}'`")));
        }
        Err(error) => return Err(cannot_write(path, &error)),
    }
    // A file without a name: what permissions alone do not say (read-only disks, quotas) shows.
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Err(cannot_write(path, &error.kind().into()));
    }
    if statvfs(folder).is_ok_and(|disk| disk.f_bavail == 0 && disk.f_blocks > 0) {
        return Err(cannot_write(path, &io::ErrorKind::StorageFull.into()));
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let path = if path.as_os_str().is_empty() {
        "the current folder".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    let why = match error.kind() {
        io::ErrorKind::StorageFull => "no space left on its disk".to_owned(),
        // `permission denied`, `not a directory`: without the number.
        kind if kind != io::ErrorKind::Other => kind.to_string(),
        _ => error.to_string(),
    };
    Failure::cannot_create(format!("cannot write {path}: {why}"))
}

/// Saves a picture whose place failed under its own name in a new folder for temporary files.
fn rescue(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("imgctl-")
        .tempdir_in(env::temp_dir())?;
    let name = path.file_name().unwrap_or("picture".as_ref());
    let rescued = write::file(&folder.path().join(name), bytes, Taken::Number)?;
    // From here on the folder stays.
    drop(folder.keep());
    Ok(rescued)
}

#[cfg(test)]
mod tests;
