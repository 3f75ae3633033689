//! ControlNets: networks that steer a picture by another one, read for a request and kept for the next.
//!
//! A file or a directory ([`file`]) becomes a network beside the model's own, if it fits it ([`fit`]); the last few are kept
//! ([`cache`]). A generation holds what each of its networks made of its picture, and when it acts: [`Steering`]. In an
//! evaluation those that act ([`Acting`]) say what is added to the model's network: [`residuals`].

mod cache;
mod file;
mod fit;

use std::sync::Arc;

use candle_core::Tensor;

pub(crate) use self::cache::{Cache, none_known};
use crate::denoise::controlnet::ControlNetModel;
use crate::denoise::unet_2d_condition::{AddedConditioning, Residuals};
use crate::families::{LatentShape, NetworkInput};
use crate::request::{Control, UsedControl};
use crate::{Error, Result, image};

/// A loaded ControlNet.
pub(crate) struct ControlNet {
    network: ControlNetModel,
    /// SHA-256 of its weights, hex.
    sha256: String,
    /// Memory that its weights take.
    bytes: u64,
}

/// One ControlNet of a generation.
pub(crate) struct Steering {
    net: Arc<ControlNet>,
    /// What it makes of its picture: `(1, h, w, c)`.
    picture: Tensor,
    weight: f64,
    start: f64,
    end: f64,
}

/// One ControlNet in one evaluation.
pub(crate) struct Acting<'a> {
    net: &'a Arc<ControlNet>,
    picture: &'a Tensor,
    scale: f32,
}

/// Checks what can be checked without the files.
///
/// Fails when a number is outside its range.
pub(crate) fn check(controls: &[Control]) -> Result<()> {
    for control in controls {
        let name = control.name();
        let wrong = |what: String| Err(Error::invalid("controls", format!("`{name}`: {what}")));
        let Control {
            weight, start, end, ..
        } = *control;
        if !(-10.0..=10.0).contains(&weight) {
            return wrong(format!("the weight is {weight}, not -10 to 10"));
        }
        // diffusers refuses an end that is not behind the start.
        if !(0.0..=1.0).contains(&start) || !(0.0..=1.0).contains(&end) || start >= end {
            return wrong(format!(
                "it acts from {start} to {end}; both are 0 to 1, and the end is behind the start"
            ));
        }
        if let Some(canny) = control.canny
            && canny.low > canny.high
        {
            return wrong(format!(
                "the low threshold of its edges, {}, is above the high one, {}",
                canny.low, canny.high
            ));
        }
    }
    Ok(())
}

/// Opens the ControlNets of a request and shows each its picture; what was used, for settings and metadata.
///
/// `size_px`: width and height. Fails naming the field when a file is missing, damaged or of another kind of model, or a
/// picture is none.
pub(crate) fn begin(
    controls: &[Control],
    cache: &Cache,
    (width, height): (u32, u32),
    shape: LatentShape,
) -> Result<(Vec<Steering>, Vec<UsedControl>)> {
    // Pictures are small and may be wrong; networks are large.
    let pictures = controls
        .iter()
        .map(|control| picture(control, (width, height)))
        .collect::<Result<Vec<_>>>()?;
    let nets = cache.get(controls)?;
    let mut steering = Vec::with_capacity(controls.len());
    let mut used = Vec::with_capacity(controls.len());
    for ((control, pixels), net) in controls.iter().zip(pictures).zip(nets) {
        let picture = net
            .network
            .embed(pixels, (height as usize, width as usize))?;
        let (_, rows, columns, _) = picture.dims4()?;
        if (rows, columns) != (shape.height, shape.width) {
            let message = format!(
                "ControlNet `{}` does not fit the model: it makes {columns}x{rows} of a picture whose latents are {}x{}",
                control.name(),
                shape.width,
                shape.height
            );
            return Err(Error::invalid("controls", message));
        }
        used.push(UsedControl {
            name: control.name(),
            weight: control.weight,
            start: control.start,
            end: control.end,
            canny: control.canny,
            image_sha256: image::sha256(&control.image),
            sha256: net.sha256.clone(),
        });
        steering.push(Steering {
            net,
            picture,
            weight: control.weight,
            start: control.start,
            end: control.end,
        });
    }
    Ok((steering, used))
}

