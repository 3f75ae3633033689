//! The adapters that were used last, so that the pictures of a job read a file once.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Opened, Original, open};
use crate::checkpoint::{Held, Stamp};
use crate::request::Lora;
use crate::{Error, ErrorKind, Result};

/// Sets of adapters that are kept.
const KEPT: usize = 2;

/// The layers of a model, and the adapters that were packed for them last.
pub(crate) struct Cache {
    layers: Vec<Held>,
    originals: Vec<Original>,
    /// The last used at the end.
    opened: Mutex<Vec<(Key, Arc<Opened>)>>,
}

/// What files were read, and how strong they are.
type Key = Vec<(Lora, Stamp)>;

impl Cache {
    pub(crate) fn new(layers: Vec<Held>, originals: Vec<Original>) -> Self {
        Self {
            layers,
            originals,
            opened: Mutex::default(),
        }
    }

    /// The adapters of a request; `None` without any.
    pub(crate) fn get(&self, loras: &[Lora]) -> Result<Option<Arc<Opened>>> {
        if loras.is_empty() {
            return Ok(None);
        }
        let key = loras
            .iter()
            .map(|lora| Ok((lora.clone(), stamp(lora)?)))
            .collect::<Result<Key>>()?;
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(other, _)| *other == key) {
            let found = kept.remove(at);
            kept.push(found);
        } else {
            if kept.len() == KEPT {
                kept.remove(0);
            }
            let opened = open(loras, &self.layers, &self.originals)?;
            kept.push((key, Arc::new(opened)));
        }
        Ok(kept.last().map(|(_, opened)| Arc::clone(opened)))
    }
}

fn stamp(lora: &Lora) -> Result<Stamp> {
    Stamp::of(&lora.path).map_err(|error| {
        let message = format!("cannot read the LoRA `{}`: {error}", lora.path.display());
        Error::new(ErrorKind::NotFound, message).with_field("loras")
    })
}
