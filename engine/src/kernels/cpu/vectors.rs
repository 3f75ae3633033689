//! Functions of sixteen numbers at a time whose results are kept in bf16: softmax weights, gates, activated norms.
//!
//! They are as exact as a bf16 can show, and use what AVX-512 has for it: powers of two, a reciprocal of 14 bits, and
//! the rounding to bf16. The same in plain Rust is in [`super::math`].

use std::arch::x86_64::{
    __m512, __mmask16, _CMP_LT_OQ, _mm256_mask_storeu_epi16, _mm512_abs_ps, _mm512_add_epi32,
    _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
    _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_loadu_ps,
    _mm512_mask_blend_ps, _mm512_maskz_loadu_ps, _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_min_ps,
    _mm512_mul_ps, _mm512_rcp14_ps, _mm512_reduce_ps, _mm512_scalef_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_ps,
};
use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use half::bf16;

use super::attention::{BLOCK, CHUNK, LANES, Scores};
use super::panels::PANEL;

/// `2^x`, within 5e-6 of it; below the least normal number, that: a processor is slow with those below it.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exp2(x: __m512) -> __m512 {
    // Of two numbers of which one is none, the second is taken: a NaN stays one.
    let x = _mm512_max_ps(_mm512_set1_ps(-126.0), x);
    // What is above the integer below; a minimax polynomial of 2^r there.
    let r = _mm512_reduce_ps::<0x09>(x);
    let p = _mm512_set1_ps(1.353_416_7e-2);
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.201_146_7e-2));
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.414_427_5e-1));
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.930_038_4e-1));
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.000_002_6));
    // Multiplies by two to the integer below.
    _mm512_scalef_ps(p, x)
}

/// `x * sigmoid(x)`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn silu(x: __m512) -> __m512 {
    let e = exp2(_mm512_mul_ps(x, _mm512_set1_ps(-LOG2_E)));
    _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(e, _mm512_set1_ps(1.0))))
}

/// `x * Phi(x)`; the normal distribution by Abramowitz and Stegun 7.1.26.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn gelu(x: __m512) -> __m512 {
    let size = _mm512_abs_ps(x);
    // Beyond this the result is 0 to a bf16, and the numbers on the way would be too small to be fast.
    let a = _mm512_min_ps(
        _mm512_set1_ps(8.5),
        _mm512_mul_ps(size, _mm512_set1_ps(FRAC_1_SQRT_2)),
    );
    let one = _mm512_set1_ps(1.0);
    let t = _mm512_rcp14_ps(_mm512_fmadd_ps(a, _mm512_set1_ps(0.327_591_1), one));
    let p = _mm512_set1_ps(1.061_405_4);
    let p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453_152));
    let p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421_413_7));
    let p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284_496_7));
    let p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254_829_6));
    let e = exp2(_mm512_mul_ps(_mm512_mul_ps(a, a), _mm512_set1_ps(-LOG2_E)));
    let half = _mm512_mul_ps(size, _mm512_set1_ps(0.5));
    let below = _mm512_mul_ps(_mm512_mul_ps(p, t), _mm512_mul_ps(half, e));
    let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps());
    _mm512_mask_blend_ps(
        negative,
        _mm512_sub_ps(x, below),
        _mm512_sub_ps(_mm512_setzero_ps(), below),
    )
}

/// The first `count` lanes.
fn first(count: usize) -> __mmask16 {
    if count >= LANES {
        u16::MAX
    } else {
        (1 << count) - 1
    }
}

/// Rounds the lanes in `mask` to `to`.
///
/// # Safety
/// `to` is writable for them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn store(to: *mut bf16, mask: __mmask16, x: __m512) {
    // SAFETY: both are 256 bits; only the lanes in the mask are written.
    unsafe {
        let rounded = std::mem::transmute::<std::arch::x86_64::__m256bh, std::arch::x86_64::__m256i>(
            _mm512_cvtneps_pbh(x),
        );
        _mm256_mask_storeu_epi16(to.cast(), mask, rounded);
    }
}

/// Rounds 32 numbers to `to`.
///
/// # Safety
/// `to` is writable for them.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn store_two(to: *mut bf16, low: __m512, high: __m512) {
    // SAFETY: both are 512 bits, and `to` has room for them.
    unsafe {
        let rounded = std::mem::transmute::<std::arch::x86_64::__m512bh, std::arch::x86_64::__m512i>(
            _mm512_cvtne2ps_pbh(high, low),
        );
        _mm512_storeu_si512(to.cast(), rounded);
    }
}

/// `2^x`, within 8e-5 of it, for a result well within the range of f32.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exp2_bounded(x: __m512) -> __m512 {
    // A number of this size has no bits below one: adding it rounds to an integer, which is then in the lowest bits.
    let magic = _mm512_set1_ps(12_582_912.0);
    let rounded = _mm512_add_ps(x, magic);
    let r = _mm512_sub_ps(x, _mm512_sub_ps(rounded, magic));
    let p = _mm512_set1_ps(5.517_167e-2);
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.426_111_4e-1));
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.932_609_7e-1));
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.999_280_6e-1));
    let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(rounded));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent))
}

