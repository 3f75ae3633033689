//! A pull as a whole: what is to be taken, whether there is room, the files side by side, and at the end the shelf.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use imgd_models::{HubCache, Source};

use super::{
    Access, Chosen, RemoteFile, Variant, api, choice,
    client::Hub,
    fetch::{Fetching, is_whole},
    meter::Meter,
    part::Part,
    shelve,
    trouble::{Trouble, backoff, failed},
};
use crate::{failure::Failure, table};

/// Room that is left on the disk besides, in bytes.
const ROOM_TO_SPARE: u64 = 64 << 20;

/// Largest `model_index.json`, in bytes.
const MAX_INDEX: u64 = 1 << 20;

/// What is to be pulled, and how.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) access: Access,
    pub(crate) cache: HubCache,
    pub(crate) source: Source,
    /// Take the newest commit, whatever is pinned.
    pub(crate) update: bool,
    /// Take every file.
    pub(crate) all: bool,
    pub(crate) variant: Variant,
    /// Files at once.
    pub(crate) parallel: usize,
    /// How long a host may say nothing.
    pub(crate) silence: Duration,
    /// Attempts in a row that may bring nothing.
    pub(crate) retries: u32,
}

/// What a pull takes: files of one commit.
pub(crate) struct Plan {
    hub: Hub,
    /// The branch or tag that was followed; the commit where none was.
    revision: String,
    /// The commit.
    pub(crate) commit: String,
    /// The files.
    pub(crate) chosen: Chosen,
}

impl Plan {
    /// Bytes of all files, those with the same contents once.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.blobs().values().map(|file| file.size).sum()
    }

    /// Bytes of a file that are there: all, or a part.
    pub(crate) fn bytes_there(&self, order: &Order, file: &RemoteFile) -> u64 {
        let blobs = order.cache.blobs(&order.source.repo);
        if is_whole(&blobs, file) {
            return file.size;
        }
        let part = fs::metadata(Part::path(&blobs, &file.blob));
        part.map_or(0, |part| part.len()).min(file.size)
    }

    /// Bytes that have to come.
    pub(crate) fn missing_bytes(&self, order: &Order) -> u64 {
        let missing = |file: &&RemoteFile| file.size - self.bytes_there(order, file);
        self.blobs().values().map(missing).sum()
    }

    /// One file for each of the contents.
    fn blobs(&self) -> BTreeMap<&str, &RemoteFile> {
        let files = self.chosen.files.iter();
        files.map(|file| (file.blob.as_str(), file)).collect()
    }
}

/// Asks the hub what there is, and chooses. Nothing is written.
pub(crate) fn plan(order: &Order, note: &dyn Fn(&str)) -> Result<Plan, Failure> {
    let hub = Hub::new(&order.access, order.silence)?;
    let repo = &order.source.repo;
    let pinned = || (!order.update).then(|| order.cache.commit_of(&order.source));
    let revision = match &order.source.revision {
        Some(revision) => revision.clone(),
        None => pinned().flatten().unwrap_or_else(|| "main".to_owned()),
    };
    let again = |what: &str, ask: &mut dyn FnMut() -> Result<(), Trouble>| {
        patiently(order.retries, what, note, ask)
    };
    let (mut commit, mut files) = (String::new(), Vec::new());
    again("the revision", &mut || {
        commit = api::commit(&hub, repo, &revision)?;
        Ok(())
    })?;
    again("the list of files", &mut || {
        files = api::files(&hub, repo, &commit)?;
        Ok(())
    })?;
    let index = files.iter().find(|file| file.path == "model_index.json");
    let chosen = match (&order.source.file, index) {
        (Some(path), _) => choice::of_file(&files, path)?,
        (None, _) if order.all => choice::of_all(&files),
        (None, None) => choice::of_single(&files)?,
        (None, Some(index)) => {
            if index.size > MAX_INDEX {
                return Err(failed("model_index.json of the repository is too large"));
            }
            let mut text = Vec::new();
            again("model_index.json", &mut || {
                text = api::small_file(&hub, repo, &commit, index)?;
                Ok(())
            })?;
            let parsed = serde_json::from_slice(&text)
                .map_err(|_invalid| failed("model_index.json of the repository is no JSON"))?;
            choice::of_directory(&files, &parsed, order.variant)?
        }
    };
    Ok(Plan {
        hub,
        revision,
        commit,
        chosen,
    })
}

