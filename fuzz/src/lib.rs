//! What the targets share: a folder in memory for the files that they make, and the repository's own.

pub mod models;

use std::path::{Path, PathBuf};

use candle_core::Device;
use imgd_engine::checkpoint::{Source, Weights};
use imgd_engine::{Precision, Result, inspect};

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A folder of this process, in memory where the system has such.
pub fn folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = parent.join(format!("imgd-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Writes a file below [`folder`].
pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a file has a folder"))
        .expect("a folder can be made");
    std::fs::write(path, bytes).expect("a file can be written");
}

/// A safetensors file with `header`, and small numbers behind it: as many as the largest of the seeds' networks has.
pub fn with_header(header: &[u8]) -> Vec<u8> {
    const NUMBERS: usize = 1 << 20;
    let length = (header.len() as u64).to_le_bytes();
    let numbers = (0..NUMBERS).flat_map(|at| ((at % 7) as f32 / 64.0 - 0.05).to_le_bytes());
    length
        .into_iter()
        .chain(header.iter().copied())
        .chain(numbers)
        .collect()
}

/// Reads every tensor of a file of weights in each of the ways that layers do, and asks what model it is.
pub fn read_weights(file: &Path) -> Result<()> {
    let source = Source::single_file(file, None, &[])?;
    let Some(weights) = source.open_single()? else {
        return Ok(());
    };
    let _ = weights.metadata();
    let _ = weights.sha256();
    let _ = weights.loaded_bytes(Precision::Bf16) + weights.parameter_count();
    for name in weights.names() {
        let _ = read_tensor(&weights, name);
    }
    inspect(&source, "model", Precision::F32).map(drop)
}

fn read_tensor(weights: &Weights, name: &str) -> Result<()> {
    let loader = weights.loader(&Device::Cpu, None);
    let shape = weights.shape(name).unwrap_or_default().to_vec();
    loader.get(&shape, name)?;
    let rows = shape.first().copied().unwrap_or(1);
    let width = if rows == 0 {
        0
    } else {
        shape.iter().product::<usize>() / rows
    };
    loader.matrix(&shape, name, 0..rows, 0..width)?.into_f32();
    loader
        .matrix(&shape, name, rows / 2..rows, width / 2..width)?
        .into_f32();
    if let [count, dim] = *shape {
        loader.get_rows([count, dim], name, count / 3..count)?;
        loader.rows(count, dim, name)?.row(count / 2)?;
    }
    Ok(())
}
