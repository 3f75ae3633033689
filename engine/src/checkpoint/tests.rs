use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::Device;
use serde_json::{Value, json};

use super::*;
use crate::ErrorKind;

/// A safetensors file: the header, then `data_bytes` bytes that count up.
fn file_of(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data_bytes).map(|number| u8::try_from(number % 251).unwrap()));
    bytes
}

/// A file with one f32 tensor of two numbers.
fn small(name: &str) -> Vec<u8> {
    let header =
        json!({ name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} }).to_string();
    let mut file = file_of(&header, 0);
    file.extend([1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()));
    file
}

/// A model with these files.
fn model(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Source) {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let source = Source::Directory(root.path().to_owned());
    (root, source)
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// How a `unet` with this file fails; every message has to name the file.
fn refused(file: &[u8]) -> String {
    let (_root, source) = model(&[(UNET, file)]);
    let error = source.open_weights("unet").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelInvalid);
    let message = error.to_string();
    assert!(message.contains(UNET), "{message}");
    message
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "`json!` makes a value at each call"
)]
fn tensor(dtype: &str, shape: Value, offsets: Value) -> Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": offsets})
}

#[test]
fn a_header_bomb_is_refused_at_once() {
    // 60 MB of header in a sparse file: it is refused by its length alone.
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(UNET);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, 60_000_000_u64.to_le_bytes()).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(70_000_000)
        .unwrap();
    let start = Instant::now();
    let error = Source::Directory(root.path().to_owned())
        .open_weights("unet")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("60000000") && error.contains(UNET),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_millis(200));
    for length in [u64::MAX, u64::MAX - 7, 1 << 63, (16 << 20) + 1] {
        assert!(refused(&length.to_le_bytes()).contains("promise"));
    }
}

#[test]
fn too_many_tensors_are_refused() {
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let entries: Vec<String> = (0..=100_000)
        .map(|number| format!("\"{number}\":{entry}"))
        .collect();
    assert!(
        refused(&file_of(&format!("{{{}}}", entries.join(",")), 0))
            .contains("more than 100000 tensors")
    );
}

