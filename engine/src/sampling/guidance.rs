//! Guidance: how the network's answers with and without the prompt become one.

/// Classifier-free guidance: goes from the answer without the prompt past the one with it.
///
/// `unconditional` and `conditional` are of one length; so is the result. Source: Ho & Salimans 2022, "Classifier-Free
/// Diffusion Guidance", with the scale as diffusers counts it (1 is the prompt's own answer).
pub fn classifier_free(
    mut unconditional: Vec<f32>,
    conditional: &[f32],
    guidance_scale: f64,
) -> Vec<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "torch multiplies a float32 tensor by it"
    )]
    let scale = guidance_scale as f32;
    for (without, with) in unconditional.iter_mut().zip(conditional) {
        *without += scale * (with - *without);
    }
    unconditional
}

/// Guidance counted from the prompt's own answer, which a scale of 0 leaves as it is. Source: diffusers `ZImagePipeline`.
pub fn from_prompt(
    mut unconditional: Vec<f32>,
    conditional: &[f32],
    guidance_scale: f64,
) -> Vec<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "torch multiplies a float32 tensor by it"
    )]
    let scale = guidance_scale as f32;
    for (without, with) in unconditional.iter_mut().zip(conditional) {
        *without = with + scale * (with - *without);
    }
    unconditional
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_one_is_the_prompts_own_answer_and_zero_the_other() {
        assert_eq!(
            classifier_free(vec![1.0, -2.0], &[3.0, 0.5], 1.0),
            [3.0, 0.5]
        );
        assert_eq!(
            classifier_free(vec![1.0, -2.0], &[3.0, 0.5], 0.0),
            [1.0, -2.0]
        );
        assert_eq!(classifier_free(vec![1.0], &[3.0], 7.5), [16.0]);
    }
}
