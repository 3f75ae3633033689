//! The names that weights have in single files, as the authors of the models called them, and what the networks call them.
//!
//! Tables of renames, one file for each kind of network. Sources: the authors' repositories, and diffusers'
//! `loaders/single_file_utils.py` for what belongs to what.

pub(super) mod clip;
pub(super) mod unet;
pub(super) mod vae;