#[test]
fn lying_headers_are_refused() {
    let f32_at = |shape: Value, offsets: Value| tensor("F32", shape, offsets);
    let cases = [
        // Ranges.
        (
            json!({"a": f32_at(json!([2]), json!([0, 8])), "b": f32_at(json!([2]), json!([4, 12]))}),
            "overlaps",
        ),
        (
            json!({"a": f32_at(json!([2]), json!([0, 8])), "b": f32_at(json!([1]), json!([12, 16]))}),
            "gap",
        ),
        (json!({"a": f32_at(json!([2]), json!([8, 0]))}), "offsets"),
        (
            json!({"a": f32_at(json!([2]), json!([0, 12]))}),
            "needs 8 bytes",
        ),
        (
            json!({"a": f32_at(json!([4]), json!([0, 16]))}),
            "truncated",
        ),
        (
            json!({"a": f32_at(json!([1]), json!([0, 4]))}),
            "after its last tensor",
        ),
        (
            json!({"a": f32_at(json!([2]), json!([u64::MAX - 8, u64::MAX]))}),
            "`a`",
        ),
        (json!({"a": f32_at(json!([2]), json!([0, -8]))}), "damaged"),
        // Shapes whose product leaves 64 bits, or wraps round to what the file holds.
        (
            json!({"a": f32_at(json!([4, 1_u64 << 62]), json!([0, 16]))}),
            "impossible",
        ),
        (
            json!({"a": f32_at(json!([u64::MAX, u64::MAX]), json!([0, 4]))}),
            "impossible",
        ),
        (
            json!({"a": f32_at(json!([1_u64 << 62]), json!([0, 0]))}),
            "impossible",
        ),
        (
            json!({"a": f32_at(json!([0, 1_u64 << 32, 1_u64 << 32]), json!([0, 0]))}),
            "impossible",
        ),
        (
            json!({"a": f32_at(json!([1, 1, 1, 1, 1, 1, 1, 1, 3]), json!([0, 12]))}),
            "dimensions",
        ),
        // Types and forms.
        (
            json!({"a": tensor("F31", json!([2]), json!([0, 8]))}),
            "`F31`",
        ),
        (
            json!({"a": tensor("F32", json!("x"), json!([0, 8]))}),
            "damaged",
        ),
        (json!({"a": {"dtype": "F32"}}), "damaged"),
        (json!([1, 2]), "damaged"),
    ];
    for (header, expected) in cases {
        let message = refused(&file_of(&header.to_string(), 12));
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let entry = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let headers = [
        String::new(),
        "{".to_owned(),
        format!(r#"{{"a":{entry}"#),
        format!(r#"{{"a":{entry},"a":{entry}}}"#),
        format!(r#"{{"a":{deep}}}"#),
        format!(r#"{{"a":{{"dtype":{deep}}}}}"#),
        deep,
    ];
    for header in &headers {
        assert!(refused(&file_of(header, 8)).contains("damaged"));
    }
    let mut not_text = file_of("{}", 0);
    not_text[8] = 0xff;
    refused(&not_text);
}

#[test]
fn truncated_files_say_what_was_expected() {
    let whole = small("a");
    for length in [0, 1, 7, 8, 20, whole.len() - 1] {
        let message = refused(&whole[..length]);
        assert!(
            message.contains("truncated") && message.contains(&format!("{length} found")),
            "{message}"
        );
    }
    assert!(
        refused(&whole[..whole.len() - 1]).contains(&format!("{} bytes expected", whole.len()))
    );
}

#[test]
fn files_cut_while_they_are_read_are_errors() {
    let (root, source) = model(&[(UNET, &small("a"))]);
    let weights = source.open_weights("unet").unwrap();
    std::fs::File::options()
        .write(true)
        .open(root.path().join(UNET))
        .unwrap()
        .set_len(20)
        .unwrap();
    let error = weights
        .loader(&Device::Cpu, None)
        .get(&[2], "a")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("truncated") && error.contains(UNET),
        "{error}"
    );
    assert!(weights.sha256().is_err());
}

#[test]
fn pickle_under_a_false_name_is_refused() {
    let files: [&[u8]; 5] = [
        b"PK\x03\x04\0\0\0\0\0\0archive/data.pkl",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0}",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
        b"<!DOCTYPE html><html>",
    ];
    let expected = [
        "can run any code",
        "can run any code",
        "can run any code",
        "git-lfs",
        "web page",
    ];
    for (file, expected) in files.iter().zip(expected) {
        assert!(refused(file).contains(expected));
    }
}

#[test]
fn pickle_only_directories_are_told_what_to_look_for() {
    let (_root, source) = model(&[
        ("model_index.json", b"{}"),
        ("unet/diffusion_pytorch_model.bin", b"PK\x03\x04"),
    ]);
    let error = source.open_weights("unet").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelInvalid);
    assert!(
        error.to_string().contains("diffusion_pytorch_model.bin")
            && error.to_string().contains("run any code")
    );
    assert!(error.hint().unwrap().contains(".safetensors"));
    let (root, _) = model(&[("model.ckpt", b"PK\x03\x04")]);
    let error = Source::directory(root.path()).unwrap_err();
    assert!(error.to_string().contains("model.ckpt") && error.to_string().contains("run any code"));
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let (root, _) = model(&[("one.safetensors", b""), ("sub/readme", b"")]);
    let kind = |path: &Path| {
        Source::directory(path)
            .map(|_| ())
            .map_err(|error| (error.kind(), error.to_string()))
    };
    let (found, message) = kind(root.path()).unwrap_err();
    assert!(
        found == ErrorKind::ModelInvalid && message.contains("one.safetensors"),
        "{message}"
    );
    let (found, message) = kind(&root.path().join("sub")).unwrap_err();
    assert!(
        found == ErrorKind::NotFound && message.contains("model_index.json"),
        "{message}"
    );
    let (found, message) = kind(&root.path().join("one.safetensors")).unwrap_err();
    assert!(
        found == ErrorKind::ModelInvalid && message.contains("diffusers directory"),
        "{message}"
    );
    let (found, message) = kind(&root.path().join("nothing")).unwrap_err();
    assert!(
        found == ErrorKind::NotFound && message.contains("nothing"),
        "{message}"
    );
    std::fs::write(root.path().join("model_index.json"), "{}").unwrap();
    assert!(kind(root.path()).is_ok());
}

#[test]
fn missing_components_name_the_file_that_was_looked_for() {
    let (_root, source) = model(&[("model_index.json", b"{}")]);
    for (component, file) in [
        ("unet", UNET),
        ("text_encoder_2", "text_encoder_2/model.safetensors"),
    ] {
        let error = source.open_weights(component).unwrap_err();
        assert!(
            error.kind() == ErrorKind::NotFound && error.to_string().contains(file),
            "{error}"
        );
    }
    let error = source.read_json::<Value>("unet/config.json").unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("unet/config.json"));
    assert!(source.read("unet/config.json").unwrap().is_none());
}

#[test]
fn only_regular_files_below_the_model_are_read() {
    let (root, source) = model(&[("a.json", b"{\n 1}"), ("unet/inside.json", b"{}")]);
    let error = source.read_json::<Value>("a.json").unwrap_err().to_string();
    assert!(
        error.contains("a.json") && error.contains("line 2 column 2"),
        "{error}"
    );
    for path in [
        "",
        "/etc/hostname",
        "../a.json",
        "unet/../../a.json",
        "./a.json",
    ] {
        assert_eq!(
            source.read(path).unwrap_err().kind(),
            ErrorKind::ModelInvalid,
            "{path}"
        );
    }
    assert_eq!(
        source.read("unet").unwrap_err().kind(),
        ErrorKind::ModelInvalid
    );
    std::os::unix::fs::symlink("unet/inside.json", root.path().join("link.json")).unwrap();
    assert_eq!(source.read("link.json").unwrap().unwrap().as_ref(), b"{}");
    std::os::unix::fs::symlink("/dev/zero", root.path().join("zero.json")).unwrap();
    assert_eq!(
        source.read("zero.json").unwrap_err().kind(),
        ErrorKind::ModelInvalid
    );
    let fifo = root.path().join("fifo.json");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(
        source.read("fifo.json").unwrap_err().kind(),
        ErrorKind::ModelInvalid
    );
    std::fs::File::create(root.path().join("big.json"))
        .unwrap()
        .set_len(SMALL_FILE_LIMIT_BYTES + 1)
        .unwrap();
    assert!(
        source
            .read("big.json")
            .unwrap_err()
            .to_string()
            .contains("big.json")
    );
}

#[test]
fn shards_are_read_as_one() {
    let index = json!({"metadata": {"total_size": 16}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}});
    let index = index.to_string();
    for name in [
        "model.safetensors.index.json",
        "model.fp16.safetensors.index.json",
        "model.safetensors.index.fp16.json",
    ] {
        let index_path = format!("text_encoder/{name}");
        let (_root, source) = model(&[
            (index_path.as_str(), index.as_bytes()),
            ("text_encoder/m-1.safetensors", &small("a")),
            ("text_encoder/m-2.safetensors", &small("b")),
        ]);
        let weights = source.open_weights("text_encoder").unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            (
                weights.parameter_count(),
                weights.bytes(),
                weights.loaded_bytes(crate::Precision::F32)
            ),
            (4, 16, 16)
        );
        let loader = weights.loader(&Device::Cpu, None);
        assert_eq!(
            loader.get(&[2], "b").unwrap().to_vec1::<f32>().unwrap(),
            [1.5, -2.0]
        );
    }
}

