//! Reading and writing safetensors files of f32 in tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Shape and numbers of each tensor.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The tensors of a file.
pub(crate) fn read(bytes: &[u8]) -> Tensors {
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    header
        .into_iter()
        .map(|(name, entry)| {
            let list =
                |key: &str| -> Vec<usize> { serde_json::from_value(entry[key].clone()).unwrap() };
            let range = list("data_offsets");
            let numbers = data[range[0]..range[1]]
                .as_chunks::<4>()
                .0
                .iter()
                .map(|number| f32::from_le_bytes(*number))
                .collect();
            (name, (list("shape"), numbers))
        })
        .collect()
}

/// A file of the tensors.
pub(crate) fn write(tensors: &Tensors) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, (shape, numbers)) in tensors {
        let start = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat()
}
