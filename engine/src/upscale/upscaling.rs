//! An enlargement in flight: a value that can be saved and restored between two tiles.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::request::{UpscaleRequest, UpscaleSettings, enlarged, scale};
use super::tiles::Tiles;
use super::{Kind, Upscaler, metadata};
use crate::generation::Fingerprint;
use crate::image::{self, Format, Rgb8, Texts, encode_with, read_with_alpha};
use crate::kernels;
use crate::sealed::{Blocks, Magic, seal};
use crate::{Error, NUMERICS, Notice, Precision, Result};

/// The request's name of the picture.
const FIELD: &str = "init_image";
/// Longest side of a preview.
const PREVIEW_SIDE_PX: u32 = 256;

/// One picture on its way.
///
/// Made by [`Upscaler::start`] or [`Upscaler::restore`], moved by [`Upscaler::step`], ended by [`Upscaler::finish`].
pub struct Upscaling {
    request: UpscaleRequest,
    settings: UpscaleSettings,
    fingerprint: Fingerprint,
    tiles: Tiles,
    /// The picture before.
    picture: Rgb8,
    alpha: Option<Vec<u8>>,
    /// The network's picture, as far as tiles are done.
    made: Rgb8,
    done: usize,
}

/// What [`Upscaler::restore`] gives.
pub struct RestoredUpscaling {
    /// The enlargement, ready to go on.
    pub upscaling: Upscaling,
    /// Why it starts again at the first tile, if it does.
    pub restarted: Option<String>,
}

/// A finished picture with what its file says of it.
pub struct Upscaled {
    /// The pixels.
    pub image: Rgb8,
    /// How opaque they are, a byte each, where not all are.
    pub alpha: Option<Vec<u8>>,
    /// How it was made.
    pub texts: Texts,
}

impl Upscaled {
    /// The picture's file. `with_metadata` writes into it how it was made. A JPEG has no alpha.
    pub fn encode(&self, format: Format, with_metadata: bool) -> Result<Vec<u8>> {
        let texts = with_metadata.then_some(&self.texts);
        encode_with(&self.image, self.alpha.as_deref(), format, texts)
    }
}

impl Upscaling {
    /// Every setting, defaults filled in.
    pub fn settings(&self) -> &UpscaleSettings {
        &self.settings
    }

    /// What the user should know.
    pub fn notices(&self) -> Vec<Notice> {
        let (own, asked) = (f64::from(self.settings.network_scale), self.settings.scale);
        let message = format!(
            "`upscale_scale` is {asked}, and the upscaler enlarges {own} times: the rest is interpolated"
        );
        let is_beyond = asked > own;
        is_beyond
            .then(|| Notice::new("scale_beyond_network", "upscale_scale", message))
            .into_iter()
            .collect()
    }

    /// Tiles that the picture takes.
    pub fn tile_count(&self) -> usize {
        self.tiles.count()
    }

    /// Tiles that are done.
    pub fn tiles_done(&self) -> usize {
        self.done
    }

    /// Whether all tiles are done.
    pub fn is_done(&self) -> bool {
        self.done >= self.tiles.count()
    }

    /// A small picture of what there is: the old picture where tiles are to come.
    pub fn preview(&self) -> Rgb8 {
        let (width, height) = (self.made.width_px, self.made.height_px);
        let longest = width.max(height).max(1);
        let side = |side: u32| {
            let side = u64::from(side) * u64::from(PREVIEW_SIDE_PX.min(longest));
            u32::try_from(side / u64::from(longest)).unwrap_or(1).max(1)
        };
        let (small_width, small_height) = (side(width), side(height));
        let nearest = |at: u32, of: u32, from: u32| (at * 2 + 1) * from / (of * 2);
        let mut pixels = Vec::with_capacity(3 * (small_width * small_height) as usize);
        for y in 0..small_height {
            for x in 0..small_width {
                let (old_x, old_y) = (
                    nearest(x, small_width, self.picture.width_px),
                    nearest(y, small_height, self.picture.height_px),
                );
                let from = if self.is_made(old_x as usize, old_y as usize) {
                    let (x, y) = (
                        nearest(x, small_width, width),
                        nearest(y, small_height, height),
                    );
                    pixel(&self.made, x, y)
                } else {
                    pixel(&self.picture, old_x, old_y)
                };
                pixels.extend_from_slice(from);
            }
        }
        Rgb8 {
            width_px: small_width,
            height_px: small_height,
            pixels,
        }
    }

