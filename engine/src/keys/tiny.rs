//! Tiny autoencoders (TAESD and its kin): lists of layers with numbers.

use crate::checkpoint::{Renaming, Weights};

/// What stands before the numbers of each half, and the number of the decoder's first convolution: diffusers does not
/// count the clamp before it.
const LAYOUTS: [Layout; 4] = [
    // diffusers; also `taef2.safetensors`
    Layout::new("encoder.layers.", "decoder.layers.", 0),
    // both halves as ComfyUI saves them
    Layout::new("taesd_encoder.", "taesd_decoder.", 1),
    // both halves as their authors' class has them
    Layout::new("encoder.", "decoder.", 1),
    // a half in a file of its own: `taesd_decoder.safetensors`
    Layout::new("", "", 1),
];

struct Layout {
    encoder: &'static str,
    decoder: &'static str,
    decoder_from: usize,
}

impl Layout {
    const fn new(encoder: &'static str, decoder: &'static str, decoder_from: usize) -> Self {
        Self {
            encoder,
            decoder,
            decoder_from,
        }
    }

    /// A convolution and, where the way down goes on, a block; the decoder has a ReLU between the two.
    fn has_encoder(&self, weights: &Weights) -> bool {
        weights.has(&format!("{}0.weight", self.encoder))
            && weights.has(&format!("{}1.conv.4.weight", self.encoder))
    }

    fn has_decoder(&self, weights: &Weights) -> bool {
        let (prefix, first) = (self.decoder, self.decoder_from);
        weights.has(&format!("{prefix}{first}.weight"))
            && weights.has(&format!("{prefix}{}.conv.4.weight", first + 2))
    }
}

/// Layers of a 1x1 convolution in a block's sum over the whole image.
const PIXEL_LAYERS: [&str; 2] = ["pool.0", "pool.3"];

/// A tiny autoencoder, or a half of one, under diffusers' names; `None` when `weights` are something else.
pub(crate) fn rename(weights: &Weights) -> Option<Weights> {
    let layout = LAYOUTS
        .iter()
        .find(|layout| layout.has_decoder(weights) || layout.has_encoder(weights))?;
    let mut to = Renaming::new(weights);
    let mut half = |prefix: &str, first: usize, name: &str| {
        for number in numbers(weights, prefix) {
            let Some(new) = number.checked_sub(first) else {
                continue;
            };
            let (old, new) = (format!("{prefix}{number}"), format!("{name}.layers.{new}"));
            to.prefix(&format!("{old}."), &format!("{new}."));
            for layer in PIXEL_LAYERS {
                to.pixel_layer(&format!("{old}.{layer}"), &format!("{new}.{layer}"));
            }
        }
    };
    if layout.has_decoder(weights) {
        half(layout.decoder, layout.decoder_from, "decoder");
    }
    if layout.has_encoder(weights) {
        half(layout.encoder, 0, "encoder");
    }
    Some(to.finish())
}

/// Whether renamed weights are those of a tiny autoencoder.
pub(crate) fn recognises(weights: &Weights) -> bool {
    ["encoder", "decoder"]
        .iter()
        .any(|half| weights.has(&format!("{half}.layers.0.weight")))
}

/// The numbers behind `prefix`, in order.
pub(crate) fn numbers(weights: &Weights, prefix: &str) -> Vec<usize> {
    let numbers = weights.names().filter_map(|name| {
        let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
        number.parse().ok()
    });
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
