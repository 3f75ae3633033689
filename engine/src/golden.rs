//! For tests: the tiny networks of `tests/golden/networks.py`, what the references make of them, and the law that all
//! networks keep.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use crate::Precision;
use crate::checkpoint::{Loader, Source, Weights};

/// A folder of `tests/golden/networks`.
pub(crate) struct Golden {
    source: Source,
    root: PathBuf,
    folder: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    /// `family` is a folder, `component` one in it (or empty).
    pub(crate) fn open(family: &str, component: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/networks")
            .join(family);
        let folder = root.join(component);
        let tensors =
            candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)
                .unwrap();
        Self {
            source: Source::Directory(root.clone()),
            root,
            folder: component.into(),
            tensors,
        }
    }

    pub(crate) fn config<T: serde::de::DeserializeOwned>(&self) -> T {
        self.source
            .read_json(&format!("{}/config.json", self.folder.display()))
            .unwrap()
    }

    pub(crate) fn loader(&self) -> Loader {
        self.weights().loader(&Device::Cpu, None)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join(&self.folder)
    }

    pub(crate) fn weights(&self) -> Weights {
        self.source
            .open_weights(self.folder.to_str().unwrap())
            .unwrap()
    }

    /// For layers of either precision.
    pub(crate) fn loaders(&self) -> [Loader; 2] {
        [Precision::F32, Precision::Bf16].map(|precision| self.loader().with_precision(precision))
    }

    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("the golden file has no {name}"))
    }

    /// Fails when `found` differs from what the reference made by more than `1e-5` of its largest number.
    pub(crate) fn assert_equals(&self, name: &str, found: &Tensor) {
        self.assert_within(1e-5, name, found);
    }

    /// Fails when `found` differs from what the reference made by more than `share` of its largest number.
    pub(crate) fn assert_within(&self, share: f32, name: &str, found: &Tensor) {
        let expected = self.tensor(name);
        assert_eq!(expected.dims(), found.dims(), "shape of {name}");
        let (expected, found) = (values(expected), values(found));
        let largest = expected.iter().fold(1f32, |a, b| a.max(b.abs()));
        for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
            assert!(
                (e - f).abs() <= share * largest,
                "{name}[{i}] is {f}, the reference has {e}"
            );
        }
    }
}

/// All numbers of a tensor.
pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor
        .to_dtype(DType::F32)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Numbers between -1 and 1 that look random: a fixed function of place and `seed`.
pub(crate) fn noise(seed: u32, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    let numbers: Vec<f32> = (0..shape.iter().product::<usize>()).map(next).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// The law: every element of batches of 1, 2, 3 and 5, on one thread and on two, has the bits that it has alone.
///
/// `inputs`: shapes of one element. `network` is given each input with a batch as its first dimension.
pub(crate) fn assert_batches_equal_singles(
    inputs: &[&[usize]],
    network: impl Fn(&[Tensor]) -> Tensor + Sync,
) {
    let batch = |elements: &[u32]| -> Vec<Tensor> {
        let input = |(i, shape): (usize, &&[usize])| {
            let seed = |element: &u32| element * 100 + u32::try_from(i).unwrap();
            let of = |element| noise(seed(element), shape).unsqueeze(0).unwrap();
            let parts: Vec<Tensor> = elements.iter().map(of).collect();
            Tensor::cat(&parts, 0).unwrap()
        };
        inputs.iter().enumerate().map(input).collect()
    };
    let on = |threads: usize, elements: &[u32]| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let inputs = batch(elements);
        pool.install(|| values(&network(&inputs)))
            .into_iter()
            .map(f32::to_bits)
            .collect()
    };
    let singles: Vec<Vec<u32>> = (1..=5).map(|element| on(1, &[element])).collect();
    assert_ne!(
        singles[0], singles[1],
        "different inputs give different results"
    );
    for elements in [&[1][..], &[2, 1], &[1, 2, 3], &[5, 4, 3, 2, 1]] {
        let expected: Vec<u32> = elements
            .iter()
            .flat_map(|e| singles[*e as usize - 1].clone())
            .collect();
        for threads in [1, 2, 3] {
            assert!(
                on(threads, elements) == expected,
                "a batch of {} on {threads} threads",
                elements.len()
            );
        }
    }
}
