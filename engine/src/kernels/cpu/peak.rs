//! How fast the product kernels can be on this machine.

use std::time::{Duration, Instant};

use half::bf16;

use super::operand::Operand;
use super::output::with_scratch;
use super::panels::{Format, PANEL};
use super::parallel;
use super::tile::Rows;

/// Multiplications and additions a second of the product kernel of `format` on all threads, with everything in the
/// first-level cache: what the other kernels are measured against. Takes about a tenth of a second.
pub fn peak(format: Format) -> f64 {
    match format {
        Format::F32 => of::<f32>(),
        Format::Bf16 => of::<bf16>(),
    }
}

fn of<T: Operand>() -> f64 {
    const ROWS: usize = 112;
    const DEPTH: usize = 128;
    const TIMES: usize = 200;
    const LEAST: Duration = Duration::from_millis(100);
    let threads = rayon::current_num_threads();
    let run = || {
        parallel::for_each(threads, |_| {
            with_scratch(|scratch| {
                let (input, sums) = T::scratch(scratch);
                let (rows, panel) = input
                    .room((ROWS + PANEL) * DEPTH)
                    .split_at_mut(ROWS * DEPTH);
                // Zeros would flatter: a processor that has nothing to switch runs faster.
                let digits =
                    (0_u16..).map(|i| f32::from(i.wrapping_mul(40_503) >> 8) / 256.0 - 0.5);
                for (number, digit) in rows.iter_mut().chain(&mut *panel).zip(digits) {
                    *number = T::from_f32(digit);
                }
                let rows = Rows::matrix(&*rows, ROWS, DEPTH, DEPTH);
                let sums = sums.room(ROWS * PANEL);
                for _ in 0..TIMES {
                    T::multiply(rows, panel, 1, sums, PANEL, PANEL);
                }
            });
        });
    };
    run();
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed() < LEAST {
        let at = Instant::now();
        run();
        best = best.min(at.elapsed().as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let flops = (2 * ROWS * DEPTH * PANEL * TIMES * threads) as f64;
    flops / best
}
