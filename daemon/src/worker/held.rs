//! What a worker holds: models that draw and upscalers, generations and enlargements. Each verb asks for the same of both.

use std::path::Path;

use imgd_engine::{
    Error, Generation, Model, Notice, OpenOptions, Preview, Result, Upscaler, Upscaling,
    checkpoint::Source,
    image::{Format, Rgb8, encode},
};
use imgd_proto::v1;

use super::{backend::settings, upscaling::settings as upscale_settings};

/// A loaded model, or an upscaler.
pub(super) enum Loaded {
    Model(Box<Model>),
    Upscaler(Box<Upscaler>),
}

/// A picture of one in flight.
pub(super) enum InFlight {
    Generation(Box<Generation>),
    Upscaling(Box<Upscaling>),
}

/// One that goes on, and why it begins again, if it does.
pub(super) type Restored = (InFlight, Option<String>);

/// A finished picture.
pub(super) struct Made {
    /// The file.
    pub(super) bytes: Vec<u8>,
    /// The pixels, without alpha.
    pub(super) image: Rgb8,
    /// The settings text.
    pub(super) parameters: String,
}

impl Loaded {
    pub(super) fn open_model(source: &Source, options: &OpenOptions) -> Result<Self> {
        Ok(Self::Model(Box::new(Model::open(source, options)?)))
    }

    pub(super) fn open_upscaler(file: &Path, options: &OpenOptions) -> Result<Self> {
        Ok(Self::Upscaler(Box::new(Upscaler::open(file, options)?)))
    }

    /// SHA-256 over the weights, hex.
    pub(super) fn hash(&self) -> &str {
        match self {
            Self::Model(model) => model.hash(),
            Self::Upscaler(upscaler) => upscaler.hash(),
        }
    }

    /// Memory that was planned for it, in bytes.
    pub(super) fn loaded_bytes(&self) -> u64 {
        match self {
            Self::Model(model) => model.info().loaded_bytes,
            Self::Upscaler(upscaler) => upscaler.info().loaded_bytes,
        }
    }

    /// Memory of what is kept beside its own weights, in bytes.
    pub(super) fn kept_bytes(&self) -> u64 {
        match self {
            Self::Model(model) => model.kept_bytes(),
            Self::Upscaler(_) => 0,
        }
    }

    /// Goes on with what was saved.
    pub(super) fn restore(&self, saved: &[u8]) -> Result<Restored> {
        Ok(match self {
            Self::Model(model) => {
                let restored = model.restore(saved)?;
                let generation = Box::new(restored.generation);
                (InFlight::Generation(generation), restored.restarted)
            }
            Self::Upscaler(upscaler) => {
                let restored = upscaler.restore(saved)?;
                let upscaling = Box::new(restored.upscaling);
                (InFlight::Upscaling(upscaling), restored.restarted)
            }
        })
    }

    /// One evaluation of each.
    pub(super) fn step(&self, all: &mut [&mut InFlight]) -> Vec<Result<()>> {
        match self {
            Self::Model(model) => {
                let mut generations = Vec::with_capacity(all.len());
                for one in all {
                    match one {
                        InFlight::Generation(generation) => generations.push(&mut **generation),
                        InFlight::Upscaling(_) => return vec![Err(other_kind())],
                    }
                }
                model.step(&mut generations)
            }
            Self::Upscaler(upscaler) => all
                .iter_mut()
                .map(|one| match &mut **one {
                    InFlight::Upscaling(upscaling) => upscaler.step(upscaling),
                    InFlight::Generation(_) => Err(other_kind()),
                })
                .collect(),
        }
    }

    /// A small picture of the state. `vae_approx`: where tiny autoencoders lie.
    pub(super) fn preview(&self, one: &InFlight, vae_approx: Option<&Path>) -> Result<Preview> {
        match (self, one) {
            (Self::Model(model), InFlight::Generation(generation)) => {
                model.preview(generation, vae_approx)
            }
            (Self::Upscaler(_), InFlight::Upscaling(upscaling)) => Ok(Preview {
                image: upscaling.preview(),
                notice: None,
            }),
            _ => Err(other_kind()),
        }
    }

    /// One piece of the decoding; whether it was the last. What is enlarged has no decoder.
    pub(super) fn decode(&self, one: &mut InFlight) -> Result<bool> {
        match (self, one) {
            (Self::Model(model), InFlight::Generation(generation)) => {
                model.decode_stage(generation)
            }
            (Self::Upscaler(_), InFlight::Upscaling(_)) => Ok(true),
            _ => Err(other_kind()),
        }
    }

    /// The picture.
    pub(super) fn finish(
        &self,
        one: InFlight,
        format: Format,
        with_metadata: bool,
    ) -> Result<Made> {
        match (self, one) {
            (Self::Model(model), InFlight::Generation(mut generation)) => {
                let picture = model.finish(&mut generation)?;
                let inside = with_metadata.then_some(&picture.metadata);
                Ok(Made {
                    bytes: encode(&picture.image, format, inside)?,
                    parameters: picture.metadata.parameters(),
                    image: picture.image,
                })
            }
            (Self::Upscaler(upscaler), InFlight::Upscaling(upscaling)) => {
                let upscaled = upscaler.finish(*upscaling)?;
                Ok(Made {
                    bytes: upscaled.encode(format, with_metadata)?,
                    image: upscaled.image,
                    parameters: upscaled.texts.parameters,
                })
            }
            _ => Err(other_kind()),
        }
    }
}

impl InFlight {
    /// Every setting, defaults filled in.
    pub(super) fn settings(&self) -> v1::Settings {
        match self {
            Self::Generation(generation) => settings(generation.settings()),
            Self::Upscaling(upscaling) => upscale_settings(upscaling.settings()),
        }
    }

    /// What the user should know.
    pub(super) fn notices(&self) -> Vec<Notice> {
        match self {
            Self::Generation(generation) => generation.notices().to_vec(),
            Self::Upscaling(upscaling) => upscaling.notices(),
        }
    }

    pub(super) fn evaluation_count(&self) -> usize {
        match self {
            Self::Generation(generation) => generation.evaluation_count(),
            Self::Upscaling(upscaling) => upscaling.tile_count(),
        }
    }

    pub(super) fn evaluations_done(&self) -> usize {
        match self {
            Self::Generation(generation) => generation.evaluations_done(),
            Self::Upscaling(upscaling) => upscaling.tiles_done(),
        }
    }

    /// The denoising step that the last evaluation belonged to; of an enlargement the tile.
    pub(super) fn inference_step(&self) -> usize {
        match self {
            Self::Generation(generation) => generation.inference_step(),
            Self::Upscaling(upscaling) => upscaling.tiles_done(),
        }
    }

    /// Noise level; an enlargement has none.
    pub(super) fn sigma(&self) -> f64 {
        match self {
            Self::Generation(generation) => generation.sigma(),
            Self::Upscaling(_) => 0.0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Generation(generation) => generation.is_done(),
            Self::Upscaling(upscaling) => upscaling.is_done(),
        }
    }

    pub(super) fn save(&self) -> Result<Vec<u8>> {
        match self {
            Self::Generation(generation) => generation.save(),
            Self::Upscaling(upscaling) => upscaling.save(),
        }
    }
}

fn other_kind() -> Error {
    Error::internal("a picture of another kind than its model")
}
