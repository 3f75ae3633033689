//! What the tensors of an adapter add to a layer's weight.
//!
//! Sources: LoRA, <https://arxiv.org/abs/2106.09685>; LoHa and LoKr, <https://arxiv.org/abs/2309.14859>, as the LyCORIS library
//! computes them.

use std::collections::BTreeMap;

use super::file::Piece;
use crate::nn::Change;

/// The tensors of a change: shape and numbers of each.
pub(super) type Tensors = BTreeMap<Piece, (Vec<usize>, Vec<f32>)>;

/// A matrix, row-major.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    numbers: Vec<f32>,
}

/// The change of a weight of `shape`, or why there is none. `alpha` stands in for one that the tensors lack.
pub(super) fn change(
    mut tensors: Tensors,
    shape: (usize, usize),
    alpha: Option<f32>,
) -> Result<Change, String> {
    let alpha = tensors
        .remove(&Piece::Alpha)
        .and_then(|(_, numbers)| numbers.first().copied())
        .or(alpha);
    if tensors.contains_key(&Piece::Down) || tensors.contains_key(&Piece::Up) {
        return low_rank(&mut tensors, shape, alpha);
    }
    let (whole, rank) = if let Some(whole) = tensors.remove(&Piece::Whole) {
        (matrix(whole), None)
    } else if tensors.contains_key(&Piece::HadaW1A) {
        hadamard(&mut tensors, shape)?
    } else if tensors.contains_key(&Piece::LokrW1) || tensors.contains_key(&Piece::LokrW1A) {
        kronecker(&mut tensors, shape)?
    } else {
        return Err("has no weights".to_owned());
    };
    fits((whole.rows, whole.columns), shape)?;
    let scale = scale(alpha, rank);
    let numbers = whole.numbers.into_iter().map(|number| number * scale);
    Ok(Change::Whole(numbers.collect()))
}

fn scale(alpha: Option<f32>, rank: Option<usize>) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
    match (alpha, rank) {
        (Some(alpha), Some(rank)) if rank > 0 => alpha / rank as f32,
        _ => 1.0,
    }
}

fn fits(found: (usize, usize), shape: (usize, usize)) -> Result<(), String> {
    if found == shape {
        return Ok(());
    }
    Err(format!(
        "is for a layer of {} by {} numbers, and the model's has {} by {}",
        found.0, found.1, shape.0, shape.1
    ))
}

/// `up down`, or with a middle of a convolution's change the whole of it.
fn low_rank(
    tensors: &mut Tensors,
    shape: (usize, usize),
    alpha: Option<f32>,
) -> Result<Change, String> {
    let down = matrix(take(tensors, Piece::Down, "down")?);
    let mut up = matrix(take(tensors, Piece::Up, "up")?);
    if let Some(mid) = tensors.remove(&Piece::Mid) {
        let rank = down.rows;
        let whole = tucker(&mid, &transposed(&up), &down, shape)?;
        fits((whole.rows, whole.columns), shape)?;
        let scale = scale(alpha, Some(rank));
        let numbers = whole.numbers.into_iter().map(|number| number * scale);
        return Ok(Change::Whole(numbers.collect()));
    }
    fits((up.rows, down.columns), shape)?;
    let rank = down.rows;
    if up.columns != rank || rank == 0 {
        return Err(format!(
            "has a rank of {rank} on one side and of {} on the other",
            up.columns
        ));
    }
    let scale = scale(alpha, Some(rank));
    up.numbers.iter_mut().for_each(|number| *number *= scale);
    Ok(Change::LowRank {
        rank,
        down: down.numbers,
        up: up.numbers,
    })
}

/// LoHa: the product, number by number, of two products.
fn hadamard(
    tensors: &mut Tensors,
    shape: (usize, usize),
) -> Result<(Matrix, Option<usize>), String> {
    let mut side = |a: Piece, b: Piece, middle: Piece| {
        let middle = tensors.remove(&middle);
        let (a, b) = (
            matrix(take(tensors, a, "hada")?),
            matrix(take(tensors, b, "hada")?),
        );
        let rank = b.rows;
        let product = match middle {
            Some(middle) => tucker(&middle, &a, &b, shape)?,
            None => product(&a, &b, shape)?,
        };
        Ok::<_, String>((product, rank))
    };
    let (mut first, rank) = side(Piece::HadaW1A, Piece::HadaW1B, Piece::HadaT1)?;
    let (second, _) = side(Piece::HadaW2A, Piece::HadaW2B, Piece::HadaT2)?;
    fits((second.rows, second.columns), (first.rows, first.columns))?;
    for (a, b) in first.numbers.iter_mut().zip(&second.numbers) {
        *a *= b;
    }
    Ok((first, Some(rank)))
}