    /// Whether the tile with a pixel of the old picture is done.
    fn is_made(&self, x: usize, y: usize) -> bool {
        (0..self.done).rev().any(|index| {
            let kept = self.tiles.get(index).kept;
            kept.rows.contains(&y) && kept.columns.contains(&x)
        })
    }

    /// The state as bytes: the same bytes for the same state. Its blocks are a JSON header, the picture's file, and the
    /// rows of the network's picture that have begun.
    pub fn save(&self) -> Result<Vec<u8>> {
        let header = Header {
            request: self.request.clone(),
            settings: self.settings.clone(),
            fingerprint: self.fingerprint.clone(),
            done: self.done,
        };
        let header = serde_json::to_vec(&header).map_err(|error| {
            Error::internal("write the enlargement's header").with_source(error)
        })?;
        let rows = &self.made.pixels[..self.bytes_made()];
        Ok(seal(MAGIC, [&header, &self.request.image[..], rows]))
    }

    /// Bytes of the network's picture that tiles have begun to fill.
    fn bytes_made(&self) -> usize {
        let rows = self.tiles.rows_of(self.done) * self.settings.network_scale as usize;
        rows.min(self.made.height_px as usize) * self.made.width_px as usize * 3
    }

    /// Lays a tile's picture to its place; what it is filled up with lies beyond the end.
    fn lay(&mut self, tile: &Rgb8) {
        let place = self.tiles.get(self.done).kept;
        let place = place.times(self.settings.network_scale as usize);
        let (width, height) = (self.made.width_px as usize, self.made.height_px as usize);
        let line = 3 * place
            .columns
            .end
            .min(width)
            .saturating_sub(place.columns.start);
        let rows = tile.pixels.chunks_exact(3 * tile.width_px as usize);
        for (y, row) in place.rows.zip(rows).filter(|(y, _)| *y < height) {
            let at = 3 * (y * width + place.columns.start);
            self.made.pixels[at..at + line].copy_from_slice(&row[..line]);
        }
        self.done += 1;
    }
}

fn pixel(picture: &Rgb8, x: u32, y: u32) -> &[u8] {
    let at = 3 * (y as usize * picture.width_px as usize + x as usize);
    &picture.pixels[at..at + 3]
}

impl Upscaler {
    /// Begins a picture: reads it and checks the request.
    ///
    /// Fails with [`crate::ErrorKind::InvalidArgument`] naming the field.
    pub fn start(&self, request: &UpscaleRequest) -> Result<Upscaling> {
        let named = (self.name.as_str(), self.hash());
        let (settings, tiles) = resolve(self.kind, named, self.info.precision, request)?;
        let (picture, alpha) = read_with_alpha(&request.image, FIELD)?;
        let size = (picture.width_px, picture.height_px);
        let (width_px, height_px) = enlarged(size, f64::from(settings.network_scale), FIELD)?;
        Ok(Upscaling {
            request: request.clone(),
            fingerprint: self.fingerprint(),
            made: Rgb8 {
                width_px,
                height_px,
                pixels: vec![0; 3 * width_px as usize * height_px as usize],
            },
            settings,
            tiles,
            picture,
            alpha,
            done: 0,
        })
    }

    /// Moves an enlargement by one tile. Fails with [`crate::ErrorKind::Internal`] when it is done.
    pub fn step(&self, upscaling: &mut Upscaling) -> Result<()> {
        if upscaling.is_done() {
            return Err(Error::internal("step of an enlargement that is done"));
        }
        let tile = upscaling.tiles.get(upscaling.done);
        let made = self.network.enlarge(&upscaling.picture, &tile, self.kind)?;
        upscaling.lay(&made);
        Ok(())
    }

