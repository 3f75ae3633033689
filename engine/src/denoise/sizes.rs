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
    if axes.iter().all(|axis| axis.is_multiple_of(2)) && axes.iter().sum::<usize>() == head_dim {
        return Ok(());
    }
    Err(Error::model(format!(
        "transformer config: `{field}` {axes:?} does not fill a head of {head_dim} numbers in pairs"
    )))
}
