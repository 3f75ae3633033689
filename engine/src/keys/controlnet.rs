//! ControlNets as their author's programs save them, `control_model`, and the way diffusers does.

use super::unet;
use crate::checkpoint::{Renaming, Weights};

/// What stands before the names in files of the author.
const PREFIX: &str = "control_model.";
/// The convolutions that see the picture.
const HINT: &str = "input_hint_block.";

/// The network under diffusers' names, whichever way the file has; `None` when it is no ControlNet.
pub(crate) fn rename(file: &Weights) -> Option<Weights> {
    if file.has("controlnet_cond_embedding.conv_in.weight") {
        return Some(file.clone());
    }
    let prefix = [PREFIX, ""]
        .into_iter()
        .find(|prefix| file.has(&format!("{prefix}{HINT}0.weight")))?;
    let mut to = Renaming::new(file);
    unet::rename_into(&mut to, file, prefix);
    let hint = |at: usize| format!("{prefix}{HINT}{}", 2 * at);
    let count = (0..)
        .take_while(|at| file.has(&format!("{}.weight", hint(*at))))
        .count();
    for at in 0..count {
        let new = match at {
            0 => "conv_in".to_owned(),
            _ if at + 1 == count => "conv_out".to_owned(),
            _ => format!("blocks.{}", at - 1),
        };
        to.layer(&hint(at), &format!("controlnet_cond_embedding.{new}"));
    }
    for at in 0.. {
        let old = format!("{prefix}zero_convs.{at}.0");
        if !file.has(&format!("{old}.weight")) {
            break;
        }
        to.layer(&old, &format!("controlnet_down_blocks.{at}"));
    }
    to.layer(
        &format!("{prefix}middle_block_out.0"),
        "controlnet_mid_block",
    );
    Some(to.finish())
}
