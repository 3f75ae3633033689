//! One blob from the hub into the cache: resumed, counted and hashed while it comes, tried again while that may help.

use std::{
    fs, io,
    io::Read as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use imgd_models::{HubCache, RepoId, is_blob_name, is_commit};
use ureq::http::{HeaderMap, StatusCode, header};

use super::{
    RemoteFile,
    client::{Hub, Reply, text},
    lock,
    meter::Meter,
    part::Part,
    trouble::{Trouble, backoff, failed, quoted, refused},
    url::encoded,
};
use crate::{failure::Failure, table};

/// Bytes read at once.
const CHUNK: usize = 1 << 17;

/// What the downloads of one pull have in common.
pub(super) struct Fetching<'a> {
    pub(super) hub: &'a Hub,
    pub(super) cache: &'a HubCache,
    pub(super) repo: &'a RepoId,
    pub(super) commit: &'a str,
    /// Attempts in a row that may bring nothing.
    pub(super) retries: u32,
    pub(super) meter: &'a Meter,
    /// Set once one of them has failed.
    pub(super) stop: &'a AtomicBool,
}

impl Fetching<'_> {
    /// Has the blob in the cache. A part that is left when this fails is where the next attempt goes on.
    pub(super) fn fetch(&self, file: &RemoteFile) -> Result<(), Failure> {
        let blobs = self.cache.blobs(self.repo);
        let wrong = |error: io::Error| self.cannot_write(&error);
        fs::create_dir_all(&blobs).map_err(wrong)?;
        let lock = self.cache.lock(self.repo, &file.blob);
        let waiting = || {
            self.meter
                .note(&format!("waiting for another download of {}", file.path))
        };
        let Some(_lock) = lock::take(&lock, self.stop, waiting).map_err(wrong)? else {
            return Err(stopped());
        };
        if is_whole(&blobs, file) {
            self.meter.there(file.size);
            return Ok(());
        }
        let mut part = Part::open(&blobs, file).map_err(wrong)?;
        let was_there = part.length() > 0;
        self.meter.begin(&file.path, part.length());
        self.fill(&mut part, file)?;
        if !part.is_right() && was_there {
            // What an earlier attempt left was damaged.
            self.meter.take_back(part.length());
            part.restart().map_err(wrong)?;
            self.fill(&mut part, file)?;
        }
        if !part.is_right() {
            self.meter.take_back(part.length());
            part.discard().map_err(wrong)?;
            return Err(self.wrong_bytes(file));
        }
        part.finish(&blobs).map_err(wrong)?;
        self.meter.end(&file.path);
        Ok(())
    }

    /// Fetches until nothing is missing, however often the connection breaks, as long as something comes.
    fn fill(&self, part: &mut Part, file: &RemoteFile) -> Result<(), Failure> {
        let mut furthest = part.length();
        let mut in_vain = 0;
        while part.missing() > 0 {
            let trouble = match self.attempt(part, file) {
                Ok(()) => continue,
                Err(Trouble::Lasting(failure)) => {
                    self.leave_nothing_empty(part);
                    return Err(failure);
                }
                Err(Trouble::Passing { why, wait }) => (why, wait),
            };
            in_vain = if part.length() > furthest {
                1
            } else {
                in_vain + 1
            };
            furthest = furthest.max(part.length());
            let (why, wait) = trouble;
            if in_vain > self.retries {
                self.leave_nothing_empty(part);
                return Err(failed(format!("`{}`: {why}", file.path)).hint(format!(
                    "{} of {} are kept: the same command goes on from there",
                    table::size(part.length()),
                    table::size(file.size)
                )));
            }
            let wait = wait.unwrap_or_else(|| backoff(in_vain));
            self.meter.note(&format!(
                "{}: {why}; trying again in {:.0} s",
                file.path,
                wait.as_secs_f64().ceil()
            ));
            self.pause(wait)?;
        }
        Ok(())
    }

    /// One request, from where the part ends.
    fn attempt(&self, part: &mut Part, file: &RemoteFile) -> Result<(), Trouble> {
        let path = encoded(&file.path);
        let url = self
            .hub
            .url(&format!("/{}/resolve/{}/{path}", self.repo, self.commit));
        let reply = self.hub.get(&url, part.length(), self.repo)?;
        self.check_headers(&reply, file)?;
        if reply.status == StatusCode::OK && part.length() > 0 {
            // The host knows no ranges: all of it comes again.
            self.meter.take_back(part.length());
            part.restart().map_err(|error| self.cannot_write(&error))?;
        }
        check_range(&reply, part.length(), file)?;
        let length = text(&reply.headers, header::CONTENT_LENGTH.as_str());
        let length = length.and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length != part.missing()) {
            let message = format!(
                "`{}` is listed with {} bytes, and {} come",
                file.path,
                file.size,
                part.length() + length.unwrap_or_default()
            );
            return Err(refused(&message).into());
        }
        self.receive(reply, part, file)
    }

    fn receive(&self, reply: Reply, part: &mut Part, file: &RemoteFile) -> Result<(), Trouble> {
        let mut body = reply.body.into_reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(stopped().into());
            }
            let read = body.read(&mut buffer);
            let count = read.map_err(|error| Trouble::passing(broken(&error)))?;
            if count == 0 {
                break;
            }
            if count as u64 > part.missing() {
                let message = format!(
                    "`{}` is listed with {} bytes, and more come",
                    file.path, file.size
                );
                return Err(refused(&message).into());
            }
            part.append(&buffer[..count])
                .map_err(|error| self.cannot_write(&error))?;
            self.meter.add(count as u64);
        }
        if part.missing() > 0 {
            return Err(Trouble::passing("it ended early"));
        }
        Ok(())
    }

    /// Checks what the hub's own host says of the file against its list, and that what comes is no web page.
    fn check_headers(&self, reply: &Reply, file: &RemoteFile) -> Result<(), Failure> {
        let said = |name| text(&reply.from_hub, name);
        if let Some(commit) = said("x-repo-commit")
            && (!is_commit(&commit) || commit != self.commit)
        {
            let message = format!(
                "`{}` of commit {} was asked for, the hub answers with commit {}",
                file.path,
                self.commit,
                quoted(&commit)
            );
            return Err(refused(&message));
        }
        if let Some(etag) = etag(&reply.from_hub)
            && etag != file.blob
        {
            let what = if is_blob_name(&etag) {
                format!(
                    "`{}` is listed with the hash {}, and the hub sends another, {etag}",
                    file.path, file.blob
                )
            } else {
                format!(
                    "the hub names the hash {} for `{}`",
                    quoted(&etag),
                    file.path
                )
            };
            return Err(refused(&what));
        }
        if let Some(size) = said("x-linked-size")
            && size.parse() != Ok(file.size)
        {
            let message = format!(
                "`{}` is listed with {} bytes, and the hub sends {}",
                file.path,
                file.size,
                quoted(&size)
            );
            return Err(refused(&message));
        }
        let is_page = text(&reply.headers, header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("text/html"));
        if is_page && !file.path.ends_with(".html") {
            let message = format!("a web page comes in the place of `{}`", file.path);
            return Err(refused(&message));
        }
        let encoding = text(&reply.headers, header::CONTENT_ENCODING.as_str());
        if encoding.is_some_and(|encoding| encoding != "identity") {
            let message = format!("`{}` comes compressed, which was not asked for", file.path);
            return Err(refused(&message));
        }
        Ok(())
    }

    fn pause(&self, wait: Duration) -> Result<(), Failure> {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if self.stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            std::thread::sleep(Duration::from_millis(50).min(wait));
        }
        Ok(())
    }

    /// Deletes a part in which nothing is.
    fn leave_nothing_empty(&self, part: &Part) {
        if part.length() == 0 {
            part.delete();
        }
    }

    fn wrong_bytes(&self, file: &RemoteFile) -> Failure {
        failed(format!(
            "`{}` came with other bytes than the hub lists: its hash is not {}",
            file.path, file.blob
        ))
        .hint("nothing of it was kept; try again, and look at proxies and mirrors on the way")
    }

    fn cannot_write(&self, error: &io::Error) -> Failure {
        let root = self.cache.root().display();
        Failure::cannot_create(format!("cannot write to the cache {root}: {error}"))
            .hint("HF_HUB_CACHE names another place for it")
    }
}

