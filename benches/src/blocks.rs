//! What products with weights in blocks take beside the same products with plain weights.
//!
//! The shapes are those of FLUX.1's layers: the text's tokens, a picture of 512x512, and one vector of a modulation. Each line
//! is the median of runs that take turns with the plain product's.

use std::time::Instant;

use imgd_engine::kernels::cpu::{
    self, BlockFormat, BlockMatrix, Extras, Format, MatmulShape, Numbers, Panels,
};

use crate::Failure;

const SHAPES: [(usize, usize, usize); 4] = [
    (1, 3072, 18_432),
    (256, 3072, 3072),
    (1536, 3072, 3072),
    (1536, 3072, 12_288),
];
const FORMATS: [BlockFormat; 7] = [
    BlockFormat::Q4_0,
    BlockFormat::Q5_0,
    BlockFormat::Q8_0,
    BlockFormat::Q3K,
    BlockFormat::Q4K,
    BlockFormat::Q5K,
    BlockFormat::Q6K,
];

/// Times every format on every shape in products of `format`, `runs` times each.
pub(crate) fn run(format: Format, runs: usize) -> Result<(), Failure> {
    println!(
        "{} threads, {}; products of {format:?}; ms, and how many times the plain product's",
        std::thread::available_parallelism()?,
        cpu::instruction_set().name(),
    );
    for (rows, depth, columns) in SHAPES {
        let x: Vec<half::bf16> = (0..rows * depth)
            .map(|at| half::bf16::from_f32((at % 1013) as f32 / 1013.0 - 0.5))
            .collect();
        let single: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        let x = match format {
            Format::F32 => Numbers::F32(&single),
            Format::Bf16 => Numbers::Bf16(&x),
        };
        let mut weights = Vec::new();
        for blocks in FORMATS {
            // Halves of 0x1111 are small numbers, whatever stands where.
            let bytes = vec![0x11; columns * blocks.row_bytes(depth)];
            weights.push(BlockMatrix::new(blocks, depth, bytes));
        }
        let plain = Panels::from_linear(&weights[0].to_f32(), columns, depth, format);
        let mut all = vec![plain];
        all.extend(
            weights
                .into_iter()
                .map(|weight| Panels::from_blocks(weight, false, format)),
        );
        let times = medians(&all, x, rows, runs);
        print!("{rows}x{depth}x{columns}: plain {:.2}", times[0] * 1e3);
        for (blocks, time) in FORMATS.iter().zip(&times[1..]) {
            print!(
                "  {} {:.2} ({:.2})",
                blocks.name(),
                time * 1e3,
                time / times[0]
            );
        }
        println!();
    }
    Ok(())
}

/// Seconds of a product with each of the weights.
fn medians(weights: &[Panels], x: Numbers<'_>, rows: usize, runs: usize) -> Vec<f64> {
    let shape = MatmulShape { elements: 1, rows };
    let mut times = vec![Vec::new(); weights.len()];
    for round in 0..=runs {
        for (weight, times) in weights.iter().zip(&mut times) {
            let start = Instant::now();
            drop(cpu::matmul(x, shape, weight, &Extras::NONE, Format::F32));
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}
