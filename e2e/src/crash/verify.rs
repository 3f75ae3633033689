//! What must be true after the kills.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    time::Duration,
};

use image::ImageReader;
use imgd_proto::v1::{ImageState, JobState};
use rustix::process::Signal;
use tonic::Status;

use super::{
    Plan,
    work::{Reference, Submitted},
};
use crate::{
    Daemon,
    library::{self, Library},
    line::{Line, Picture, patiently},
    processes,
};

/// What the daemon has kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Pictures that are right.
    pub(super) pictures: usize,
    /// SHA-256 of every picture's file.
    files: BTreeSet<String>,
    /// SHA-256 of every thumbnail.
    thumbnails: BTreeSet<String>,
    pub(super) violations: Vec<String>,
}

/// Asks the daemon for every job and every picture and compares.
pub(super) async fn over_the_line(
    line: &Line,
    submitted: &Submitted,
    reference: &Reference,
    plan: &Plan,
) -> Kept {
    let mut kept = Kept::default();
    let limit = Duration::from_secs(30);
    match patiently(limit, || line.list(&[])).await {
        Ok(jobs) => {
            let mut names = BTreeMap::new();
            for job in &jobs {
                let request = job.request.clone().unwrap_or_default();
                *names.entry(request.request_id).or_insert(0) += 1;
            }
            if jobs.len() != plan.jobs || names.len() != plan.jobs {
                let what = format!("{} jobs of {} names", jobs.len(), names.len());
                kept.violations
                    .push(format!("{what}, where {} were accepted", plan.jobs));
            }
        }
        Err(status) => kept.violations.push(format!("list: {status}")),
    }
    for (name, id) in &submitted.ids {
        if let Err(what) = one_job(line, name, id, reference, plan, &mut kept).await {
            kept.violations.push(format!("{name} ({id}): {what}"));
        }
    }
    kept
}

async fn one_job(
    line: &Line,
    name: &str,
    id: &str,
    reference: &Reference,
    plan: &Plan,
    kept: &mut Kept,
) -> Result<(), String> {
    let words = |status: Status| status.to_string();
    let job = line.job(id).await.map_err(words)?;
    if job.state() != JobState::Succeeded || job.images_done != plan.images {
        return Err(format!("{job:?}"));
    }
    let images = line.pictures(id).await.map_err(words)?;
    let indices: Vec<u32> = images.iter().map(|image| image.image_index).collect();
    if !indices.iter().copied().eq(0..plan.images) {
        return Err(format!("its pictures are {indices:?}"));
    }
    for image in images {
        let index = image.image_index;
        let file = line.picture(id, index, false).await.map_err(words)?;
        let thumbnail = line.picture(id, index, true).await.map_err(words)?;
        let sums = [&file.bytes, &thumbnail.bytes].map(|bytes| library::sha256(bytes));
        let right = image.state() == ImageState::Done
            && image.size_bytes == file.bytes.len() as u64
            && image
                .metadata
                .as_ref()
                .is_some_and(|it| it.sha256 == sums[0])
            && file.metadata.sha256 == sums[0];
        if !right {
            return Err(format!(
                "picture {index} is not what is said of it: {image:?}"
            ));
        }
        decodes(&file).map_err(|what| format!("picture {index}: {what}"))?;
        decodes_as_thumbnail(&thumbnail).map_err(|what| format!("thumbnail {index}: {what}"))?;
        if reference.get(&(name.to_owned(), index)) != Some(&sums) {
            return Err(format!(
                "picture {index} is not that of the undisturbed run"
            ));
        }
        kept.pictures += 1;
        let [file, thumbnail] = sums;
        kept.files.insert(file);
        kept.thumbnails.insert(thumbnail);
    }
    Ok(())
}

/// Whether every pixel of the file can be read, and they are as many as was asked for.
fn decodes(picture: &Picture) -> Result<(), String> {
    let settings = picture.metadata.settings.clone().unwrap_or_default();
    let (width, height) = size_px(&picture.bytes)?;
    if (width, height) == (settings.width_px, settings.height_px) {
        return Ok(());
    }
    Err(format!("{width}x{height} pixels, asked for {settings:?}"))
}

fn decodes_as_thumbnail(picture: &Picture) -> Result<(), String> {
    let (width, height) = size_px(&picture.bytes)?;
    if (1..=256).contains(&width) && (1..=256).contains(&height) {
        return Ok(());
    }
    Err(format!("{width}x{height} pixels"))
}

fn size_px(bytes: &[u8]) -> Result<(u32, u32), String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let pixels = reader
        .map_err(|error| error.to_string())?
        .decode()
        .map_err(|error| error.to_string())?;
    Ok((pixels.width(), pixels.height()))
}

/// Ends the daemon and looks at its folder: nothing is damaged, missing, too much or unfinished.
pub(super) fn at_rest(daemon: &mut Daemon, kept: &Kept) -> Vec<String> {
    let mut violations = Vec::new();
    processes::signal(daemon.pid(), Signal::TERM);
    let code = daemon.exit_code_within(Duration::from_secs(60));
    if code != Some(0) {
        violations.push(format!("the daemon's last end: {code:?}"));
    }
    let data = daemon.home().data();
    match library::check(&data) {
        Ok(1) => {}
        Ok(count) => violations.push(format!("{count} databases in {}", data.display())),
        Err(what) => violations.push(what),
    }
    let pictures = i64::try_from(kept.pictures).unwrap_or(i64::MAX);
    for (table, expected) in [("image", pictures), ("generation", 0)] {
        match library::rows(&data, table) {
            Ok(rows) if rows == expected => {}
            found => violations.push(format!("rows of `{table}`: {found:?}, not {expected}")),
        }
    }
    let library = match Library::read(&data) {
        Ok(library) => library,
        Err(error) => {
            violations.push(error.to_string());
            return violations;
        }
    };
    for path in library.leftovers() {
        violations.push(format!("left over: {}", path.display()));
    }
    let mut on_disk = BTreeSet::new();
    for (path, sum) in &library.blobs {
        if !kept.files.contains(sum) && !kept.thumbnails.contains(sum) {
            violations.push(format!("belongs to no picture: {}", path.display()));
        }
        if !on_disk.insert(sum.clone()) {
            violations.push(format!("is there twice: {}", path.display()));
        }
    }
    let missing = kept.files.difference(&on_disk).count();
    if missing > 0 {
        violations.push(format!("{missing} pictures have no file"));
    }
    violations
}
