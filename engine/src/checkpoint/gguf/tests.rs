//! What hostile headers end in, and what sound ones give.

use std::path::Path;

use super::super::source::Source;
use super::super::{Weights, weights};
use crate::{Error, ErrorKind, Result};

/// A file that is written piece by piece.
#[derive(Clone)]
struct File(Vec<u8>);

impl File {
    /// A header that promises so many tensors and keys.
    fn new(tensors: u64, keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut file = self.u64(text.len() as u64);
        file.0.extend(text.as_bytes());
        file
    }

    /// A key with a number as its value.
    fn number(self, key: &str, number: u32) -> Self {
        self.text(key).u32(4).u32(number)
    }

    fn tensor(self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let file = self
            .text(name)
            .u32(u32::try_from(dimensions.len()).unwrap());
        let file = dimensions.iter().fold(file, |file, size| file.u64(*size));
        file.u32(kind).u64(offset)
    }

    /// Filled up to a multiple of `alignment`, and so many bytes after that.
    fn data(mut self, alignment: usize, bytes: usize) -> Self {
        self.0
            .resize(self.0.len().next_multiple_of(alignment) + bytes, 1);
        self
    }

    fn open(&self) -> Result<Weights> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("unet")).unwrap();
        std::fs::write(root.path().join("unet/x.gguf"), &self.0).unwrap();
        weights::open(&Source::Directory(root.path().to_owned()), "unet")
    }

    /// How it fails; every message names the file.
    fn refused(&self) -> String {
        let error: Error = self.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        let message = error.to_string();
        assert!(message.contains("x.gguf"), "{message}");
        message
    }
}

const F32: u32 = 0;
const Q8_0: u32 = 8;

#[test]
fn sound_files_give_their_tensors() {
    let file = File::new(2, 5)
        .text("general.name")
        .u32(8)
        .text("a name")
        .number("general.alignment", 64)
        // Texts, an array of texts, of numbers: passed over.
        .text("tokenizer.chat_template")
        .u32(8)
        .text(&"x".repeat(10_000))
        .text("tokenizer.tokens")
        .u32(9)
        .u32(8)
        .u64(2)
        .text("a")
        .text("b")
        .text("comfy.gguf.orig_shape.b")
        .u32(9)
        .u32(5)
        .u64(3)
        .u32(2)
        .u32(16)
        .u32(2)
        .tensor("a", &[3, 1, 2], F32, 0)
        .tensor("b", &[32, 2], Q8_0, 64)
        .data(64, 64 + 2 * 34);
    let weights = file.open().unwrap();
    assert_eq!(weights.shape("a"), Some([2, 1, 3].as_slice()));
    assert_eq!(weights.shape("b"), Some([2, 16, 2].as_slice()));
    assert_eq!(weights.parameter_count(), 6 + 64);
    assert_eq!(weights.metadata().unwrap()["general.name"], "a name");
    // Filled up at the end or not.
    assert!(file.clone().data(64, 0).open().is_ok());
    assert!(file.data(64, 1).refused().contains("after its last tensor"));
}

#[test]
fn counts_and_lengths_are_bounded_before_they_are_used() {
    for (file, says) in [
        (File(b"GGUF".to_vec()).u32(1).u64(0).u64(0), "version 1"),
        (File(b"GGUF".to_vec()).u32(3 << 24).u64(0).u64(0), "version"),
        (File::new(u64::MAX, 0), "tensors"),
        (File::new(0, u64::MAX), "keys"),
        (File::new(0, 1).u64(u64::MAX), "a name of"),
        (
            File::new(0, 1).text("k").u32(8).u64(u64::MAX),
            "more than 64 MiB",
        ),
        (File::new(0, 1).text("k").u32(8).u64(1 << 20), "truncated"),
        (
            File::new(0, 1).text("k").u32(9).u32(8).u64(u64::MAX),
            "an array of",
        ),
        (
            File::new(0, 1).text("k").u32(9).u32(0).u64(1 << 21),
            "truncated",
        ),
        (
            File::new(0, 1).text("k").u32(9).u32(9).u64(1),
            "values of the type 9",
        ),
        (File::new(0, 1).text("k").u32(77), "unknown type 77"),
        (File::new(1, 0), "truncated"),
        (File::new(1, 0).tensor("t", &[1; 5], F32, 0), "5 dimensions"),
        (File::new(1, 0).tensor("t", &[1], 19, 0), "IQ1_S"),
        (File::new(1, 0).tensor("t", &[1], 4, 0), "of type 4"),
    ] {
        let message = file.refused();
        assert!(message.contains(says), "{message}, not {says}");
    }
}

