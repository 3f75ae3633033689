//! The names that weights have in single files, as the authors of the models called them, and what the networks call them.
//!
//! Tables of renames, one file for each kind of network. Sources: the authors' repositories, and diffusers'
//! `loaders/single_file_utils.py` for what belongs to what.

pub(crate) mod clip;
pub(crate) mod controlnet;
pub(crate) mod llama;
pub(crate) mod tiny;
pub(crate) mod unet;
pub(crate) mod vae;
pub(crate) mod video_vae;

use crate::adapters::Original;

/// What single files call layers: theirs, and those of the network that it is made of, in order.
pub(crate) type Table<'a> = [(&'a str, Vec<&'a str>)];

/// What single files call the layers of the blocks `new` of a network whose layers are `names`: `old`, which are counted the
/// same way.
pub(crate) fn of_blocks(names: &[&str], old: &str, new: &str, table: &Table<'_>) -> Vec<Original> {
    let has = |layer: &str| names.contains(&layer);
    let prefix = format!("{new}.");
    (0..)
        .take_while(|block| {
            let block = format!("{prefix}{block}.");
            names.iter().any(|name| name.starts_with(&block))
        })
        .flat_map(|block| {
            table.iter().map(move |(theirs, ours)| Original {
                name: format!("{old}.{block}.{theirs}"),
                layers: ours
                    .iter()
                    .map(|ours| format!("{new}.{block}.{ours}"))
                    .collect(),
            })
        })
        .filter(|original| original.layers.iter().all(|layer| has(layer)))
        .collect()
}

/// The same for layers that stand once.
pub(crate) fn of_single(names: &[&str], table: &[(&str, &str)]) -> Vec<Original> {
    table
        .iter()
        .filter(|(_, ours)| names.contains(ours))
        .map(|(theirs, ours)| Original {
            name: (*theirs).to_owned(),
            layers: vec![(*ours).to_owned()],
        })
        .collect()
}

/// A table of fused layers and one of single ones.
pub(crate) fn table<'a, const N: usize>(
    single: &[&'a [(&'a str, &'a str)]],
    fused: &'a [(&'a str, [&'a str; N])],
) -> Vec<(&'a str, Vec<&'a str>)> {
    let single = single
        .iter()
        .copied()
        .flatten()
        .map(|(theirs, ours)| (*theirs, vec![*ours]));
    let fused = fused.iter().map(|(theirs, ours)| (*theirs, ours.to_vec()));
    single.chain(fused).collect()
}
