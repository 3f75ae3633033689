//! The quantile of a symmetric beta distribution, in double precision.
//!
//! The regularised incomplete beta function by the continued fraction of Lentz (Numerical Recipes, section 6.4),
//! inverted by bisection that Newton's method finishes.

/// The `x` at which the cumulative distribution of Beta(`shape`, `shape`) is `probability`, both in `[0, 1]`.
///
/// `shape`: between 0 and 1. Relative error about 1e-13 near 0; absolute near 1.
pub(super) fn beta_quantile(probability: f64, shape: f64) -> f64 {
    if probability <= 0.0 {
        return 0.0;
    }
    if probability > 0.5 {
        return 1.0 - beta_quantile(1.0 - probability, shape);
    }
    let normaliser = 2.0 * ln_gamma(shape) - ln_gamma(2.0 * shape);
    // F(x) is close to x^shape / (shape B), so log x is close to linear in log F: bisect and step there
    let (mut low, mut high) = (-750.0_f64, 0.5_f64.ln());
    let mut log_x = ((probability.ln() + shape.ln() + normaliser) / shape).clamp(low, high);
    for _ in 0..200 {
        let x = log_x.exp();
        let log_ratio = (cumulative(x, shape, normaliser) / probability).ln();
        if log_ratio > 0.0 {
            high = log_x;
        } else {
            low = log_x;
        }
        // d ln F / d ln x = x f(x) / F(x)
        let density = ((shape - 1.0) * (log_x + (-x).ln_1p()) - normaliser).exp();
        let slope = x * density / (probability * log_ratio.exp());
        let step = log_ratio / slope;
        let next = log_x - step;
        let next = if next > low && next < high {
            next
        } else {
            0.5 * (low + high)
        };
        if (next - log_x).abs() <= 1e-15 * next.abs().max(1.0) {
            return next.exp();
        }
        log_x = next;
    }
    log_x.exp()
}

/// The cumulative distribution for `x` up to one half, where the fraction converges fast.
fn cumulative(x: f64, shape: f64, normaliser: f64) -> f64 {
    let front = (shape * (x.ln() + (-x).ln_1p()) - normaliser).exp() / shape;
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - 2.0 * shape * x / (shape + 1.0)));
    let mut fraction = d;
    for index in 1..500 {
        let m = f64::from(index);
        let even = m * (shape - m) * x / ((shape + 2.0 * m - 1.0) * (shape + 2.0 * m));
        let odd =
            -(shape + m) * (2.0 * shape + m) * x / ((shape + 2.0 * m) * (shape + 2.0 * m + 1.0));
        for coefficient in [even, odd] {
            d = 1.0 / (1.0 + coefficient * d);
            c = 1.0 + coefficient / c;
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

/// Logarithm of the gamma function for `x` above 0: Stirling's series after shifting `x` beyond 20.
fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut x = x;
    while x < 20.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.beta.ppf(p, 0.6, 0.6)`; the program is in `golden/make_golden.py`.
    #[test]
    fn quantiles_are_scipys() {
        let golden: Vec<(f64, f64)> =
            serde_json::from_str(include_str!("golden/beta.json")).unwrap();
        assert!(golden.len() > 20);
        for (probability, expected) in golden {
            let quantile = beta_quantile(probability, 0.6);
            assert!(
                (quantile - expected).abs() <= 1e-12 * expected,
                "{probability}: {quantile} {expected}"
            );
        }
    }
}