/// LoKr: the Kronecker product of two matrices, each whole or a product.
fn kronecker(
    tensors: &mut Tensors,
    shape: (usize, usize),
) -> Result<(Matrix, Option<usize>), String> {
    let mut rank = None;
    let mut side = |whole: Piece, a: Piece, b: Piece, middle: Option<Piece>| {
        if let Some(whole) = tensors.remove(&whole) {
            return Ok(matrix(whole));
        }
        let middle = middle.and_then(|middle| tensors.remove(&middle));
        let (a, b) = (
            matrix(take(tensors, a, "lokr")?),
            matrix(take(tensors, b, "lokr")?),
        );
        rank = Some(b.rows);
        match middle {
            Some(middle) => tucker(&middle, &a, &b, shape),
            None => product(&a, &b, shape),
        }
    };
    let first = side(Piece::LokrW1, Piece::LokrW1A, Piece::LokrW1B, None)?;
    let second = side(
        Piece::LokrW2,
        Piece::LokrW2A,
        Piece::LokrW2B,
        Some(Piece::LokrT2),
    )?;
    let (rows, columns) = (
        first.rows.saturating_mul(second.rows),
        first.columns.saturating_mul(second.columns),
    );
    fits((rows, columns), shape)?;
    let mut numbers = Vec::with_capacity(rows * columns);
    for a in first.numbers.chunks_exact(first.columns) {
        for b in second.numbers.chunks_exact(second.columns) {
            for a in a {
                numbers.extend(b.iter().map(|b| a * b));
            }
        }
    }
    let whole = Matrix {
        rows,
        columns,
        numbers,
    };
    Ok((whole, rank))
}

/// `(o, i * k)` from a core `(p, q, k...)`, `a (p, o)` and `b (q, i)`.
fn tucker(
    core: &(Vec<usize>, Vec<f32>),
    a: &Matrix,
    b: &Matrix,
    most: (usize, usize),
) -> Result<Matrix, String> {
    let (shape, numbers) = core;
    let [p, q, kernel @ ..] = shape.as_slice() else {
        return Err("has a middle of too few dimensions".to_owned());
    };
    let pixels: usize = kernel.iter().product();
    if (*p, *q) != (a.rows, b.rows) {
        return Err("has a middle that does not fit its sides".to_owned());
    }
    let (rows, columns) = (a.columns, b.columns.saturating_mul(pixels));
    // A small file must not ask for much memory.
    if rows > most.0 || columns > most.1 || *p > most.0.max(most.1) {
        fits((rows, columns), most)?;
        return Err(format!("has a rank of {p}, more than its layer"));
    }
    let mut half = vec![0.0_f32; p * columns];
    let (p_count, q_count) = (*p, *q);
    for p in 0..p_count {
        for q in 0..q_count {
            let core = &numbers[(p * q_count + q) * pixels..][..pixels];
            for (i, b) in b.numbers[q * b.columns..][..b.columns].iter().enumerate() {
                let to = &mut half[p * columns + i * pixels..][..pixels];
                to.iter_mut()
                    .zip(core)
                    .for_each(|(to, core)| *to += b * core);
            }
        }
    }
    let half = Matrix {
        rows: p_count,
        columns,
        numbers: half,
    };
    product(&transposed(a), &half, (rows, columns))
}

fn product(a: &Matrix, b: &Matrix, most: (usize, usize)) -> Result<Matrix, String> {
    if a.columns != b.rows {
        return Err(format!(
            "has a rank of {} on one side and of {} on the other",
            a.columns, b.rows
        ));
    }
    // A small file must not ask for much memory.
    if a.rows > most.0 || b.columns > most.1 {
        fits((a.rows, b.columns), most)?;
    }
    let mut numbers = vec![0.0_f32; a.rows * b.columns];
    for (to, row) in numbers
        .chunks_exact_mut(b.columns.max(1))
        .zip(a.numbers.chunks_exact(a.columns.max(1)))
    {
        for (a, row) in row.iter().zip(b.numbers.chunks_exact(b.columns.max(1))) {
            to.iter_mut().zip(row).for_each(|(to, b)| *to += a * b);
        }
    }
    Ok(Matrix {
        rows: a.rows,
        columns: b.columns,
        numbers,
    })
}

fn transposed(of: &Matrix) -> Matrix {
    Matrix {
        rows: of.columns,
        columns: of.rows,
        numbers: (0..of.columns)
            .flat_map(|column| (0..of.rows).map(move |row| row * of.columns + column))
            .map(|at| of.numbers[at])
            .collect(),
    }
}

fn take(tensors: &mut Tensors, piece: Piece, what: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    tensors
        .remove(&piece)
        .ok_or_else(|| format!("has a part of its `{what}` weights only"))
}

/// Rows are the first dimension.
fn matrix((shape, numbers): (Vec<usize>, Vec<f32>)) -> Matrix {
    let rows = shape.first().copied().unwrap_or(1);
    Matrix {
        rows,
        columns: numbers.len() / rows.max(1),
        numbers,
    }
}
