//! The ControlNets that were used last, so that the pictures of a job read a file once.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::{ControlNet, file};
use crate::denoise::unet_2d_condition;
use crate::request::Control;
use crate::{Error, ErrorKind, Precision, Result};

/// Networks that are kept; more where one request has more.
const KEPT: usize = 2;

/// The ControlNets of a model.
pub(crate) struct Cache {
    /// The network that they are copies of; none where there are none.
    unet: Option<unet_2d_condition::Config>,
    precision: Precision,
    /// The last used at the end.
    opened: Mutex<Vec<(Key, Arc<ControlNet>)>>,
}

/// What was read.
type Key = (PathBuf, Vec<Stamp>);

/// What tells that a file is another one than before.
type Stamp = (PathBuf, u64, Option<SystemTime>);

impl Cache {
    pub(crate) fn new(unet: Option<unet_2d_condition::Config>, precision: Precision) -> Self {
        Self {
            unet,
            precision,
            opened: Mutex::default(),
        }
    }

    /// Memory that the kept networks take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(_, net)| net.bytes).sum()
    }

    /// The networks of a request, one for each.
    pub(super) fn get(&self, controls: &[Control]) -> Result<Vec<Arc<ControlNet>>> {
        if controls.is_empty() {
            return Ok(Vec::new());
        }
        let unet = self.unet.as_ref().ok_or_else(none_known)?;
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::with_capacity(controls.len());
        for control in controls {
            let key = key(&control.path)?;
            let net = match kept.iter().position(|(other, _)| *other == key) {
                Some(at) => kept.remove(at).1,
                None => {
                    // What goes is gone before what comes takes its memory.
                    let most = KEPT.max(controls.len()) - 1;
                    let surplus = kept.len().saturating_sub(most);
                    kept.drain(..surplus);
                    Arc::new(file::open(control, unet, self.precision)?)
                }
            };
            kept.push((key, Arc::clone(&net)));
            found.push(net);
        }
        Ok(found)
    }
}

/// The failure of a request whose model has no ControlNets.
pub(crate) fn none_known() -> Error {
    Error::invalid(
        "controls",
        "there are no ControlNets for this kind of model",
    )
    .with_hint("leave them out, or choose a model of a kind that has some")
}

/// Fails when there is nothing at `path`.
fn key(path: &Path) -> Result<Key> {
    let missing = |error: std::io::Error| {
        let message = format!("cannot read the ControlNet `{}`: {error}", path.display());
        Error::new(ErrorKind::NotFound, message).with_field("controls")
    };
    let stamp = |path: PathBuf, metadata: &Metadata| {
        let changed = metadata.modified().ok();
        (path, metadata.len(), changed)
    };
    let metadata = std::fs::metadata(path).map_err(missing)?;
    let mut stamps = vec![stamp(path.to_owned(), &metadata)];
    if metadata.is_dir() {
        let entries = std::fs::read_dir(path).map_err(missing)?.take(1000);
        stamps.extend(entries.flatten().filter_map(|entry| {
            let path = entry.path();
            let metadata = std::fs::metadata(&path).ok()?;
            Some(stamp(path, &metadata))
        }));
        stamps.sort();
    }
    Ok((path.to_owned(), stamps))
}
