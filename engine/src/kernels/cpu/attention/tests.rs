//! Attention against sums in `f64`.

use half::bf16;

use super::*;

/// Numbers between `-size` and `size`.
fn numbers<T: Operand>(count: usize, size: f32, seed: usize) -> Vec<T> {
    (0..count)
        .map(|i| {
            let digit = (i * 7919 + seed * 104_729) % 2003;
            T::from_f32((digit as f32 / 1001.0 - 1.0) * size)
        })
        .collect()
}

/// The result in `f64`, from the numbers as they are.
fn exact<T: Operand>(
    [query, key, value]: [&[T]; 3],
    shape: AttentionShape,
    bias: Option<&[f32]>,
) -> Vec<f64> {
    let (width, dim) = (shape.width(), shape.head_dim);
    let number = |of: &[T], at: usize| f64::from(of[at].to_f32());
    let mut result = Vec::new();
    for row in 0..shape.elements * shape.queries {
        let (element, q) = (row / shape.queries, row % shape.queries);
        let seen = if shape.causal {
            shape.keys.min(q + 1)
        } else {
            shape.keys
        };
        for head in 0..shape.heads {
            let at = |token: usize, d: usize| token * width + head * dim + d;
            let key_row = |k: usize| element * shape.keys + k;
            let scores: Vec<f64> = (0..seen)
                .map(|k| {
                    let products = (0..dim)
                        .map(|d| number(query, at(row, d)) * number(key, at(key_row(k), d)));
                    let score = products.sum::<f64>();
                    match bias {
                        Some(bias) => {
                            let row = (head * shape.queries + q) * shape.keys;
                            score + f64::from(bias[row + k])
                        }
                        None => score / (dim as f64).sqrt(),
                    }
                })
                .collect();
            let highest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            result.extend((0..dim).map(|d| {
                let products = weights.iter().enumerate();
                products
                    .map(|(k, w)| w * number(value, at(key_row(k), d)))
                    .sum::<f64>()
                    / sum
            }));
        }
    }
    result
}

fn check<T: Operand>(shape: AttentionShape, size: f32, within: f64) {
    let width = shape.width();
    let query = numbers::<T>(shape.elements * shape.queries * width, size, 1);
    let key = numbers::<T>(shape.elements * shape.keys * width, size, 2);
    let value = numbers::<T>(shape.elements * shape.keys * width, 1.0, 3);
    let bias = numbers::<f32>(shape.heads * shape.queries * shape.keys, 3.0, 4);
    for bias in [None, Some(&bias[..])] {
        let added = bias.map(|numbers| Bias { numbers });
        let got = run(&query, &key, &value, shape, added);
        let expected = exact([&query, &key, &value], shape, bias);
        // Scores that are not scaled are larger by the root of the numbers of a head, and so is what rounding does to them.
        let root = if bias.is_some() {
            (shape.head_dim as f64).sqrt()
        } else {
            1.0
        };
        let within = within * root;
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = (f64::from(got.to_f32()) - expected).abs();
            assert!(error < within, "{shape:?} of {size}, {i}: {error}");
        }
    }
}

/// Odd numbers of everything; scores so small that they are bounded, and so large that the greatest must be known.
#[test]
fn results_are_right_in_both_formats_whatever_the_scores() {
    for (queries, keys, heads, head_dim, causal) in [
        (1, 1, 1, 1, false),
        (5, 77, 3, 40, false),
        (97, 300, 2, 24, false),
        (77, 77, 2, 64, true),
        (130, 130, 1, 160, true),
        (300, 300, 1, 33, true),
        (16, 515, 2, 80, false),
    ] {
        let shape = AttentionShape {
            elements: 2,
            queries,
            keys,
            heads,
            head_dim,
            causal,
        };
        for size in [1.0, 10.0] {
            check::<f32>(shape, size, 2e-4);
            check::<bf16>(shape, size, 1e-2);
        }
    }
}

/// A token that is no number spoils the rows that see it and no other.
#[test]
fn no_number_stays_none() {
    let shape = AttentionShape {
        elements: 1,
        queries: 2,
        keys: 40,
        heads: 1,
        head_dim: 16,
        causal: true,
    };
    for size in [1.0, 10.0] {
        let query = numbers::<f32>(32, size, 1);
        let mut key = numbers::<f32>(640, size, 2);
        key[16] = f32::NAN;
        let result = run(&query, &key, &numbers::<f32>(640, 1.0, 3), shape, None);
        assert!(result[..16].iter().all(|x| x.is_finite()), "{size}");
        assert!(result[16..].iter().all(|x| x.is_nan()), "{size}");
    }
}
