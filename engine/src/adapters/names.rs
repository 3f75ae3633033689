//! The names that adapters have for the layers of a model.
//!
//! * PEFT and diffusers: the part and the layer, `unet.mid_block.attentions.0.proj_in`; files of one part leave it out.
//! * kohya's scripts: `lora_unet_mid_block_attentions_0_proj_in`, `lora_te_…` for the text encoder, `lora_te1_…` and
//!   `lora_te2_…` where there are two. Some are named after the layers of single files, as are those of ComfyUI's
//!   conventions, `diffusion_model.middle_block.1.proj_in`; one such layer may be several of the model's.

use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::Held;

/// A layer as single files have it, and the layers that its rows belong to, in order; all of the network's own part.
pub(crate) struct Original {
    pub(crate) name: String,
    pub(crate) layers: Vec<String>,
}

/// The layers that one change belongs to.
#[derive(Clone)]
pub(super) struct Target {
    /// Name, rows and numbers in a row of each.
    layers: Vec<(String, (usize, usize))>,
}

impl Target {
    pub(super) fn rows(&self) -> usize {
        self.layers.iter().map(|(_, (rows, _))| rows).sum()
    }

    pub(super) fn row_numbers(&self) -> usize {
        self.layers.first().map_or(0, |(_, (_, numbers))| *numbers)
    }

    /// Each layer, and the change's row that belongs to its first.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.layers.iter().scan(0, |row, (name, (rows, _))| {
            let from = *row;
            *row += rows;
            Some((name.as_str(), from))
        })
    }
}

/// Every name that a layer may have in a file.
pub(super) struct Names {
    targets: HashMap<String, Target>,
}

impl Names {
    pub(super) fn new(layers: &[Held], originals: &[Original]) -> Self {
        let shapes: BTreeMap<&str, (usize, usize)> = layers
            .iter()
            .flat_map(|held| &held.parts)
            .map(|part| (part.name.as_str(), part.shape))
            .collect();
        let mut targets = HashMap::new();
        for (full, shape) in &shapes {
            let (part, name) = full.split_once('.').unwrap_or(("", full));
            let target = Target {
                layers: vec![((*full).to_owned(), *shape)],
            };
            let mut add = |alias: String| {
                targets.entry(alias).or_insert_with(|| target.clone());
            };
            add((*full).to_owned());
            if is_network(part) {
                network_names(name).for_each(&mut add);
            } else if let Some(prefixes) = text_prefixes(part) {
                // Files have the text encoder's own name in it, whether the checkpoint does or not.
                for name in [name.to_owned(), format!("text_model.{name}")] {
                    add(format!("{part}.{name}"));
                    for prefix in prefixes {
                        add(format!("{prefix}_{}", name.replace('.', "_")));
                    }
                }
            }
        }
        for original in originals {
            let found: Option<Vec<_>> = original
                .layers
                .iter()
                .map(|name| {
                    let part = shapes.keys().find_map(|full| {
                        let (part, _) = full.split_once('.')?;
                        is_network(part).then_some(part)
                    })?;
                    let full = format!("{part}.{name}");
                    shapes.get(full.as_str()).map(|shape| (full, *shape))
                })
                .collect();
            let Some(layers) =
                found.filter(|layers| layers.windows(2).all(|pair| pair[0].1.1 == pair[1].1.1))
            else {
                continue;
            };
            for alias in network_names(&original.name) {
                let layers = layers.clone();
                targets.entry(alias).or_insert(Target { layers });
            }
        }
        Self { targets }
    }

    /// The layers of the change that a file has for `key`.
    pub(super) fn find(&self, key: &str) -> Option<&Target> {
        let key = key
            .strip_prefix("base_model.model.")
            .or_else(|| key.strip_prefix("model."))
            .unwrap_or(key);
        // As diffusers wrote it before it used PEFT.
        let key = key.replace(".processor.", ".");
        let found = self.targets.get(&key);
        found.or_else(|| match key.ends_with(".to_out") {
            true => self.targets.get(&format!("{key}.0")),
            false => None,
        })
    }
}

/// Whether a model's part is what draws.
pub(super) fn is_network(part: &str) -> bool {
    !part.starts_with("text_encoder") && part != "vae"
}

/// What the layer `name` of the network is called.
fn network_names(name: &str) -> impl Iterator<Item = String> {
    let underscored = name.replace('.', "_");
    [
        name.to_owned(),
        format!("diffusion_model.{name}"),
        format!("lora_unet_{underscored}"),
        format!("lora_transformer_{underscored}"),
        format!("lycoris_{underscored}"),
    ]
    .into_iter()
}

fn text_prefixes(part: &str) -> Option<&'static [&'static str]> {
    match part {
        "text_encoder" => Some(&["lora_te", "lora_te1"]),
        "text_encoder_2" => Some(&["lora_te2"]),
        "text_encoder_3" => Some(&["lora_te3"]),
        _ => None,
    }
}