#[test]
fn lying_indexes_are_refused() {
    let cases = [
        (
            json!({"weight_map": {"a": "../../outside.safetensors"}}),
            "same directory",
        ),
        (
            json!({"weight_map": {"a": "/etc/passwd"}}),
            "same directory",
        ),
        (
            json!({"weight_map": {"a": "sub/m.safetensors"}}),
            "same directory",
        ),
        (
            json!({"weight_map": {"a": "..\\m.safetensors"}}),
            "same directory",
        ),
        (
            json!({"weight_map": {"a": ".safetensors"}}),
            "same directory",
        ),
        (json!({"weight_map": {"a": "m.bin"}}), "same directory"),
        (
            json!({"weight_map": {"a": "m.safetensors\0"}}),
            "same directory",
        ),
        (
            json!({"weight_map": {"a": "missing.safetensors"}}),
            "missing.safetensors",
        ),
        (
            json!({"weight_map": {"b": "m.safetensors"}}),
            "holds the tensor `b`",
        ),
        (json!({"weight_map": {}}), "names 0 files"),
        (json!({"weight_map": {"a": 1}}), "index.json"),
        (json!([]), "index.json"),
    ];
    for (index, expected) in cases {
        let (_root, source) = model(&[
            (
                "unet/diffusion_pytorch_model.safetensors.index.json",
                index.to_string().as_bytes(),
            ),
            ("unet/m.safetensors", &small("a")),
        ]);
        let message = source.open_weights("unet").unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn half_files_are_found_when_the_plain_one_is_missing() {
    let (root, source) = model(&[(
        "vae/diffusion_pytorch_model.fp16.safetensors",
        &small("half"),
    )]);
    assert_eq!(
        source
            .open_weights("vae")
            .unwrap()
            .names()
            .collect::<Vec<_>>(),
        ["half"]
    );
    std::fs::write(
        root.path().join("vae/diffusion_pytorch_model.safetensors"),
        small("plain"),
    )
    .unwrap();
    assert_eq!(
        source
            .open_weights("vae")
            .unwrap()
            .names()
            .collect::<Vec<_>>(),
        ["plain"]
    );
}

/// Numbers that a half and a bfloat hold exactly, more than one piece of them, at an odd offset in the file.
#[test]
fn every_dtype_is_widened_exactly() {
    let numbers: Vec<f32> = (0..200_001_u32)
        .map(|n| f32::from(i8::try_from(n % 256).unwrap_or(-5)) / 8.0)
        .collect();
    for (dtype, width) in [("F32", 4), ("F16", 2), ("BF16", 2)] {
        let encoded: Vec<u8> = numbers
            .iter()
            .flat_map(|&value| match dtype {
                "F32" => value.to_le_bytes().to_vec(),
                "F16" => half::f16::from_f32(value).to_le_bytes().to_vec(),
                _ => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            })
            .collect();
        let length = numbers.len() * width;
        let header = json!({
            "odd": tensor("U8", json!([1]), json!([0, 1])),
            "x.weight": tensor(dtype, json!([3, 66_667]), json!([1, 1 + length])),
        });
        let mut file = file_of(&header.to_string(), 1);
        file.extend(&encoded);
        let embedded: &'static [EmbeddedFile] = Box::leak(Box::new([EmbeddedFile {
            path: UNET,
            bytes: Box::leak(file.clone().into_boxed_slice()),
        }]));
        let (_root, directory) = model(&[(UNET, &file)]);
        let hashes = [directory, Source::Embedded(embedded)].map(|source| {
            let weights = source.open_weights("unet").unwrap();
            assert_eq!(
                (weights.parameter_count(), weights.bytes()),
                (200_001, length as u64)
            );
            assert_eq!(weights.dtype_name(), dtype.to_lowercase());
            let read = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
            let counter = read.clone();
            let progress: Progress = std::sync::Arc::new(move |bytes| {
                counter.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
            });
            let loader = weights.loader(&Device::Cpu, Some(progress)).pp("x");
            let tensor = loader.get(&[3, 66_667], "weight").unwrap();
            assert_eq!(
                tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                numbers
            );
            assert_eq!(
                read.load(std::sync::atomic::Ordering::Relaxed),
                length as u64
            );
            weights.sha256().unwrap()
        });
        assert_eq!(hashes[0], hashes[1]);
    }
}

