//! What each kernel takes on the shapes of real networks, as a share of what the machine can do.
//!
//! Weights are read from memory, not from a cache: as many copies of them take turns as fill the greatest caches, since
//! a network's other layers would have pushed them out too. `--warm` uses one copy.

use std::time::Instant;

use imgd_engine::kernels::Activation;
use imgd_engine::kernels::cpu::{
    self, AttentionShape, Buffer, ConvGeometry, ConvInput, Extras, Format, GateExtras,
    GroupNormShape, MatmulShape, Numbers, Panels, RowNorm, RowScales,
};

use crate::Failure;

/// Bytes of weights that take turns.
const TURNS: usize = 600 << 20;
const BATCHES: [usize; 2] = [1, 2];

/// Times every case in `format`, `runs` times each.
pub(crate) fn run(
    format: Format,
    runs: usize,
    warm: bool,
    filter: Option<&str>,
) -> Result<(), Failure> {
    let limit = cpu::peak(format);
    println!(
        "{} threads, {}; products of {format:?} in the first-level cache: {:.0} GFLOP/s",
        std::thread::available_parallelism()?,
        cpu::instruction_set().name(),
        limit / 1e9
    );
    println!(
        "{:<40} {:>5} {:>9} {:>9} {:>7} {:>8}",
        "", "batch", "ms", "GFLOP/s", "limit", "GB/s"
    );
    for case in cases() {
        if filter.is_some_and(|filter| !case.name().contains(filter)) {
            continue;
        }
        for batch in BATCHES {
            case.time(format, batch, runs, warm, limit);
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Case {
    Conv {
        from: usize,
        to: usize,
        side: usize,
    },
    Double {
        channels: usize,
        side: usize,
    },
    Linear {
        rows: usize,
        from: usize,
        to: usize,
    },
    Geglu {
        rows: usize,
        from: usize,
        to: usize,
    },
    Attention {
        queries: usize,
        keys: usize,
        heads: usize,
        head_dim: usize,
    },
    GroupNorm {
        side: usize,
        channels: usize,
    },
    LayerNorm {
        rows: usize,
        channels: usize,
    },
}

/// The shapes of Stable Diffusion 1.5 at 256 and 512 pixels, of SDXL's widest transformer, and of their autoencoder.
fn cases() -> Vec<Case> {
    use Case::{Attention, Conv, Double, Geglu, GroupNorm, LayerNorm, Linear};
    let conv = |(from, to, side)| Conv { from, to, side };
    let linear = |(rows, from, to)| Linear { rows, from, to };
    let mut cases: Vec<Case> = [
        (4, 320, 64),
        (320, 320, 64),
        (960, 320, 64),
        (320, 320, 32),
        (640, 640, 32),
        (640, 640, 16),
        (1280, 1280, 16),
        (2560, 1280, 16),
        (1280, 1280, 8),
        (2560, 1280, 8),
        (1280, 1280, 4),
        (320, 4, 64),
        (512, 512, 64),
        (512, 512, 128),
        (256, 256, 256),
        (128, 128, 512),
        (128, 3, 512),
    ]
    .map(conv)
    .to_vec();
    cases.extend(
        [(512, 64), (512, 128), (256, 256)].map(|(channels, side)| Double { channels, side }),
    );
    cases.extend(
        [
            (4096, 320, 320),
            (4096, 1280, 320),
            (1024, 640, 640),
            (1024, 2560, 640),
            (1024, 1280, 1280),
            (256, 1280, 1280),
            (256, 5120, 1280),
            (64, 1280, 1280),
            (77, 768, 768),
            (77, 3072, 768),
            (1, 1280, 1280),
        ]
        .map(linear),
    );
    cases.extend(
        [(4096, 320, 1280), (1024, 640, 2560), (256, 1280, 5120)].map(|(rows, from, to)| Geglu {
            rows,
            from,
            to,
        }),
    );
    cases.extend(
        [
            (4096, 4096, 8, 40),
            (4096, 77, 8, 40),
            (1024, 1024, 8, 80),
            (1024, 1024, 20, 64),
            (256, 256, 8, 160),
            (4096, 4096, 1, 512),
        ]
        .map(|(queries, keys, heads, head_dim)| Attention {
            queries,
            keys,
            heads,
            head_dim,
        }),
    );
    cases.extend(
        [(64, 320), (16, 1280), (512, 128)].map(|(side, channels)| GroupNorm { side, channels }),
    );
    cases.extend([(4096, 320), (256, 1280)].map(|(rows, channels)| LayerNorm { rows, channels }));
    cases
}

impl Case {
    fn name(&self) -> String {
        match *self {
            Self::Conv { from, to, side } => format!("conv 3x3 {from}->{to} at {side}"),
            Self::Double { channels, side } => format!("doubling conv {channels} at {side}"),
            Self::Linear { rows, from, to } => format!("linear {rows}x{from}x{to}"),
            Self::Geglu { rows, from, to } => format!("geglu {rows}x{from}x{to}"),
            Self::Attention {
                queries,
                keys,
                heads,
                head_dim,
            } => format!("attention {queries}x{keys} {heads} heads of {head_dim}"),
            Self::GroupNorm { side, channels } => format!("group norm + silu {channels} at {side}"),
            Self::LayerNorm { rows, channels } => format!("layer norm {rows}x{channels}"),
        }
    }

    /// Multiplications and additions of one element, and bytes of activations read and written.
    fn work(&self, format: Format) -> (usize, usize) {
        let size = if format == Format::Bf16 { 2 } else { 4 };
        match *self {
            Self::Conv { from, to, side } => (
                18 * from * to * side * side,
                side * side * (from * size + to * 4),
            ),
            // What the plain way would take.
            Self::Double { channels, side } => (
                72 * channels * channels * side * side,
                20 * side * side * channels,
            ),
            Self::Linear { rows, from, to } => {
                (2 * rows * from * to, rows * (from * size + to * 4))
            }
            Self::Geglu { rows, from, to } => (4 * rows * from * to, rows * (from + to) * size),
            Self::Attention {
                queries,
                keys,
                heads,
                head_dim,
            } => (
                4 * queries * keys * heads * head_dim,
                2 * (queries + keys) * heads * head_dim * size,
            ),
            Self::GroupNorm { side, channels } => (0, side * side * channels * (8 + size)),
            Self::LayerNorm { rows, channels } => (0, rows * channels * (4 + size)),
        }
    }

    fn time(&self, format: Format, batch: usize, runs: usize, warm: bool, limit: f64) {
        let mut kernel = self.kernel(format, batch, warm);
        kernel();
        let mut times: Vec<f64> = (0..runs)
            .map(|_| {
                let at = Instant::now();
                kernel();
                at.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let time = times[runs / 2];
        let (flops, bytes) = self.work(format);
        let per_second = |work: usize| count(work * batch) / time / 1e9;
        let (flops, bytes) = (per_second(flops), per_second(bytes));
        println!(
            "{:<40} {batch:>5} {:>9.3} {flops:>9.0} {:>6.0}% {bytes:>8.1}",
            self.name(),
            time * 1e3,
            flops * 1e11 / limit,
        );
    }

    /// The kernel with its numbers and its weights.
    fn kernel(&self, format: Format, batch: usize, warm: bool) -> Box<dyn FnMut()> {
        match *self {
            Self::Conv { from, to, side } => {
                let x = operand(batch * side * side * from, format, from >= 16);
                let format = if from >= 16 { format } else { Format::F32 };
                let bias = numbers(to);
                let geometry = ConvGeometry {
                    kernel: 3,
                    stride: 1,
                    padding_before: 1,
                    padding_after: 1,
                };
                let mut weights = Turns::new(warm, || {
                    Panels::from_conv2d(&weight(from * to * 9, from * 9), to, from, 3, format)
                });
                Box::new(move || {
                    let extras = Extras {
                        bias: Some(&bias),
                        ..Extras::NONE
                    };
                    let input = input(&x, batch, side, from, side);
                    drop(cpu::conv2d(
                        &input,
                        geometry,
                        weights.next(),
                        &extras,
                        Format::F32,
                    ));
                })
            }
            Self::Double { channels, side } => {
                let x = operand(batch * side * side * channels, Format::F32, true);
                let bias = numbers(channels);
                let weights = cpu::double_weights(
                    &weight(channels * channels * 9, channels * 9),
                    channels,
                    channels,
                    format,
                );
                Box::new(move || {
                    let extras = Extras {
                        bias: Some(&bias),
                        ..Extras::NONE
                    };
                    let input = input(&x, batch, side, channels, 2 * side);
                    drop(cpu::conv2d_doubled(&input, &weights, &extras));
                })
            }
            Self::Linear { rows, from, to } => {
                let x = operand(batch * rows * from, format, true);
                let shape = MatmulShape {
                    elements: batch,
                    rows,
                };
                let mut weights = Turns::new(warm, || {
                    Panels::from_linear(&weight(from * to, from), to, from, format)
                });
                Box::new(move || {
                    drop(cpu::matmul(
                        view(&x),
                        shape,
                        weights.next(),
                        &Extras::NONE,
                        Format::F32,
                    ));
                })
            }
            Self::Geglu { rows, from, to } => {
                let x = operand(batch * rows * from, format, true);
                let bias = numbers(2 * to);
                let shape = MatmulShape {
                    elements: batch,
                    rows,
                };
                let mut weights = Turns::new(warm, || {
                    Panels::from_gated_linear(&weight(2 * from * to, from), to, from, format)
                });
                Box::new(move || {
                    let extras = GateExtras {
                        bias: Some(&bias),
                        gate: Activation::Gelu,
                        columns: to,
                    };
                    drop(cpu::gated(view(&x), shape, weights.next(), extras, format));
                })
            }
            Self::Attention {
                queries,
                keys,
                heads,
                head_dim,
            } => {
                let tokens = |count: usize| operand(batch * count * heads * head_dim, format, true);
                let (query, key, value) = (tokens(queries), tokens(keys), tokens(keys));
                let shape = AttentionShape {
                    elements: batch,
                    queries,
                    keys,
                    heads,
                    head_dim,
                    causal: false,
                };
                Box::new(move || {
                    drop(cpu::attention(
                        view(&query),
                        view(&key),
                        view(&value),
                        shape,
                        None,
                    ));
                })
            }
            Self::GroupNorm { side, channels } => {
                let x = numbers(batch * side * side * channels);
                let (weight, bias) = (numbers(channels), numbers(channels));
                let shape = GroupNormShape {
                    elements: batch,
                    pixels: side * side,
                    channels,
                    groups: 32,
                    epsilon: 1e-5,
                };
                Box::new(move || {
                    drop(cpu::group_norm(
                        Numbers::F32(&x),
                        shape,
                        &weight,
                        &bias,
                        Activation::Silu,
                        format,
                    ));
                })
            }
            Self::LayerNorm { rows, channels } => {
                let x = numbers(batch * rows * channels);
                let (weight, bias) = (numbers(channels), numbers(channels));
                Box::new(move || {
                    let scales = RowScales {
                        weight: &weight,
                        bias: Some(&bias),
                    };
                    let sizes = [batch, channels];
                    drop(cpu::norm_rows(
                        &x,
                        sizes,
                        RowNorm::Layer,
                        1e-5,
                        scales,
                        format,
                    ));
                })
            }
        }
    }
}

/// Copies of a weight that take turns.
struct Turns {
    copies: Vec<Panels>,
    turn: usize,
}

impl Turns {
    fn new(warm: bool, make: impl FnOnce() -> Panels) -> Self {
        let first = make();
        let count = if warm {
            1
        } else {
            (TURNS / first.bytes().max(1)).clamp(1, 64)
        };
        Self {
            copies: vec![first; count],
            turn: 0,
        }
    }

    fn next(&mut self) -> &Panels {
        self.turn = (self.turn + 1) % self.copies.len();
        &self.copies[self.turn]
    }
}

fn input(x: &Buffer, elements: usize, side: usize, channels: usize, seen: usize) -> ConvInput<'_> {
    ConvInput {
        numbers: view(x),
        elements,
        height: side,
        width: side,
        channels,
        pixel: channels,
        seen_as: (seen, seen),
        band: None,
    }
}

fn view(x: &Buffer) -> Numbers<'_> {
    match x {
        Buffer::F32(x) => Numbers::F32(x),
        Buffer::Bf16(x) => Numbers::Bf16(x),
    }
}

/// Numbers as the layer before would have written them.
fn operand(len: usize, format: Format, is_product: bool) -> Buffer {
    let x = numbers(len);
    if format == Format::Bf16 && is_product {
        Buffer::Bf16(x.into_iter().map(half::bf16::from_f32).collect())
    } else {
        Buffer::F32(x)
    }
}

/// A weight that keeps the size of numbers, as a network's does.
#[expect(clippy::cast_possible_truncation, reason = "f32 is wanted")]
fn weight(len: usize, inputs: usize) -> Vec<f32> {
    let scale = (3.0 / count(inputs)).sqrt() as f32;
    numbers(len).into_iter().map(|x| 2.0 * x * scale).collect()
}

/// Numbers between -1/2 and 1/2.
#[expect(clippy::cast_possible_truncation, reason = "f32 is wanted")]
fn numbers(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| count(i * 7919 % 1013) as f32 / 1013.0 - 0.5)
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a figure to print")]
fn count(n: usize) -> f64 {
    n as f64
}
