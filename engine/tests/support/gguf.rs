//! Writing GGUF files in tests.

use crate::safetensors::Tensors;

/// How the matrices of a file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    F32,
    /// In blocks of 32 of eight bits, where the rows are as long.
    Q8,
}

const ALIGNMENT: usize = 32;
const BLOCK: usize = 32;

/// A GGUF file of the tensors; dimensions of one before the others are left out, as ggml does.
pub(crate) fn write(tensors: &Tensors, stored: Stored) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut header = b"GGUF".to_vec();
    header.extend(3_u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend(2_u64.to_le_bytes());
    header.extend(text("general.architecture"));
    header.extend(8_u32.to_le_bytes());
    header.extend(text("test"));
    header.extend(text("tokenizer.ggml.tokens"));
    header.extend([9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat());
    header.extend(2_u64.to_le_bytes());
    header.extend([text("a"), text("b")].concat());
    let mut data = Vec::new();
    for (name, (shape, numbers)) in tensors {
        let first = shape.iter().position(|dimension| *dimension != 1);
        let shape = &shape[first.unwrap_or(shape.len().saturating_sub(1))..];
        let is_matrix = shape.len() == 2 && shape[1].is_multiple_of(BLOCK);
        header.extend(text(name));
        header.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
        for dimension in shape.iter().rev() {
            header.extend((*dimension as u64).to_le_bytes());
        }
        let in_blocks = is_matrix && stored == Stored::Q8;
        header.extend(if in_blocks { 8_u32 } else { 0 }.to_le_bytes());
        header.extend((data.len() as u64).to_le_bytes());
        if in_blocks {
            numbers
                .chunks(BLOCK)
                .for_each(|block| data.extend(q8(block)));
        } else {
            data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    [header, data].concat()
}

/// One block, as ggml's `quantize_row_q8_0_ref`.
fn q8(numbers: &[f32]) -> Vec<u8> {
    let largest = numbers.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = half::f16::from_f32(scale).to_le_bytes().to_vec();
    #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
    block.extend(numbers.iter().map(|x| (x * inverse).round() as i8 as u8));
    block
}
