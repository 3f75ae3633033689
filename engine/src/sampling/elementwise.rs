//! Arithmetic on tensors that are slices of equal length, one element at a time.

pub(super) fn map(x: &[f32], f: impl Fn(f32) -> f32) -> Vec<f32> {
    x.iter().map(|x| f(*x)).collect()
}

pub(super) fn map2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| f(*x, *y)).collect()
}

pub(super) fn map3(x: &[f32], y: &[f32], z: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> Vec<f32> {
    x.iter()
        .zip(y)
        .zip(z)
        .map(|((x, y), z)| f(*x, *y, *z))
        .collect()
}

/// Adds `scale * y` to `x`.
pub(super) fn add_scaled(x: &mut [f32], scale: f32, y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += scale * y;
    }
}

/// Moves `x` by `dt` along its derivative, the slope of the line to the picture `x0` at noise level `sigma`.
pub(super) fn euler_step(x: &mut [f32], x0: &[f32], sigma: f32, dt: f32) {
    for (x, x0) in x.iter_mut().zip(x0) {
        *x += (*x - x0) / sigma * dt;
    }
}
