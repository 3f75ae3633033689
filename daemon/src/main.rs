//! The program `imgd`: the daemon, with the starter model inside.

use std::process::ExitCode;

use imgd_engine::checkpoint::EmbeddedFile;

/// Bytes at an address that tensors can be read from in place.
#[cfg(feature = "starter")]
#[repr(C, align(64))]
struct Aligned<const N: usize>([u8; N]);

/// Files of the starter model, as a table of their paths.
#[cfg(feature = "starter")]
macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(EmbeddedFile {
            path: $path,
            bytes: {
                const BYTES: &[u8] = include_bytes!(concat!("../../models/starter/", $path));
                static FILE: Aligned<{ BYTES.len() }> =
                    Aligned(*include_bytes!(concat!("../../models/starter/", $path)));
                &FILE.0
            },
        }),*]
    };
}

#[cfg(feature = "starter")]
static STARTER: &[EmbeddedFile] = embedded![
    "imgd.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];

#[cfg(not(feature = "starter"))]
static STARTER: &[EmbeddedFile] = &[];

fn main() -> ExitCode {
    imgd::run(STARTER)
}
