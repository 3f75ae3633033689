//! Functions of one number, without branches so that loops over them become vector instructions.
//!
//! All of them pass NaN on: a network that has gone wrong must be seen to have gone wrong.

use crate::kernels::Activation;

/// `e^x` within 2 units in the last place; arguments beyond the range of `f32` give its ends (about 1e-38 and 1e38).
///
/// Splits `x = n ln 2 + r`, a polynomial for `e^r` (coefficients of Cephes `expf`), `2^n` by the exponent's bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.33;
    const HIGHEST: f32 = 88.37;
    /// Adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < LOWEST { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power_of_two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power_of_two
}

/// The error function within 3e-7: a rational function of `x^2` on `[-4, 4]`, where it reaches one in `f32`.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let s = x * x;
    let p = -2.726_142_3e-10;
    let p = p * s + 2.770_681_4e-8;
    let p = p * s + -2.101_024e-6;
    let p = p * s + -5.692_506_4e-5;
    let p = p * s + -7.349_906_3e-4;
    let p = p * s + -2.954_6e-3;
    let p = p * s + -1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * s + -2.133_740_6e-4;
    let q = q * s + -1.682_827e-3;
    let q = q * s + -7.373_329_2e-3;
    let q = q * s + -1.426_473_9e-2;
    x * p / q
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
pub(super) fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// Applies `activation` to every number of `values`.
#[inline(always)]
pub(super) fn activate_slice(values: &mut [f32], activation: Activation) {
    match activation {
        Activation::Identity => {}
        Activation::Silu => values.iter_mut().for_each(|v| *v = silu(*v)),
        Activation::Gelu => values.iter_mut().for_each(|v| *v = gelu(*v)),
        Activation::QuickGelu => values.iter_mut().for_each(|v| *v = quick_gelu(*v)),
    }
}

/// The sum of `of(x)` over `values`: 16 sums of every sixteenth number in `f32`, added in `f64`.
#[inline(always)]
pub(super) fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, x)| *lane += of(*x));
    }
    lanes
        .iter_mut()
        .zip(rest)
        .for_each(|(lane, x)| *lane += of(*x));
    lanes.iter().map(|lane| f64::from(*lane)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=20_000u16).map(move |i| from + (to - from) * f32::from(i) / 20_000.0)
    }

    /// Taylor series below 3, continued fraction of the complement above.
    fn exact_erf(x: f64) -> f64 {
        let a = x.abs();
        let value = if a < 3.0 {
            let (mut term, mut sum) = (a, a);
            for n in 1..200 {
                let n = f64::from(n);
                term *= -a * a / n;
                sum += term / (2.0 * n + 1.0);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let fraction = (1..=60).rev().fold(a, |f, k| a + f64::from(k) / 2.0 / f);
            1.0 - (-a * a).exp() / fraction / std::f64::consts::PI.sqrt()
        };
        value.copysign(x)
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for x in span(-87.0, 88.0) {
            let exact = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) / exact - 1.0).abs() < 2.4e-7,
                "exp({x}) = {} not {exact}",
                exp(x)
            );
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 1e-37 && exp(1e30) > 1e38);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn gelu_is_exact_to_a_millionth() {
        for x in span(-8.0, 8.0) {
            let exact = 0.5 * f64::from(x) * (1.0 + exact_erf(f64::from(x) / 2f64.sqrt()));
            assert!(
                (f64::from(gelu(x)) - exact).abs() < 1e-6,
                "gelu({x}) = {} not {exact}",
                gelu(x)
            );
        }
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn silu_and_quick_gelu_are_exact_to_a_millionth() {
        for x in span(-30.0, 30.0) {
            let d = f64::from(x);
            assert!((f64::from(silu(x)) - d / (1.0 + (-d).exp())).abs() < 1e-6 * (1.0 + d.abs()));
            assert!(
                (f64::from(quick_gelu(x)) - d / (1.0 + (-1.702 * d).exp())).abs()
                    < 1e-6 * (1.0 + d.abs())
            );
        }
        assert!(silu(f32::NAN).is_nan() && quick_gelu(f32::NAN).is_nan());
        assert!(silu(-200.0).abs() < 1e-30 && silu(f32::MAX) == f32::MAX);
    }
}
