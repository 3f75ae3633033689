//! Blocks give ggml's numbers, and products with blocks those of products with their numbers.

use serde::Deserialize;
use sha2::Digest;

use super::super::{
    Buffer, Extras, Format, GateExtras, MatmulShape, Numbers, Panels, gated, matmul,
};
use super::{BlockFormat, BlockMatrix};
use crate::kernels::Activation;

const ALL: [BlockFormat; 10] = [
    BlockFormat::Q4_0,
    BlockFormat::Q4_1,
    BlockFormat::Q5_0,
    BlockFormat::Q5_1,
    BlockFormat::Q8_0,
    BlockFormat::Q2K,
    BlockFormat::Q3K,
    BlockFormat::Q4K,
    BlockFormat::Q5K,
    BlockFormat::Q6K,
];

#[derive(Deserialize)]
struct Golden {
    format: String,
    bytes: String,
    numbers: usize,
    first: Vec<f32>,
    sha256: String,
}

fn golden() -> Vec<(BlockFormat, Vec<u8>, Golden)> {
    let all: Vec<Golden> = serde_json::from_str(include_str!("golden/blocks.json")).unwrap();
    all.into_iter()
        .map(|golden| {
            let format = ALL
                .into_iter()
                .find(|format| format.name() == golden.format);
            let byte = |at| u8::from_str_radix(&golden.bytes[at..at + 2], 16).unwrap();
            let bytes = (0..golden.bytes.len()).step_by(2).map(byte).collect();
            (format.unwrap(), bytes, golden)
        })
        .collect()
}

#[test]
fn every_format_gives_ggmls_numbers() {
    let all = golden();
    assert_eq!(all.len(), ALL.len());
    for (format, bytes, golden) in all {
        let mut numbers = vec![0.0; golden.numbers];
        format.decode(&bytes, &mut numbers);
        assert_eq!(numbers[..8], golden.first, "{}", golden.format);
        let as_bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let sha256 = sha2::Sha256::digest(as_bytes);
        let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.sha256, "{}", golden.format);
    }
}

/// A matrix whose blocks are the golden ones, one after the other.
fn matrix(format: BlockFormat, rows: usize, columns: usize) -> BlockMatrix {
    let (_, bytes, _) = golden().into_iter().find(|(f, ..)| *f == format).unwrap();
    let blocks = bytes.chunks_exact(format.bytes()).cycle();
    let count = rows * columns / format.numbers();
    // Not in step with the rows, so that no two of them are the same for long.
    let bytes = blocks
        .enumerate()
        .filter(|(at, _)| at % 7 != 3)
        .flat_map(|(_, block)| block)
        .copied()
        .take(count * format.bytes())
        .collect();
    BlockMatrix::new(format, columns, bytes)
}

fn input(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (i * 7919 % 1013) as f32 / 512.0 - 1.0)
        .collect()
}

fn numbers(buffer: Buffer) -> Vec<f32> {
    buffer.into_f32()
}

#[test]
fn products_are_those_of_the_decoded_numbers() {
    for format in ALL {
        for (rows, columns) in [(2, 32), (3, 70), (33, 160)] {
            let depth = 512;
            let weight = matrix(format, columns, depth);
            let x = input(rows * depth);
            let shape = MatmulShape { elements: 1, rows };
            for to in [Format::F32, Format::Bf16] {
                let plain = Panels::from_linear(&weight.to_f32(), columns, depth, to);
                let blocks = Panels::from_blocks(weight.clone(), false, to);
                assert_eq!((blocks.columns(), blocks.depth()), (columns, depth));
                assert!(blocks.bytes() < plain.bytes());
                let product = |panels: &Panels| {
                    numbers(matmul(Numbers::F32(&x), shape, panels, &Extras::NONE, to))
                };
                assert_eq!(product(&blocks), product(&plain), "{}", format.name());
            }
        }
    }
}

