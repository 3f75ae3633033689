//! Functions of one number, without branches so that loops over them become vector instructions.
//!
//! All of them pass NaN on: a network that has gone wrong must be seen to have gone wrong.

use half::bf16;

use crate::kernels::Activation;

/// The nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub(super) fn to_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A NaN whose upper half is that of infinity would become infinity.
    let bits = if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    };
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is empty")]
    bf16::from_bits(bits as u16)
}

#[inline(always)]
pub(super) fn from_bf16(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

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

/// `e^x` as exact as a bf16 can show: within 1e-5 of it.
#[inline(always)]
pub(super) fn exp_to_bf16(x: f32) -> f32 {
    const LOWEST: f32 = -87.33;
    const HIGHEST: f32 = 88.37;
    const ROUND: f32 = 12_582_912.0;
    let x = if x < LOWEST { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let scaled = x * std::f32::consts::LOG2_E;
    let shifted = scaled + ROUND;
    // Between -1/2 and 1/2; a minimax polynomial of 2^r there.
    let r = scaled - (shifted - ROUND);
    let p = 9.582_83e-3;
    let p = p * r + 5.590_642e-2;
    let p = p * r + 2.402_41e-1;
    let p = p * r + 6.931_242e-1;
    let p = p * r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// `1 / x` for `x` from 1 to 1e37, within 1e-5 of it: a guess from the exponent's bits, and Newton's steps.
#[inline(always)]
fn reciprocal_to_bf16(x: f32) -> f32 {
    let r = f32::from_bits(0x7ef3_11c7_u32.wrapping_sub(x.to_bits()));
    let r = r * (2.0 - x * r);
    let r = r * (2.0 - x * r);
    r * (2.0 - x * r)
}

/// [`silu`] as exact as a bf16 can show.
#[inline(always)]
pub(super) fn silu_to_bf16(x: f32) -> f32 {
    // Beyond this it is 0 to a bf16, and the reciprocal of a number too great is none.
    const LOWEST: f32 = -80.0;
    let limited = if x < LOWEST { LOWEST } else { x };
    x * reciprocal_to_bf16(1.0 + exp_to_bf16(-limited))
}

/// [`gelu`] as exact as a bf16 can show. The normal distribution by Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub(super) fn gelu_to_bf16(x: f32) -> f32 {
    let a = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let a = if a > 8.5 { 8.5 } else { a };
    let t = reciprocal_to_bf16(1.0 + 0.327_591_1 * a);
    let p = 1.061_405_4;
    let p = p * t + -1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t + -0.284_496_7;
    let p = p * t + 0.254_829_6;
    let below = 0.5 * x.abs() * p * t * exp_to_bf16(-a * a);
    if x < 0.0 { -below } else { x - below }
}

/// `1 - erf(x)` for `x >= 0`, with a small relative error however small it gets.
///
/// `t e^(-x^2 + P(t))` with `t = 1 / (1 + x / 2)`; a Chebyshev fit, Numerical Recipes `erfcc`.
#[inline(always)]
fn complementary_erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let p = 0.170_872_77;
    let p = p * t + -0.822_152_2;
    let p = p * t + 1.488_515_9;
    let p = p * t + -1.135_204;
    let p = p * t + 0.278_868_08;
    let p = p * t + -0.186_288_06;
    let p = p * t + 0.096_784_18;
    let p = p * t + 0.374_091_96;
    let p = p * t + 1.000_023_7;
    let p = p * t + -1.265_512_2;
    // Beyond this it is 0 to single precision, and a processor is slow with numbers that small.
    const LOWEST: f32 = -75.0;
    let exponent = p - x * x;
    t * exp(if exponent < LOWEST { LOWEST } else { exponent })
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let below = 0.5 * x.abs() * complementary_erf(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
    if x < 0.0 { -below } else { x - below }
}

#[inline(always)]
pub(super) fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, with the tanh as a logistic function.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    /// Twice the root of 2 / pi.
    const SCALE: f32 = 1.595_769;
    let inner = SCALE * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-inner))
}

/// As torch: what is not a number stays so.
#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// Applies `activation` to every number of `values`.
#[inline(always)]
pub(super) fn activate_slice(values: &mut [f32], activation: Activation) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => values.iter_mut().for_each(|v| *v = relu(*v)),
        Activation::Silu => values.iter_mut().for_each(|v| *v = silu(*v)),
        Activation::Gelu => values.iter_mut().for_each(|v| *v = gelu(*v)),
        Activation::QuickGelu => values.iter_mut().for_each(|v| *v = quick_gelu(*v)),
        Activation::GeluTanh => values.iter_mut().for_each(|v| *v = gelu_tanh(*v)),
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
    fn functions_for_bf16_are_exact_enough_for_it() {
        for x in span(-20.0, 20.0) {
            let d = f64::from(x);
            let close = |got: f32, exact: f64, least: f64| {
                assert!(
                    (f64::from(got) - exact).abs() < 1e-4 * exact.abs() + least,
                    "{x}: {got} not {exact}"
                );
            };
            close(exp_to_bf16(x), d.exp(), 0.0);
            close(silu_to_bf16(x), d / (1.0 + (-d).exp()), 1e-9);
            close(gelu_to_bf16(x), f64::from(gelu(x)), 1e-6);
        }
        assert!(exp_to_bf16(f32::NAN).is_nan());
        assert!(silu_to_bf16(f32::NAN).is_nan() && gelu_to_bf16(f32::NAN).is_nan());
        assert!(silu_to_bf16(-1e30).abs() < 1e-3 && (silu_to_bf16(1e30) / 1e30 - 1.0).abs() < 1e-5);
        assert!(exp_to_bf16(-1e30) < 1e-37);
    }

    #[test]
    fn bf16_is_rounded_as_half_rounds_it() {
        for bits in (0..u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            let (ours, theirs) = (to_bf16(x), bf16::from_f32(x));
            assert!(ours == theirs || (ours.is_nan() && theirs.is_nan()), "{x}");
            assert_eq!(from_bf16(theirs).to_bits(), theirs.to_f32().to_bits());
        }
        assert!(to_bf16(f32::from_bits(0x7f80_0001)).is_nan());
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
    fn gelu_tanh_is_exact_to_a_millionth() {
        for x in span(-12.0, 12.0) {
            let d = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (d + 0.044_715 * d * d * d);
            let exact = 0.5 * d * (1.0 + inner.tanh());
            assert!(
                (f64::from(gelu_tanh(x)) - exact).abs() < 2e-6,
                "gelu_tanh({x})"
            );
        }
        assert!(gelu_tanh(f32::NAN).is_nan());
        assert!(gelu_tanh(-1e10).abs() < 1e-20 && gelu_tanh(1e10) == 1e10);
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
