//! What an upscaler's file is: recognised by the names and shapes of its tensors, which say all sizes.

use std::path::Path;

use crate::checkpoint::{Renaming, Source, Weights};
use crate::{Error, Result};

/// Networks whose weights people share as upscalers and that are not known here, by a part of a tensor's name.
const OTHERS: &[(&str, &str)] = &[
    ("conv1x1.", "an ESRGAN+"),
    (".overlap_attn.", "a HAT"),
    (".residual_group.blocks.", "a SwinIR"),
    (".attns.", "a DAT or another network of attention"),
    ("model.diffusion_model.", "a model that draws"),
    ("lora_", "a LoRA"),
];

/// Most times that a network enlarges, and largest factor of the other kind's only enlargement.
const MOST_DOUBLINGS: usize = 3;
const LARGEST_SHUFFLE: usize = 8;

/// Where RRDBNet's layers are in the files of its authors. `{}` is the number of a block.
struct Names {
    first: &'static str,
    dense: fn(usize, usize, usize) -> String,
    body: fn(usize) -> String,
    doubling: fn(usize) -> String,
    /// The last two layers, by how often it doubles.
    last: fn(usize) -> [String; 2],
}

/// ESRGAN's first form, as a sequence: xinntao's `models/archs` of 2018, of which most models of the community are.
const SEQUENCE: Names = Names {
    first: "model.0",
    dense: |block, dense, conv| format!("model.1.sub.{block}.RDB{dense}.conv{conv}.0"),
    body: |blocks| format!("model.1.sub.{blocks}"),
    doubling: |number| format!("model.{}", 3 * number),
    last: |doublings| [2, 4].map(|after| format!("model.{}", 3 * doublings + after)),
};
/// BSRGAN's and RealSR's.
const TRUNK: Names = Names {
    first: "conv_first",
    dense: |block, dense, conv| format!("RRDB_trunk.{block}.RDB{dense}.conv{conv}"),
    body: |_| "trunk_conv".to_owned(),
    doubling: |number| format!("upconv{number}"),
    last: |_| ["HRconv", "conv_last"].map(str::to_owned),
};
/// BasicSR's, of which Real-ESRGAN is.
const BODY: Names = Names {
    first: "conv_first",
    dense: |block, dense, conv| format!("body.{block}.rdb{dense}.conv{conv}"),
    body: |_| "conv_body".to_owned(),
    doubling: |number| format!("conv_up{number}"),
    last: |_| ["conv_hr", "conv_last"].map(str::to_owned),
};

/// Sizes of an RRDBNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RrdbSizes {
    /// Channels between the blocks.
    pub(super) features: usize,
    /// Channels that each convolution of a dense block adds.
    pub(super) growth: usize,
    pub(super) blocks: usize,
    /// How often height and width are doubled.
    pub(super) doublings: usize,
    /// How many pixels on a side become one before the first layer.
    pub(super) unshuffle: usize,
}

/// Sizes of an SRVGGNetCompact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CompactSizes {
    pub(super) features: usize,
    /// Convolutions between the first and the last.
    pub(super) convs: usize,
    pub(super) scale: usize,
}

/// Which network it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rrdb(RrdbSizes),
    Compact(CompactSizes),
}

impl Kind {
    /// The network's name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rrdb(_) => "RRDBNet",
            Self::Compact(_) => "SRVGGNetCompact",
        }
    }

    /// How much longer its picture's sides are.
    pub(super) fn scale(self) -> usize {
        match self {
            Self::Rrdb(sizes) => (1 << sizes.doublings) / sizes.unshuffle,
            Self::Compact(sizes) => sizes.scale,
        }
    }

    /// What a picture's sides must be a multiple of.
    pub(super) fn multiple(self) -> usize {
        match self {
            Self::Rrdb(sizes) => sizes.unshuffle,
            Self::Compact(_) => 1,
        }
    }
}

/// The tensors of the file at `path` under BasicSR's names, headers checked, and what network they make.
///
/// Fails with [`crate::ErrorKind::NotFound`] when there is none, and with [`crate::ErrorKind::ModelInvalid`] when it is a
/// pickle, damaged or no upscaler that is known.
pub(super) fn open(path: &Path) -> Result<(Weights, Kind)> {
    let file = Source::single_file(path, None, &[])?
        .open_single()?
        .ok_or_else(|| Error::internal("a file that is no file"))?;
    recognise(&file, &path.display().to_string())
}