/// One row of each element: made from the blocks, without panels.
#[test]
fn products_of_single_rows_are_those_of_the_decoded_numbers() {
    // Depths with a rest after whole lanes, columns with a rest after whole panels.
    for (format, depth) in ALL.map(|format| (format, 512)).into_iter().chain([
        (BlockFormat::Q4_0, 32),
        (BlockFormat::Q8_0, 96),
        (BlockFormat::Q5_1, 224),
    ]) {
        let columns = 70;
        let weight = matrix(format, columns, depth);
        let (x, bias, residual) = (input(3 * depth), input(columns), input(3 * columns));
        let all = weight.to_f32();
        let blocks = Panels::from_blocks(weight, false, Format::Bf16);
        let product = |elements: std::ops::Range<usize>, to| {
            let shape = MatmulShape {
                elements: elements.len(),
                rows: 1,
            };
            let extras = Extras {
                bias: Some(&bias),
                residual: Some(&residual[elements.start * columns..elements.end * columns]),
                ..Extras::NONE
            };
            let x = &x[elements.start * depth..elements.end * depth];
            numbers(matmul(Numbers::F32(x), shape, &blocks, &extras, to))
        };
        let together = product(0..3, Format::F32);
        for (at, value) in together.iter().enumerate() {
            let (element, column) = (at / columns, at % columns);
            let row = &all[column * depth..][..depth];
            let exact: f64 = row
                .iter()
                .zip(&x[element * depth..])
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum();
            let size: f64 = row.iter().map(|a| f64::from(a.abs())).sum();
            let exact = exact + f64::from(bias[column]) + f64::from(residual[at]);
            let error = (f64::from(*value) - exact).abs();
            assert!(
                error <= 1e-6 * (size + 2.0),
                "{} {depth}: {value} for {exact}",
                format.name()
            );
        }
        let alone: Vec<f32> = (0..3)
            .flat_map(|element| product(element..element + 1, Format::F32))
            .collect();
        assert_eq!(alone, together, "alone and in a batch");
        let rounded: Vec<f32> = together
            .iter()
            .map(|value| half::bf16::from_f32(*value).to_f32())
            .collect();
        assert_eq!(product(0..3, Format::Bf16), rounded);
    }
}

#[test]
fn gated_products_are_those_of_the_decoded_numbers() {
    for format in [BlockFormat::Q4_0, BlockFormat::Q5K] {
        let (rows, columns, depth) = (5, 50, 256);
        let weight = matrix(format, 2 * columns, depth);
        let x = input(rows * depth);
        let shape = MatmulShape { elements: 1, rows };
        let extras = GateExtras {
            bias: None,
            gate: Activation::Gelu,
            columns,
        };
        for to in [Format::F32, Format::Bf16] {
            let plain = Panels::from_gated_linear(&weight.to_f32(), columns, depth, to);
            let blocks = Panels::from_blocks(weight.clone(), true, to);
            let product =
                |panels: &Panels| numbers(gated(Numbers::F32(&x), shape, panels, extras, to));
            assert_eq!(product(&blocks), product(&plain));
        }
    }
}

/// More panels than are there at a time.
#[test]
fn large_products_go_on_where_the_part_before_ended() {
    let (rows, columns, depth) = (2, 9000, 288);
    let weight = matrix(BlockFormat::Q8_0, columns, depth);
    let (x, bias) = (input(rows * depth), input(columns));
    let shape = MatmulShape { elements: 1, rows };
    let extras = Extras {
        bias: Some(&bias),
        ..Extras::NONE
    };
    let plain = Panels::from_linear(&weight.to_f32(), columns, depth, Format::F32);
    let blocks = Panels::from_blocks(weight, false, Format::F32);
    let product = |panels: &Panels| {
        numbers(matmul(
            Numbers::F32(&x),
            shape,
            panels,
            &extras,
            Format::F32,
        ))
    };
    assert!(product(&blocks) == product(&plain));
}

#[test]
fn columns_are_cut_at_blocks_only() {
    let weight = matrix(BlockFormat::Q4_0, 3, 128);
    let part = weight.with_columns(32..96).unwrap();
    let all = weight.to_f32();
    let expected: Vec<f32> = all
        .chunks(128)
        .flat_map(|row| &row[32..96])
        .copied()
        .collect();
    assert_eq!(part.to_f32(), expected);
    assert!(weight.with_columns(16..96).is_none());
    assert!(weight.with_columns(32..32).is_none());
    let both = weight.clone().with_rows(&weight).unwrap();
    assert_eq!(
        (both.rows(), both.to_f32()),
        (6, [all.clone(), all].concat())
    );
}
