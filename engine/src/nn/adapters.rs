//! What adapters add to layers while they compute: `y = x W^T + x D^T U^T`, without touching the weight.
//!
//! Sources: LoRA, <https://arxiv.org/abs/2106.09685>; LyCORIS, <https://arxiv.org/abs/2309.14859>.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::format;
use crate::checkpoint::{Held, LayerId};
use crate::kernels::cpu::{
    Buffer, ConvGeometry, ConvInput, Extras, Format, MatmulShape, Numbers, Panels, conv2d, matmul,
};

/// What is added to the weight of one of the checkpoint's layers.
#[derive(Debug, Clone)]
pub enum Change {
    /// The product of two matrices, `up (rows, rank)` and `down (rank, numbers in a row)`, row-major.
    LowRank {
        /// Inner dimension.
        rank: usize,
        /// From the input.
        down: Vec<f32>,
        /// To the result.
        up: Vec<f32>,
    },
    /// All numbers, `(rows, numbers in a row)`.
    Whole(Vec<f32>),
}

/// A change of one layer: some rows of a [`Change`], which may belong to several layers.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What is added.
    pub change: Arc<Change>,
    /// The change's row that belongs to the layer's first.
    pub from_row: usize,
    /// What it is multiplied with.
    pub strength: f32,
}

/// What a set of adapters adds to the layers of a model, packed for the kernels.
#[derive(Debug, Default)]
pub struct Adapters {
    layers: HashMap<LayerId, Packed>,
}

/// What is added to one layer.
#[derive(Debug)]
struct Packed {
    /// From the input to the rank, and from there to the result.
    low_rank: Option<[Panels; 2]>,
    whole: Option<Panels>,
}

impl Adapters {
    /// Packs `changes`, by the names of the checkpoint's layers, for `layers`.
    ///
    /// Changes have the shapes of their layers: the caller has checked that.
    pub fn pack(layers: &[Held], changes: &HashMap<String, Vec<Placed>>) -> Self {
        let layers = layers
            .iter()
            .enumerate()
            .filter_map(|(id, held)| Some((id, pack(held, changes)?)))
            .collect();
        Self { layers }
    }
}

fn pack(held: &Held, changes: &HashMap<String, Vec<Placed>>) -> Option<Packed> {
    let depth = held.channels * held.kernel * held.kernel;
    let placed: Vec<_> = held
        .parts
        .iter()
        .filter_map(|part| Some((part, changes.get(&part.name)?)))
        .flat_map(|(part, placed)| placed.iter().map(move |placed| (part, placed)))
        .collect();
    let rank_of = |placed: &Placed| match &*placed.change {
        Change::LowRank { rank, .. } => *rank,
        Change::Whole(_) => 0,
    };
    let ranks: usize = placed.iter().map(|(_, placed)| rank_of(placed)).sum();
    let mut downs = Vec::with_capacity(ranks * depth);
    let mut ups = vec![0.0; held.rows * ranks];
    let mut whole: Option<Vec<f32>> = None;
    let mut before = 0;
    for (part, placed) in placed {
        let row_numbers = part.shape.1;
        let (columns, strength) = (part.columns.clone(), placed.strength);
        match &*placed.change {
            Change::LowRank { rank, down, up } => {
                for row in down.chunks_exact(row_numbers) {
                    downs.extend_from_slice(&row[columns.clone()]);
                }
                for (to, row) in part.rows.clone().enumerate() {
                    let from = &up[(placed.from_row + row) * rank..][..*rank];
                    let to = &mut ups[(part.at + to) * ranks + before..][..*rank];
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = from * strength;
                    }
                }
                before += rank;
            }
            Change::Whole(numbers) => {
                let whole = whole.get_or_insert_with(|| vec![0.0; held.rows * depth]);
                for (to, row) in part.rows.clone().enumerate() {
                    let from = &numbers[(placed.from_row + row) * row_numbers..][..row_numbers];
                    let to = &mut whole[(part.at + to) * depth..][..depth];
                    for (to, from) in to.iter_mut().zip(&from[columns.clone()]) {
                        *to += from * strength;
                    }
                }
            }
        }
    }
    if ranks == 0 && whole.is_none() {
        return None;
    }
    let format = format::with(held.precision, held.channels);
    let input = |numbers: &[f32], rows: usize| {
        Panels::from_conv2d(numbers, rows, held.channels, held.kernel, format)
    };
    let result = |numbers: &[f32], depth: usize| {
        if held.is_gated {
            Panels::from_gated_linear(numbers, held.rows / 2, depth, format)
        } else {
            Panels::from_linear(numbers, held.rows, depth, format)
        }
    };
    Some(Packed {
        low_rank: (ranks > 0).then(|| [input(&downs, ranks), result(&ups, ranks)]),
        whole: whole.map(|whole| {
            if held.is_gated {
                result(&whole, depth)
            } else {
                input(&whole, held.rows)
            }
        }),
    })
}