fn recognise(file: &Weights, path: &str) -> Result<(Weights, Kind)> {
    let unknown = |why: &str| {
        Error::model(format!("`{path}` holds {why}"))
            .with_hint("known are networks of ESRGAN and Real-ESRGAN: RRDBNet, and SRVGGNetCompact (\"Compact\")")
    };
    let other = OTHERS
        .iter()
        .find(|(part, _)| file.names().any(|name| name.contains(part)));
    if let Some((_, what)) = other {
        return Err(unknown(&format!(
            "{what}, which is not known as an upscaler"
        )));
    }
    for prefix in ["", "params_ema.", "params."] {
        let file = &unprefixed(file, prefix);
        for names in [&SEQUENCE, &TRUNK, &BODY] {
            if file.has(&format!("{}.weight", (names.dense)(0, 1, 1))) {
                return rrdb(file, names).ok_or_else(|| {
                    unknown("an RRDBNet of other sizes: 3 channels, enlarged 1, 2, 4 or 8 times, are known")
                });
            }
        }
        if file.has("body.0.weight") && file.has("body.1.weight") {
            return compact(file).ok_or_else(|| {
                unknown("an SRVGGNetCompact of other sizes: 3 channels, enlarged 1 to 8 times, are known")
            });
        }
    }
    Err(unknown("no upscaler of a known kind"))
}

fn unprefixed(file: &Weights, prefix: &str) -> Weights {
    let mut renaming = Renaming::new(file);
    renaming.prefix(prefix, "");
    renaming.finish()
}

/// The layers under BasicSR's names. None where its sizes are none that such a network has.
fn rrdb(file: &Weights, names: &Names) -> Option<(Weights, Kind)> {
    let of = |layer: &str, dimension| file.size(&format!("{layer}.weight"), dimension);
    let counted = |layer: &dyn Fn(usize) -> String, from: usize| {
        let has = |number: &usize| file.has(&format!("{}.weight", layer(*number)));
        (from..).take_while(has).count()
    };
    let blocks = counted(&|block| (names.dense)(block, 1, 1), 0);
    let doublings = counted(&|number| (names.doubling)(number), 1);
    // A sequence's last layers have numbers too; they are no doublings.
    let doublings = (0..=doublings.min(MOST_DOUBLINGS))
        .rev()
        .find(|doublings| {
            let last = (names.last)(*doublings);
            last.iter().all(|layer| of(layer, 1) > 0)
        })?;
    let [higher, last] = (names.last)(doublings);
    let channels = of(&last, 0);
    let unshuffle = match of(names.first, 1) {
        3 => 1,
        12 => 2,
        48 => 4,
        _ => return None,
    };
    if channels != 3 || (1 << doublings) % unshuffle != 0 {
        return None;
    }
    let mut renaming = Renaming::new(file);
    renaming.layer(names.first, BODY.first);
    for block in 0..blocks {
        for dense in 1..=3 {
            for conv in 1..=5 {
                renaming.layer(
                    &(names.dense)(block, dense, conv),
                    &(BODY.dense)(block, dense, conv),
                );
            }
        }
    }
    renaming.layer(&(names.body)(blocks), &(BODY.body)(blocks));
    for number in 1..=doublings {
        renaming.layer(&(names.doubling)(number), &(BODY.doubling)(number));
    }
    renaming.layer(&higher, "conv_hr");
    renaming.layer(&last, "conv_last");
    let sizes = RrdbSizes {
        features: of(names.first, 0),
        growth: of(&(names.dense)(0, 1, 1), 0),
        blocks,
        doublings,
        unshuffle,
    };
    (sizes.features > 0 && sizes.growth > 0).then(|| (renaming.finish(), Kind::Rrdb(sizes)))
}

/// None where its sizes are none that such a network has.
fn compact(file: &Weights) -> Option<(Weights, Kind)> {
    let last = (0..)
        .take_while(|at| file.has(&format!("body.{at}.weight")))
        .count()
        - 1;
    let channels = file.size(&format!("body.{last}.weight"), 0);
    let scale = (1..=LARGEST_SHUFFLE).find(|scale| 3 * scale * scale == channels)?;
    let is_in_turns = last.is_multiple_of(2)
        && (0..=last).all(|at| {
            let shape = file.shape(&format!("body.{at}.weight"));
            shape.map_or(0, <[usize]>::len) == if at.is_multiple_of(2) { 4 } else { 1 }
        });
    let features = file.size("body.0.weight", 0);
    if !is_in_turns || last < 2 || features == 0 || file.size("body.0.weight", 1) != 3 {
        return None;
    }
    let sizes = CompactSizes {
        features,
        convs: last / 2 - 1,
        scale,
    };
    Some((file.clone(), Kind::Compact(sizes)))
}