    /// The picture, with what is left of the factor made by Lanczos' filter, and its alpha likewise.
    ///
    /// Fails with [`crate::ErrorKind::Internal`] when it is not done.
    pub fn finish(&self, upscaling: Upscaling) -> Result<Upscaled> {
        if !upscaling.is_done() {
            return Err(Error::internal("end of an enlargement that is not done"));
        }
        let Upscaling {
            settings,
            request,
            picture,
            alpha,
            made,
            ..
        } = upscaling;
        let size = (settings.width_px, settings.height_px);
        let old_size = (picture.width_px, picture.height_px);
        drop(picture);
        let own_size = (made.width_px, made.height_px);
        let pixels = if size == own_size {
            made.pixels
        } else {
            image::resample::resized(&made.pixels, 3, own_size, size)
        };
        let found = image::read_metadata(&request.image).unwrap_or_default();
        Ok(Upscaled {
            image: Rgb8 {
                width_px: size.0,
                height_px: size.1,
                pixels,
            },
            alpha: alpha.map(|alpha| image::resample::resized(&alpha, 1, old_size, size)),
            texts: metadata::texts(&settings, &found),
        })
    }

    /// Goes on with a saved enlargement.
    ///
    /// When weights, arithmetic or instruction set are not those it was saved with, it starts again at the first tile and
    /// [`RestoredUpscaling::restarted`] says why. Fails with [`crate::ErrorKind::ModelInvalid`] when the bytes are damaged.
    pub fn restore(&self, bytes: &[u8]) -> Result<RestoredUpscaling> {
        let (header, made) = read(bytes)?;
        let mut upscaling = self.start(&header.request)?;
        let restarted = self
            .fingerprint()
            .difference_from(&header.fingerprint)
            .or_else(|| {
                let is_same = header.settings == upscaling.settings;
                (!is_same).then(|| "what was asked for is computed differently".to_owned())
            });
        if restarted.is_none() {
            upscaling.done = header.done;
            let begun = upscaling.bytes_made();
            if header.done > upscaling.tile_count() || made.len() != begun {
                return Err(Error::model(format!("{SAVED}: pixels of another size")));
            }
            upscaling.made.pixels[..begun].copy_from_slice(made);
        }
        Ok(RestoredUpscaling {
            upscaling,
            restarted,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            model_hash: self.hash.clone(),
            numerics: NUMERICS.to_owned(),
            instruction_set: kernels::cpu::instruction_set().name().to_owned(),
        }
    }
}

/// The settings and tiles of a request. `named`: the upscaler as the caller calls it, and its hash.
pub(super) fn resolve(
    kind: Kind,
    (name, hash): (&str, &str),
    precision: Precision,
    request: &UpscaleRequest,
) -> Result<(UpscaleSettings, Tiles)> {
    let size = image::size_of(&request.image, FIELD)?;
    let own = kind.scale();
    let scale = scale(request.scale, own)?;
    // Both pictures must fit.
    enlarged(size, own as f64, FIELD)?;
    let (width_px, height_px) = enlarged(size, scale, "upscale_scale")?;
    let tiles = Tiles::new((size.1 as usize, size.0 as usize), kind.multiple());
    let (tile_width_px, tile_height_px) = tiles.largest();
    let upscaler = name.rsplit('/').next().unwrap_or(name);
    let settings = UpscaleSettings {
        upscaler: upscaler
            .strip_suffix(".safetensors")
            .unwrap_or(upscaler)
            .to_owned(),
        sha256: hash.to_owned(),
        scale,
        network_scale: u32::try_from(own).unwrap_or(u32::MAX),
        image_sha256: image::sha256(&request.image),
        width_px,
        height_px,
        tile_width_px,
        tile_height_px,
        precision: precision.resolved(),
    };
    Ok((settings, tiles))
}

const MAGIC: &Magic = b"imgdups1";
/// What is saved, for messages.
const SAVED: &str = "saved enlargement";

/// The part of a saved enlargement that is written as JSON.
#[derive(Serialize, Deserialize)]
struct Header {
    request: UpscaleRequest,
    settings: UpscaleSettings,
    fingerprint: Fingerprint,
    done: usize,
}

/// Reads what [`Upscaling::save`] wrote: the header with the picture's file, and the pixels. Fails on any damage.
fn read(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let mut blocks = Blocks::open(bytes, MAGIC, SAVED)?;
    let [header, image, made] = blocks.next_ones()?;
    let mut header: Header = serde_json::from_slice(header)
        .map_err(|error| blocks.damaged("header cannot be read").with_source(error))?;
    header.request.image = Bytes::copy_from_slice(image);
    Ok((header, made))
}
