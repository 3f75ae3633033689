//! Box-Muller on groups of 16 numbers in single precision, as torch's AVX2 code computes it.
//!
//! On x86-64 torch takes logarithm, sine and cosine from the single-precision polynomials of the Cephes library, with
//! multiplications and additions fused where its compiler fuses them. Those choices decide the last bit of the noise,
//! so they are written out here (`mul_add` is a fused operation on every machine) and hold on every machine.

/// Turns 16 uniform numbers of `[0, 1)` into 16 normal ones in place: the first eight are radii, the others angles.
pub(super) fn transform_16(group: &mut [f32]) {
    let (radii, angles) = group.split_at_mut(8);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * ln(1.0 - *first)).sqrt();
        let (sine, cosine) = sin_cos(std::f32::consts::TAU * *second);
        *first = radius * cosine;
        *second = radius * sine;
    }
}

/// Natural logarithm of a normal positive number: Cephes `logf`.
fn ln(x: f32) -> f32 {
    const POLYNOMIAL: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const LN_2_HIGH: f32 = 0.693_359_4;

    let bits = x.max(f32::MIN_POSITIVE).to_bits();
    // x = 2^exponent * mantissa, mantissa in [0.5, 1), then moved to around 1
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000);
    let exponent = (bits >> 23) as f32 - 126.0;
    let small = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let exponent = if small { exponent - 1.0 } else { exponent };
    let m = if small {
        (mantissa - 1.0) + mantissa
    } else {
        mantissa - 1.0
    };

    let square = m * m;
    let polynomial = POLYNOMIAL[1..]
        .iter()
        .fold(POLYNOMIAL[0], |sum, &coefficient| {
            sum.mul_add(m, coefficient)
        });
    let tail = (polynomial * m).mul_add(square, exponent * LN_2_LOW);
    let tail = (-square).mul_add(0.5, tail);
    exponent.mul_add(LN_2_HIGH, m + tail)
}

/// Sine and cosine of an angle in `[0, 2 pi)`: Cephes `sinf` and `cosf`.
fn sin_cos(x: f32) -> (f32, f32) {
    /// Pi/4 as a sum of three, so that the reduction loses nothing.
    const QUARTER_PI: [f32; 3] = [-0.785_156_25, -2.418_756_5e-4, -3.774_895e-8];
    const SINE: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COSINE: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];
    const FOUR_OVER_PI: f32 = 1.273_239_5;

    #[expect(clippy::cast_possible_truncation, reason = "an octant from 0 to 8")]
    let octant = ((x * FOUR_OVER_PI) as u32 + 1) & !1;
    let turns = octant as f32;
    let x = QUARTER_PI
        .iter()
        .fold(x, |rest, &part| turns.mul_add(part, rest)); // in [-pi/4, pi/4]

    let square = x * x;
    let cosine = COSINE[0]
        .mul_add(square, COSINE[1])
        .mul_add(square, COSINE[2])
        * square;
    let cosine = cosine.mul_add(square, -(square * 0.5)) + 1.0;
    let sine = SINE[0].mul_add(square, SINE[1]).mul_add(square, SINE[2]) * square;
    let sine = sine.mul_add(x, x);

    let swapped = octant & 2 != 0;
    let (sine, cosine) = if swapped {
        (cosine, sine)
    } else {
        (sine, cosine)
    };
    let sine = if octant & 4 != 0 { -sine } else { sine };
    let cosine = if octant.wrapping_sub(2) & 4 == 0 {
        -cosine
    } else {
        cosine
    };
    (sine, cosine)
}
