//! Sizes that a configuration names, checked before anything is made of them.

use crate::{Error, Result};

/// Checks that `value` is between 1 and `most`; `field` names it as `transformer/config.json` does.
pub(super) fn within(field: &str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::model(format!(
        "transformer config: `{field}` is {value}, outside 1 to {most}"
    )))
}

/// Checks that the parts of a rotary position fill a head.
pub(super) fn check_axes(field: &str, axes: &[usize], head_dim: usize) -> Result<()> {
    let sum = axes
        .iter()
        .try_fold(0_usize, |sum, axis| sum.checked_add(*axis));
    if axes.iter().all(|axis| axis.is_multiple_of(2)) && sum == Some(head_dim) {
        return Ok(());
    }
    Err(Error::model(format!(
        "transformer config: `{field}` {axes:?} does not fill a head of {head_dim} numbers in pairs"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_fill_a_head_without_going_round() {
        assert!(check_axes("axes", &[16, 56, 56], 128).is_ok());
        assert!(check_axes("axes", &[15, 57, 56], 128).is_err());
        // The sum leaves 64 bits and comes back to 128.
        assert!(check_axes("axes", &[1 << 63, 1 << 63, 128], 128).is_err());
    }
}