thread_local! {
    /// What layers that compute on this thread add.
    static ACTIVE: RefCell<Option<Arc<Adapters>>> = const { RefCell::new(None) };
}

/// Runs `task`, whose layers compute with `adapters`.
///
/// Layers of one model only: another's have the same numbers.
pub fn with_adapters<R>(adapters: Option<&Arc<Adapters>>, task: impl FnOnce() -> R) -> R {
    /// Puts back what was there before, also when the task panics.
    struct Restore(Option<Arc<Adapters>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.set(self.0.take());
        }
    }
    let _restore = Restore(ACTIVE.replace(adapters.cloned()));
    task()
}

/// What is added to one layer now.
pub(super) struct Added {
    adapters: Arc<Adapters>,
    layer: LayerId,
}

/// What is added to `layer` now, if anything.
pub(super) fn added(layer: Option<LayerId>) -> Option<Added> {
    let layer = layer?;
    ACTIVE.with_borrow(|active| {
        let adapters = active.as_ref()?;
        adapters.layers.contains_key(&layer).then(|| Added {
            adapters: Arc::clone(adapters),
            layer,
        })
    })
}

impl Added {
    /// What is added to the product of `x`, with `residual`, which is as large: a residual for the product itself.
    pub(super) fn to_rows(
        &self,
        x: Numbers<'_>,
        shape: MatmulShape,
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        self.sum(residual, shape, |panels, extras, to| {
            matmul(x, shape, panels, extras, to)
        })
    }

    /// What is added to the convolution of `input`, likewise.
    pub(super) fn to_image(
        &self,
        input: &ConvInput<'_>,
        geometry: ConvGeometry,
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        let rows = geometry.output_size(input.seen_as.0) * geometry.output_size(input.seen_as.1);
        let shape = MatmulShape {
            elements: input.elements,
            rows,
        };
        self.sum(residual, shape, |panels, extras, to| {
            conv2d(input, geometry, panels, extras, to)
        })
    }

    /// `product`: of the layer's input; `shape`: of what it gives.
    fn sum(
        &self,
        residual: Option<&[f32]>,
        shape: MatmulShape,
        product: impl Fn(&Panels, &Extras<'_>, Format) -> Buffer,
    ) -> Vec<f32> {
        fn with(residual: Option<&[f32]>) -> Extras<'_> {
            Extras {
                residual,
                ..Extras::NONE
            }
        }
        let packed = &self.adapters.layers[&self.layer];
        let low_rank = packed.low_rank.as_ref().map(|[down, up]| {
            let narrow = product(down, &Extras::NONE, up.format());
            matmul(narrow.numbers(), shape, up, &with(residual), Format::F32).into_f32()
        });
        match &packed.whole {
            Some(whole) => {
                let residual = low_rank.as_deref().or(residual);
                product(whole, &with(residual), Format::F32).into_f32()
            }
            None => low_rank.unwrap_or_default(),
        }
    }
}
