//! The networks: from latents, a time and conditioning to what the sampler is after.

pub mod controlnet;
mod double_block;
pub mod flux;
pub mod flux2;
mod joint_attention;
pub mod qwen_image;
pub mod sd3;
mod sizes;
mod split;
pub mod unet_2d_condition;
pub mod z_image;