/// Whether the blob is there, as large as it should be.
pub(super) fn is_whole(blobs: &Path, file: &RemoteFile) -> bool {
    let found = blobs.join(&file.blob).metadata();
    found.is_ok_and(|found| found.is_file() && found.len() == file.size)
}

/// Another download of the same pull has failed, and says why.
fn stopped() -> Failure {
    failed("stopped, since another file failed")
}

/// The hash by which the hub names the contents: of a linked file, else of the answer.
fn etag(headers: &HeaderMap) -> Option<String> {
    let etag = text(headers, "x-linked-etag").or_else(|| text(headers, header::ETAG.as_str()))?;
    let etag = etag.strip_prefix("W/").unwrap_or(&etag);
    Some(etag.trim_matches('"').to_owned())
}

/// Checks that a part of a file is the part that was asked for.
fn check_range(reply: &Reply, from: u64, file: &RemoteFile) -> Result<(), Failure> {
    if reply.status != StatusCode::PARTIAL_CONTENT {
        return Ok(());
    }
    let said = text(&reply.headers, header::CONTENT_RANGE.as_str()).unwrap_or_default();
    let last = file.size.saturating_sub(1);
    if said == format!("bytes {from}-{last}/{}", file.size) {
        return Ok(());
    }
    Err(refused(&format!(
        "bytes {from} to {last} of {} of `{}` were asked for, and {} come",
        file.size,
        file.path,
        quoted(&said)
    )))
}

fn broken(error: &io::Error) -> String {
    let is_timeout = |inner: &ureq::Error| matches!(inner, ureq::Error::Timeout(_));
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if inner.is_some_and(is_timeout) || error.kind() == io::ErrorKind::TimedOut {
        return "the host says nothing more".to_owned();
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "the connection broke".to_owned()
        }
        _ => format!("the connection broke: {error}"),
    }
}
