//! The networks that take noise away, one file each.

pub mod unet_2d_condition;