#[test]
fn shapes_alignments_and_offsets_are_checked() {
    let one = |dimensions: &[u64], kind, offset| {
        File::new(1, 0)
            .tensor("t", dimensions, kind, offset)
            .data(32, 64)
    };
    for (file, says) in [
        (one(&[1 << 62, 8], F32, 0), "impossible shape"),
        (one(&[u64::MAX, u64::MAX], F32, 0), "impossible shape"),
        (one(&[(1 << 62) + 1], F32, 0), "impossible shape"),
        (one(&[1 << 40, 0, 1 << 40], F32, 0), "impossible shape"),
        (one(&[1 << 40], F32, 0), "truncated"),
        (one(&[33], Q8_0, 0), "blocks of 32"),
        (one(&[8], F32, u64::MAX), "begins at"),
        (one(&[8], F32, 32), "begins at"),
        (one(&[17], F32, 0), "truncated"),
    ] {
        let message = file.refused();
        assert!(message.contains(says), "{message}, not {says}");
    }
    for alignment in [0, 1, 12, 1 << 20] {
        let file = File::new(0, 1).number("general.alignment", alignment);
        assert!(file.refused().contains("general.alignment"));
    }
    let two = |second: u64, bytes| {
        let file = File::new(2, 0).tensor("a", &[8], F32, 0);
        file.tensor("b", &[8], F32, second).data(32, bytes)
    };
    assert!(two(32, 64).open().is_ok());
    assert!(two(0, 64).refused().contains("begins at"));
    assert!(two(64, 96).refused().contains("begins at"));
    assert!(two(32, 63).refused().contains("truncated"));
    let twice = File::new(2, 0)
        .tensor("a", &[8], F32, 0)
        .tensor("a", &[8], F32, 32);
    assert!(twice.data(32, 64).refused().contains("twice"));
    let original = File::new(1, 1)
        .text("comfy.gguf.orig_shape.a")
        .u32(9)
        .u32(5)
        .u64(2)
        .u32(u32::MAX)
        .u32(3)
        .tensor("a", &[8], F32, 0);
    assert!(original.data(32, 32).refused().contains("original shape"));
}

/// Nobody knows what a cut file would have said.
#[test]
fn files_cut_anywhere_are_refused() {
    let whole = File::new(1, 1)
        .number("general.alignment", 32)
        .tensor("t", &[32, 2], Q8_0, 0)
        .data(32, 68);
    assert!(whole.open().is_ok());
    for length in 4..whole.0.len() {
        let message = File(whole.0[..length].to_vec()).refused();
        assert!(message.contains("truncated"), "{length}: {message}");
    }
}

#[test]
fn the_suffix_is_not_asked() {
    let root = tempfile::tempdir().unwrap();
    let file = File::new(1, 0).tensor("t", &[8], F32, 0).data(32, 32);
    let path: &Path = &root.path().join("unet");
    std::fs::create_dir(path).unwrap();
    std::fs::write(path.join("diffusion_pytorch_model.safetensors"), &file.0).unwrap();
    let source = Source::Directory(root.path().to_owned());
    assert!(source.open_weights("unet").unwrap().has("t"));
}
