//! Upscalers: networks that make a picture larger, tile by tile.
//!
//! A file says what network it is ([`kind`]); there are two ([`rrdb`], [`compact`]). [`Upscaler::start`] makes an
//! [`Upscaling`], [`Upscaler::step`] moves it by one tile, [`Upscaler::finish`] makes the picture: as with a model, what goes
//! between two of these calls, saving and restoring too, changes no byte.

mod compact;
mod kind;
mod metadata;
mod network;
mod request;
mod rrdb;
mod tiles;
mod upscaling;
mod window;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;

pub use self::request::{
    UPSCALED_PIXELS_LIMIT, UPSCALED_SIDE_LIMIT_PX, UpscaleRequest, UpscaleSettings,
};
pub use self::upscaling::{RestoredUpscaling, Upscaled, Upscaling};
use self::{kind::Kind, network::Network};
use crate::{OpenOptions, Precision, Result, kernels};

/// What an upscaler is, from its headers alone.
#[derive(Debug, Clone)]
pub struct UpscalerInfo {
    /// The network's name: `RRDBNet` or `SRVGGNetCompact`.
    pub network: &'static str,
    /// How much longer it makes each side.
    pub scale: u32,
    /// Number of parameters.
    pub parameter_count: u64,
    /// Bytes of the weights in the file.
    pub weights_bytes: u64,
    /// Bytes of memory that it takes, one tile included.
    pub loaded_bytes: u64,
    /// Memory that a picture takes for each of its pixels before it is enlarged.
    pub working_bytes_per_pixel: u64,
    /// Number format on disk.
    pub dtype: String,
    /// Number format of the computation, never `Auto`.
    pub precision: Precision,
}

/// A loaded upscaler.
pub struct Upscaler {
    name: String,
    kind: Kind,
    network: Network,
    info: UpscalerInfo,
    hash: String,
}

impl Upscaler {
    /// Loads the file at `path` onto the CPU.
    ///
    /// Fails with [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::ModelInvalid`], naming the file or the tensor.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let (weights, kind) = kind::open(path)?;
        let all = weights.bytes().max(1);
        let progress = options.progress.clone().map(|tell| {
            let read = AtomicU64::new(0);
            let progress: crate::checkpoint::Progress = Arc::new(move |bytes| {
                let read = read.fetch_add(bytes, Ordering::Relaxed) + bytes;
                tell((read as f64 / all as f64).min(1.0));
            });
            progress
        });
        let loader = weights
            .loader(&Device::Cpu, progress)
            .with_precision(options.precision);
        let (network, hash) = rayon::join(|| Network::load(&loader, kind), || weights.sha256());
        kernels::cpu::release();
        Ok(Self {
            name: options.name.clone(),
            kind,
            network: network?,
            info: info(&weights, kind, options.precision),
            hash: hash?.to_string(),
        })
    }

    /// What it is.
    pub fn info(&self) -> &UpscalerInfo {
        &self.info
    }

    /// SHA-256 of its file, hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Describes the upscaler in the file at `path` without loading it. Fails as [`Upscaler::open`] does.
pub fn inspect_upscaler(path: &Path, precision: Precision) -> Result<UpscalerInfo> {
    let (weights, kind) = kind::open(path)?;
    Ok(info(&weights, kind, precision))
}

/// What would be made of a request, and how many tiles it takes. `name` is the upscaler as the caller names it.
///
/// Fails as [`Upscaler::open`] and [`Upscaler::start`] do.
pub fn plan_upscaling(
    path: &Path,
    name: &str,
    precision: Precision,
    request: &UpscaleRequest,
) -> Result<(UpscaleSettings, usize)> {
    let (_, kind) = kind::open(path)?;
    let (settings, tiles) = upscaling::resolve(kind, (name, ""), precision, request)?;
    Ok((settings, tiles.count()))
}

fn info(weights: &crate::checkpoint::Weights, kind: Kind, precision: Precision) -> UpscalerInfo {
    let scale = kind.scale();
    // Decoded, with its alpha; the network's picture, that of another factor, and its file, as long as both at worst.
    let per_pixel = 8 + 3 * 3 * scale * scale;
    UpscalerInfo {
        network: kind.name(),
        scale: u32::try_from(scale).unwrap_or(u32::MAX),
        parameter_count: weights.parameter_count(),
        weights_bytes: weights.bytes(),
        loaded_bytes: weights.loaded_bytes(precision) + network::tile_bytes(kind),
        working_bytes_per_pixel: per_pixel as u64,
        dtype: weights.dtype_name().to_owned(),
        precision: precision.resolved(),
    }
}
