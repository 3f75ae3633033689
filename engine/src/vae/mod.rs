//! The networks between pixels and latents.

pub mod autoencoder_kl;