/// The picture that the network sees, at the size of the one that is made: `(height, width, 3)` in `[0, 1]`.
///
/// Source: diffusers' `control_image_processor`.
fn picture(control: &Control, size_px: (u32, u32)) -> Result<Vec<f32>> {
    let picture = image::read_rgb(&control.image, size_px, "control_image")?;
    let picture = match control.canny {
        Some(canny) => image::canny(&picture, canny.low, canny.high),
        None => picture,
    };
    let light = |byte: &u8| f32::from(*byte) / 255.0;
    Ok(picture.pixels.iter().map(light).collect())
}

impl Steering {
    /// The network in evaluation `index` of `count`, if it acts there. Source: diffusers' `controlnet_keep`.
    pub(crate) fn acting(&self, index: usize, count: usize) -> Option<Acting<'_>> {
        (acts(self.start, self.end, index, count) && self.weight != 0.0).then(|| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "torch multiplies in single precision"
            )]
            let scale = self.weight as f32;
            Acting {
                net: &self.net,
                picture: &self.picture,
                scale,
            }
        })
    }
}

fn acts(start: f64, end: f64, index: usize, count: usize) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "evaluations are few")]
    let share = |index: usize| index as f64 / count as f64;
    share(index) >= start && share(index + 1) <= end
}

/// Whether two inputs are steered by the same networks, in the same order.
pub(crate) fn same(a: &[Acting<'_>], b: &[Acting<'_>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a.net, b.net))
}

/// What the ControlNets of inputs that have the same ones add, all together; `None` where they have none.
///
/// `latents`: `(b, h, w, c)`. Source: diffusers `MultiControlNetModel`.
pub(crate) fn residuals(
    inputs: &[&NetworkInput<'_>],
    latents: impl FnOnce() -> Result<Tensor>,
    timesteps: &[f64],
    encoder_hidden_states: &Tensor,
    added: Option<&AddedConditioning>,
) -> Result<Option<Residuals>> {
    let Some(first) = inputs.first().filter(|first| !first.controls.is_empty()) else {
        return Ok(None);
    };
    let latents = latents()?;
    let mut sum: Option<Residuals> = None;
    for (at, acting) in first.controls.iter().enumerate() {
        let of_each = inputs.iter().filter_map(|input| input.controls.get(at));
        let pictures: Vec<&Tensor> = of_each.clone().map(|acting| acting.picture).collect();
        let scales: Vec<f32> = of_each.map(|acting| acting.scale).collect();
        let residuals = acting.net.network.forward(
            &latents,
            timesteps,
            encoder_hidden_states,
            added,
            &Tensor::cat(&pictures, 0)?,
            &scales,
        )?;
        sum = Some(match sum {
            None => residuals,
            Some(sum) => Residuals {
                down: sum
                    .down
                    .iter()
                    .zip(&residuals.down)
                    .map(|(sum, residual)| Ok((sum + residual)?))
                    .collect::<Result<_>>()?,
                mid: (sum.mid + residuals.mid)?,
            },
        });
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_acts_where_its_whole_step_lies_between_start_and_end() {
        let acting = |start, end, count: usize| -> Vec<usize> {
            (0..count)
                .filter(|index| acts(start, end, *index, count))
                .collect()
        };
        assert_eq!(acting(0.0, 1.0, 4), [0, 1, 2, 3]);
        assert_eq!(acting(0.25, 0.75, 4), [1, 2]);
        assert_eq!(acting(0.3, 0.8, 4), [2]);
        assert_eq!(acting(0.0, 0.2, 4), [0_usize; 0]);
    }
}