/// Fetches what is missing and puts it on the shelf. Gives the model's folder or file.
pub(crate) fn take(order: &Order, plan: &Plan, meter: &Meter) -> Result<PathBuf, Failure> {
    let (cache, repo) = (&order.cache, &order.source.repo);
    check_room(cache.root(), plan.missing_bytes(order))?;
    let stop = AtomicBool::new(false);
    let fetching = Fetching {
        hub: &plan.hub,
        cache,
        repo,
        commit: &plan.commit,
        retries: order.retries,
        meter,
        stop: &stop,
    };
    // The largest first, so that the last one to end is small.
    let mut waiting: Vec<_> = plan.blobs().into_values().collect();
    waiting.sort_by_key(|file| file.size);
    let waiting = Mutex::new(waiting);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..order.parallel.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(file) = next else { break };
                    if let Err(error) = fetching.fetch(file) {
                        let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(error);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        remove_empty(cache, order);
        return Err(failure);
    }
    let snapshot = shelve::shelve(
        cache,
        repo,
        (&plan.revision, &plan.commit),
        &plan.chosen.files,
    )
    .map_err(|error| {
        let root = cache.root().display();
        Failure::cannot_create(format!("cannot write to the cache {root}: {error}"))
    })?;
    Ok(match &plan.chosen.single {
        Some(file) => snapshot.join(file),
        None => snapshot,
    })
}

/// Asks until there is an answer or it does not help any more.
fn patiently(
    retries: u32,
    what: &str,
    note: &dyn Fn(&str),
    ask: &mut dyn FnMut() -> Result<(), Trouble>,
) -> Result<(), Failure> {
    let mut in_vain = 0;
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(Trouble::Lasting(failure)) => return Err(failure),
            Err(Trouble::Passing { why, wait }) => {
                in_vain += 1;
                if in_vain > retries {
                    return Err(failed(format!("{what}: {why}")).hint(
                        "is there a network? HF_ENDPOINT, HTTPS_PROXY and the host's state decide",
                    ));
                }
                let wait = wait.unwrap_or_else(|| backoff(in_vain));
                note(&format!(
                    "{what}: {why}; trying again in {:.0} s",
                    wait.as_secs_f64().ceil()
                ));
                std::thread::sleep(wait);
            }
        }
    }
}

/// Fails where the disk has no room for so many bytes.
fn check_room(root: &Path, needed: u64) -> Result<(), Failure> {
    // Nothing of the cache may be there yet.
    let there = root.ancestors().find(|folder| folder.exists());
    let Some(Ok(found)) = there.map(rustix::fs::statvfs) else {
        return Ok(());
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if needed == 0 || needed.saturating_add(ROOM_TO_SPARE) <= free {
        return Ok(());
    }
    Err(Failure::cannot_create(format!(
        "{} have to come, and {} is on a disk with {} free",
        table::size(needed),
        root.display(),
        table::size(free)
    ))
    .hint("make room, or set HF_HUB_CACHE to a folder on another disk"))
}

/// Takes folders away again that were made for nothing.
fn remove_empty(cache: &HubCache, order: &Order) {
    let repo = &order.source.repo;
    for folder in [cache.blobs(repo), cache.repository(repo)] {
        let removed: io::Result<()> = fs::remove_dir(folder);
        // One that is not empty stays.
        if removed.is_err() {
            break;
        }
    }
}
