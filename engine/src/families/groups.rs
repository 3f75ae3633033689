//! Inputs of one evaluation that can go through a network together: those whose prompts are of one length, and that the same
//! ControlNets steer and that look at pictures of the same sizes.

use candle_core::{Device, Tensor};

use super::{
    Conditioning, LatentShape, NetworkInput,
    latent_diffusion::concat,
    patches::{Patches, pack, unpack},
};
use crate::references::{Reference, same_shapes};
use crate::{Error, Result, controls};

/// Several inputs stacked, for a transformer of patches.
pub(super) struct Stacked<'a> {
    /// `(b, tokens, channels of a patch)`.
    pub(super) tokens: Tensor,
    /// Rows and columns of patches.
    pub(super) grid: (usize, usize),
    /// Timestep of each.
    pub(super) timesteps: Vec<f64>,
    /// `(b, words, width)`.
    pub(super) prompt_embeds: Tensor,
    /// `(b, width)`, where all have one.
    pub(super) pooled_prompt_embeds: Option<Tensor>,
    /// Guidance of each, where all have one.
    pub(super) guidance: Vec<f64>,
    /// The pictures that each looks at, of the same sizes.
    references: Vec<&'a [Reference]>,
}

impl Stacked<'_> {
    /// The pooled text, which the transformer needs.
    pub(super) fn pooled(&self) -> Result<&Tensor> {
        self.pooled_prompt_embeds
            .as_ref()
            .ok_or_else(|| Error::internal("a prompt without its pooled text"))
    }

    /// Rows and columns of the pictures to look at.
    pub(super) fn reference_grids(&self) -> impl Iterator<Item = (usize, usize)> {
        let first = self.references.first().copied().unwrap_or_default();
        first
            .iter()
            .map(|picture| (picture.shape.height, picture.shape.width))
    }

    /// The tokens and behind them those of pictures to look at, each latent one: `(b, tokens, channels)`.
    pub(super) fn with_references(&self) -> Result<Tensor> {
        let (batch, _, channels) = self.tokens.dims3()?;
        let latents: Vec<f32> = self
            .references
            .iter()
            .flat_map(|pictures| pictures.iter())
            .flat_map(|picture| picture.latents.iter().copied())
            .collect();
        if latents.is_empty() {
            return Ok(self.tokens.clone());
        }
        let shape = (batch, latents.len() / (batch * channels), channels);
        let references = Tensor::from_vec(latents, shape, self.tokens.device())?;
        Ok(Tensor::cat(&[&self.tokens, &references], 1)?)
    }
}

/// How a transformer sees latents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patching {
    /// Latents on a side of a patch.
    pub(super) patch: usize,
    /// Order of the numbers that go in.
    pub(super) order_in: Patches,
    /// Order of the numbers that come out.
    pub(super) order_out: Patches,
}

/// Runs `network` on every group of inputs whose prompts have the same number of tokens; one output for each input, in
/// order. `network` gives tokens of the shape it is given.
pub(super) fn evaluate(
    shape: LatentShape,
    inputs: &[NetworkInput<'_>],
    patching: Patching,
    network: impl Fn(&Stacked<'_>) -> Result<Tensor>,
) -> Result<Vec<Vec<f32>>> {
    each(shape, inputs, |group| {
        let stacked = stack(shape, group, patching)?;
        Ok(network(&stacked)?.flatten_all()?.to_vec1()?)
    })
    .map(|outputs| {
        let unpacked = outputs
            .iter()
            .map(|tokens| unpack(tokens, shape, patching.patch, patching.order_out));
        unpacked.collect()
    })
}

/// Runs `network` on every group of inputs whose prompts have the same number of tokens and that have the same ControlNets
/// and pictures of the same sizes to look at; one output for each input, in order. `network` gives as many numbers for each as `shape` has.
pub(super) fn each(
    shape: LatentShape,
    inputs: &[NetworkInput<'_>],
    network: impl Fn(&[&NetworkInput<'_>]) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<f32>>> {
    let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); inputs.len()];
    while let Some(first) = outputs.iter().position(Vec::is_empty) {
        let words = |index: usize| inputs[index].conditioning.prompt_embeds.dims()[1];
        let members: Vec<usize> = (first..inputs.len())
            .filter(|index| {
                outputs[*index].is_empty()
                    && words(*index) == words(first)
                    && controls::same(inputs[*index].controls, inputs[first].controls)
                    && same_shapes(inputs[*index].references, inputs[first].references)
            })
            .collect();
        let group: Vec<&NetworkInput<'_>> = members.iter().map(|index| &inputs[*index]).collect();
        let result = network(&group)?;
        if result.len() != members.len() * shape.len() || shape.len() == 0 {
            return Err(Error::internal("the network gave too few numbers"));
        }
        for (index, output) in members.into_iter().zip(result.chunks_exact(shape.len())) {
            outputs[index] = output.to_vec();
        }
    }
    Ok(outputs)
}

fn stack<'a>(
    shape: LatentShape,
    group: &[&NetworkInput<'a>],
    patching: Patching,
) -> Result<Stacked<'a>> {
    let patch = patching.patch;
    let grid = (shape.height / patch, shape.width / patch);
    let samples: Vec<f32> = group
        .iter()
        .flat_map(|input| pack(input.sample, shape, patch, patching.order_in))
        .collect();
    let conditionings: Vec<&Conditioning> = group.iter().map(|input| input.conditioning).collect();
    let guidance: Option<Vec<f64>> = conditionings
        .iter()
        .map(|conditioning| conditioning.guidance)
        .collect();
    Ok(Stacked {
        tokens: Tensor::from_vec(
            samples,
            (group.len(), grid.0 * grid.1, patch * patch * shape.channels),
            &Device::Cpu,
        )?,
        grid,
        timesteps: group.iter().map(|input| input.timestep).collect(),
        prompt_embeds: concat(&conditionings, |conditioning| {
            Some(&conditioning.prompt_embeds)
        })?
        .ok_or_else(|| Error::internal("an evaluation without inputs"))?,
        pooled_prompt_embeds: concat(&conditionings, |conditioning| {
            conditioning.pooled_prompt_embeds.as_ref()
        })?,
        guidance: guidance.unwrap_or_default(),
        references: group.iter().map(|input| input.references).collect(),
    })
}
