//! Multistep SDE-DPM-Solver++: Lu et al. 2022, section 6, with fresh noise in every step.
//!
//! Reference: diffusers' `DPMSolverMultistepScheduler` with `algorithm_type` `sde-dpmsolver++`. The steps are those of
//! the sibling `dpmpp_2m`, the weights those of the SDE.

use super::dpmpp_2m::DpmSolverMultistep;
use super::options::{Algorithm, Options};
use crate::Result;

/// The solver for `sigmas`: noise levels, one a step and the final one. A file that asks for another SDE keeps it. `begin`:
/// the first step that is made.
pub(super) fn solver(
    options: &Options<'_>,
    sigmas: &[f32],
    begin: usize,
) -> Result<DpmSolverMultistep> {
    let written = options.algorithm()?;
    let algorithm = if written.is_sde() {
        written
    } else {
        Algorithm::SdeDpmSolverPp
    };
    DpmSolverMultistep::new(options, algorithm, sigmas, begin)
}
