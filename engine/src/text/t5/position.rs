//! Relative positions: how far a key is from a query, in buckets that grow with the distance.
//!
//! Source: transformers `T5Attention._relative_position_bucket`, both directions.

use candle_core::{Device, Tensor};

use super::config::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::Embedding;

/// A number for each bucket and head.
#[derive(Debug, Clone)]
pub(super) struct RelativePositions {
    table: Embedding,
    buckets: usize,
    max_distance: usize,
    heads: usize,
}

impl RelativePositions {
    /// The first block holds the table of all of them.
    pub(super) fn load(first_block: &Loader, config: &Config) -> Result<Self> {
        let buckets = config.relative_attention_num_buckets;
        let heads = config.num_heads;
        let loader = first_block.pp("layer.0.SelfAttention.relative_attention_bias");
        Ok(Self {
            table: Embedding::load(&loader, buckets, heads)?,
            buckets,
            max_distance: config.relative_attention_max_distance,
            heads,
        })
    }

    /// What is added to the scores of `n` tokens: `(heads, n, n)`.
    pub(super) fn bias(&self, n: usize) -> Result<Tensor> {
        let mut numbers = vec![0f32; self.heads * n * n];
        for query in 0..n {
            for key in 0..n {
                let bucket = bucket(query, key, self.buckets, self.max_distance);
                let row = self.table.row(bucket).unwrap_or_default();
                for (head, number) in row.iter().enumerate() {
                    numbers[(head * n + query) * n + key] = *number;
                }
            }
        }
        Ok(Tensor::from_vec(numbers, (self.heads, n, n), &Device::Cpu)?)
    }
}

/// The bucket of a key as seen from a query.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "distances are small; the reference computes in f32 and truncates"
)]
fn bucket(query: usize, key: usize, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let after = if key > query { half } else { 0 };
    let distance = key.abs_diff(query);
    let exact = half / 2;
    if distance < exact {
        return after + distance;
    }
    let share =
        (distance as f32 / exact as f32).ln() / ((max_distance as f64 / exact as f64).ln() as f32);
    let far = exact + (share * (half - exact) as f32) as usize;
    after + far.min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of transformers' function for 32 buckets and a distance of 128.
    #[test]
    fn buckets_are_transformers() {
        let before: Vec<usize> = [
            0, 1, 7, 8, 11, 12, 16, 22, 23, 32, 63, 64, 90, 91, 127, 128, 500,
        ]
        .iter()
        .map(|distance| bucket(*distance, 0, 32, 128))
        .collect();
        assert_eq!(
            before,
            [0, 1, 7, 8, 8, 9, 10, 10, 11, 12, 13, 14, 14, 15, 15, 15, 15]
        );
        assert_eq!(bucket(0, 1, 32, 128), 17);
        assert_eq!(bucket(0, 500, 32, 128), 31);
    }
}