/// Softmax weights of some scores: see `Softmax::weigh` in [`super::attention`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) fn weigh(
    of: &Scores,
    scores: &[f32],
    weights: &mut [bf16],
    width: usize,
    highest: &[f32; BLOCK],
    sums: &mut [[f32; LANES]; BLOCK],
) {
    assert!(
        width.is_multiple_of(PANEL) && width >= of.columns && width <= of.stride,
        "rows of scores and weights"
    );
    let scale = _mm512_set1_ps(of.scale * LOG2_E);
    for r in 0..of.rows {
        let offset = _mm512_set1_ps(highest[r] * LOG2_E);
        let seen = of.seen_by(r);
        let scores = &scores[r * of.stride..][..width];
        let weights = &mut weights[r * CHUNK..][..width];
        let pairs = scores.as_chunks::<PANEL>().0;
        // SAFETY: vectors lie in the chunks.
        unsafe {
            let mut sum = _mm512_loadu_ps(sums[r].as_ptr());
            for (i, (pair, to)) in pairs
                .iter()
                .zip(weights.as_chunks_mut::<PANEL>().0)
                .enumerate()
            {
                let low = _mm512_loadu_ps(pair.as_ptr());
                let high = _mm512_loadu_ps(pair[LANES..].as_ptr());
                let (mut low, mut high) = if of.is_bounded {
                    (
                        exp2_bounded(_mm512_mul_ps(low, scale)),
                        exp2_bounded(_mm512_mul_ps(high, scale)),
                    )
                } else {
                    (
                        exp2(_mm512_fmsub_ps(low, scale, offset)),
                        exp2(_mm512_fmsub_ps(high, scale, offset)),
                    )
                };
                let rest = seen.saturating_sub(i * PANEL);
                if rest < PANEL {
                    low = _mm512_maskz_mov_ps(first(rest), low);
                    high = _mm512_maskz_mov_ps(first(rest.saturating_sub(LANES)), high);
                }
                sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
                store_two(to.as_mut_ptr(), low, high);
            }
            _mm512_storeu_ps(sums[r].as_mut_ptr(), sum);
        }
    }
}

/// `a = (a + a_bias) * gelu(b + b_bias)` for rows of 32.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn gate(a: &mut [f32], b: &[f32], a_bias: &[f32; PANEL], b_bias: &[f32; PANEL]) {
    let rows = a.as_chunks_mut::<LANES>().0.iter_mut();
    for (i, (a, b)) in rows.zip(b.as_chunks::<LANES>().0).enumerate() {
        let half = i % 2 * LANES;
        // SAFETY: the vectors lie in their chunks and in the halves of the biases.
        unsafe {
            let load = |bias: &[f32; PANEL]| _mm512_loadu_ps(bias[half..].as_ptr());
            let gate = _mm512_add_ps(_mm512_loadu_ps(b.as_ptr()), load(b_bias));
            let value = _mm512_add_ps(_mm512_loadu_ps(a.as_ptr()), load(a_bias));
            _mm512_storeu_ps(a.as_mut_ptr(), _mm512_mul_ps(value, gelu(gate)));
        }
    }
}

/// `to = silu(pixel * scale + shift)` for every pixel of as many channels as `scale` has; without `SILU`, not activated.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) fn scale<const SILU: bool>(
    pixels: &[f32],
    scale: &[f32],
    shift: &[f32],
    to: &mut [bf16],
) {
    let channels = scale.len();
    assert_eq!(
        (shift.len(), to.len()),
        (channels, pixels.len()),
        "numbers of a norm"
    );
    let pixels = pixels.chunks_exact(channels);
    for (pixel, to) in pixels.zip(to.chunks_exact_mut(channels)) {
        for c in (0..channels).step_by(LANES) {
            let mask = first(channels - c);
            // SAFETY: the masked lanes lie in the pixel, its result and the channels' numbers.
            unsafe {
                let load = |x: &[f32]| _mm512_maskz_loadu_ps(mask, x[c..].as_ptr());
                let x = _mm512_fmadd_ps(load(pixel), load(scale), load(shift));
                let x = if SILU { silu(x) } else { x };
                store(to[c..].as_mut_ptr(), mask, x);
            }
        }
    }
}

/// Rounds every number.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn narrow(from: &[f32], to: &mut [bf16]) {
    assert_eq!(from.len(), to.len(), "a result for each number");
    let (pairs, rest) = from.as_chunks::<{ 2 * LANES }>();
    let (to, to_rest) = to.as_chunks_mut::<{ 2 * LANES }>();
    // SAFETY: vectors lie in the chunks, and masked lanes in the rest.
    unsafe {
        for (pair, to) in pairs.iter().zip(to) {
            let low = _mm512_loadu_ps(pair.as_ptr());
            store_two(
                to.as_mut_ptr(),
                low,
                _mm512_loadu_ps(pair[LANES..].as_ptr()),
            );
        }
        for (rest, to) in rest.chunks(LANES).zip(to_rest.chunks_mut(LANES)) {
            let mask = first(rest.len());
            store(
                to.as_mut_ptr(),
                mask,
                _mm512_maskz_loadu_ps(mask, rest.as_ptr()),
            );
        }
    }
}