#[test]
fn wrong_tensors_are_named_with_what_was_expected() {
    let header = json!({
        "a.weight": tensor("F32", json!([2, 1]), json!([0, 8])),
        "position_ids": tensor("I64", json!([1]), json!([8, 16])),
        "quantised": tensor("F8_E5M2", json!([4]), json!([16, 20])),
    });
    let (_root, source) = model(&[(UNET, &file_of(&header.to_string(), 20))]);
    let weights = source.open_weights("unet").unwrap();
    assert_eq!(weights.parameter_count(), 2);
    let loader = weights.loader(&Device::Cpu, None);
    assert_eq!(loader.pp("a").shape("weight"), Some(vec![2, 1]));
    assert!(loader.contains("a.weight") && !loader.contains("weight"));
    let message = |shape: &[usize], name: &str| loader.get(shape, name).unwrap_err().to_string();
    let shapes = message(&[1, 2], "a.weight");
    assert!(
        ["a.weight", "[2, 1]", "[1, 2]", UNET]
            .iter()
            .all(|part| shapes.contains(part)),
        "{shapes}"
    );
    let missing = message(&[1], "a.bias");
    assert!(
        missing.contains("a.bias") && missing.contains(UNET),
        "{missing}"
    );
    assert!(message(&[1], "position_ids").contains("I64"));
    assert!(message(&[4], "quantised").contains("F8_E5M2"));
}

#[test]
fn hashes_are_those_of_sha256sum() {
    let (_root, source) = model(&[("unet/model.safetensors", &small("a"))]);
    let weights = source.open_weights("unet").unwrap();
    // sha256sum of the file, and of the line `<hash>  unet`.
    let digest = |bytes: &[u8]| Sha256(<sha2::Sha256 as sha2::Digest>::digest(bytes).into());
    let hash = weights.sha256().unwrap();
    assert_eq!(hash, digest(&small("a")));
    assert_eq!(hash.to_string().len(), 64);
    let lines = format!("{hash}  unet\n{hash}  vae\n");
    assert_eq!(
        model_sha256(&[("unet", &weights), ("vae", &weights)]).unwrap(),
        digest(lines.as_bytes())
    );
}

/// Prints how fast the starter model is read and hashed.
#[test]
#[ignore = "a measurement"]
fn load_times() {
    let source =
        Source::directory(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/starter")).unwrap();
    for _ in 0..3 {
        let weights = source.open_weights("unet").unwrap();
        let start = Instant::now();
        let loader = weights.loader(&Device::Cpu, None);
        for name in weights.names() {
            loader.get(&loader.shape(name).unwrap(), name).unwrap();
        }
        let load = start.elapsed();
        let start = Instant::now();
        weights.sha256().unwrap();
        println!(
            "{} bytes: load {load:?}, hash {:?}",
            weights.bytes(),
            start.elapsed()
        );
    }
}

#[test]
fn a_path_with_nothing_there_may_have_been_either() {
    let error = Source::at("/nonexistent/model.safetensors", None, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let message = error.to_string();
    assert!(
        message.contains("no file or directory `/nonexistent/model.safetensors`"),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("model_index.json"));
}
