//! The layers that were loaded: what an adapter can change, by the names that the checkpoint has for them.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Precision;

/// A list of layers that grows while a model is loaded. Cheap to clone.
#[derive(Clone, Default)]
pub struct Layers {
    held: Arc<Mutex<Vec<Held>>>,
}

/// Number of a layer in its [`Layers`].
pub type LayerId = usize;

/// One layer as the networks hold it, made of one or several of the checkpoint's.
#[derive(Debug, Clone)]
pub struct Held {
    /// What it is made of.
    pub parts: Vec<Part>,
    /// Rows of the weight: channels of the result, of both halves where it is gated.
    pub rows: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width of the kernel; 1 for layers of tokens.
    pub kernel: usize,
    /// Whether the second half of the result gates the first.
    pub is_gated: bool,
    /// What it computes with.
    pub precision: Precision,
}

/// Which numbers of a checkpoint's layer a layer holds.
#[derive(Debug, Clone)]
pub struct Part {
    /// The layer's name, such as `unet.mid_block.attentions.0.proj_in`.
    pub name: String,
    /// The shape of its whole weight, row-major: rows, and numbers in a row.
    pub shape: (usize, usize),
    /// Which rows are held.
    pub rows: Range<usize>,
    /// Which numbers of each row are held.
    pub columns: Range<usize>,
    /// The row of the held weight at which they begin.
    pub at: usize,
}

impl Layers {
    /// Adds a layer.
    pub fn add(&self, held: Held) -> LayerId {
        let mut all = self.lock();
        all.push(held);
        all.len() - 1
    }

    /// Every layer, in the order of [`LayerId`].
    pub fn all(&self) -> Vec<Held> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
