//! Parts of a model come from files of their own, and a model from a GGUF file, in jobs that outlive the daemon as well.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use imgd_e2e::Daemon;

/// Copies the built-in model to a folder.
fn model(to: &Path) -> PathBuf {
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    for entry in fs::read_dir(&starter).expect("the model") {
        let entry = entry.expect("an entry").path();
        let name = entry.file_name().expect("a name");
        if entry.is_dir() {
            fs::create_dir_all(to.join(name)).expect("a folder");
            for file in fs::read_dir(&entry).expect("a part") {
                let file = file.expect("an entry").path();
                let copy = to.join(name).join(file.file_name().expect("a name"));
                fs::copy(&file, copy).expect("a copy");
            }
        } else {
            fs::copy(&entry, to.join(name)).expect("a copy");
        }
    }
    to.to_owned()
}

/// The tensors of a safetensors file: type, shape and bytes.
type Tensors = BTreeMap<String, (String, Vec<u64>, Vec<u8>)>;

fn read(file: &Path) -> Tensors {
    let bytes = fs::read(file).expect("a file");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a header");
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
    let (header, data) = rest.split_at(length);
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).expect("a header");
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, entry)| {
            let numbers = |key: &str| -> Vec<u64> {
                serde_json::from_value(entry[key].clone()).expect("numbers")
            };
            let range = numbers("data_offsets");
            let range =
                usize::try_from(range[0]).expect("start")..usize::try_from(range[1]).expect("end");
            let dtype = entry["dtype"].as_str().expect("a type").to_owned();
            (name, (dtype, numbers("shape"), data[range].to_vec()))
        })
        .collect()
}

/// The same tensors in a GGUF file.
fn gguf(tensors: &Tensors) -> Vec<u8> {
    let mut header = [b"GGUF".as_slice(), &3_u32.to_le_bytes()].concat();
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend(0_u64.to_le_bytes());
    let mut data = Vec::new();
    for (name, (dtype, shape, bytes)) in tensors {
        let kind: u32 = match dtype.as_str() {
            "F32" => 0,
            "F16" => 1,
            "BF16" => 30,
            other => panic!("{other} is in no file of ours"),
        };
        header.extend((name.len() as u64).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(u32::try_from(shape.len()).expect("few").to_le_bytes());
        shape
            .iter()
            .rev()
            .for_each(|size| header.extend(size.to_le_bytes()));
        header.extend(kind.to_le_bytes());
        header.extend((data.len() as u64).to_le_bytes());
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    header.resize(header.len().next_multiple_of(32), 0);
    [header, data].concat()
}

#[test]
fn parts_are_drawn_with_told_and_refused() {
    let mut daemon = Daemon::start();
    let directory = model(&daemon.work().join("model"));
    let name = directory.display().to_string();
    let weights = |part: &str, file: &str| directory.join(part).join(file);
    let vae = weights("vae", "diffusion_pytorch_model.safetensors");
    let unet = weights("unet", "diffusion_pytorch_model.safetensors");
    let moved = daemon.work().join("other vae.gguf");
    fs::write(&moved, gguf(&read(&vae))).expect("a file");
    let draw = |daemon: &Daemon, more: &[&str], to: &str| {
        let common = [
            "generate",
            "a red apple",
            "-m",
            &name,
            "--seed",
            "3",
            "--size",
            "64x64",
            "--steps",
            "4",
            "-o",
            to,
        ];
        daemon
            .run(common.into_iter().chain(more.iter().copied()))
            .ok();
        fs::read(daemon.work().join(to)).expect("the picture")
    };
    let pixels = |png: &[u8]| image::load_from_memory(png).expect("a picture").to_rgb8();
    let plain = draw(&daemon, &[], "plain.png");
    fs::remove_file(&vae).expect("no weights are left in the folder");
    let own = moved.display().to_string();
    let drawn = draw(&daemon, &["--vae", &own], "own.png");
    assert!(
        pixels(&drawn) == pixels(&plain),
        "the same numbers in another file"
    );
    let part = format!("vae={own}");
    let drawn = draw(&daemon, &["--part", &part], "part.png");
    assert!(pixels(&drawn) == pixels(&plain));

    // A network of its own beside it: the folder has only configuration and tokenizer then.
    let network = daemon.work().join("network.gguf");
    fs::write(&network, gguf(&read(&unet))).expect("a file");
    fs::remove_file(&unet).expect("nor here");
    let network = format!("unet={}", network.display());
    let drawn = draw(&daemon, &["--part", &part, "--part", &network], "both.png");
    assert!(pixels(&drawn) == pixels(&plain));

    for (argument, says) in [
        ("vea=/x.safetensors", "no file"),
        ("vae", "give a part and its file"),
        ("text_encoder_9=model/model_index.json", "text_encoder_9"),
        ("vae=model/model_index.json", "model_index.json"),
    ] {
        let refused = daemon.run([
            "generate",
            "a red apple",
            "-m",
            &name,
            "--part",
            &network,
            "--part",
            argument,
        ]);
        assert_ne!(refused.code, 0, "{argument}");
        assert!(
            refused.stderr.contains(says),
            "{argument}: {}",
            refused.stderr
        );
    }

    // A job keeps its parts over a restart.
    let submitted = daemon.run([
        "generate",
        "a red apple",
        "-m",
        &name,
        "--seed",
        "3",
        "--size",
        "64x64",
        "--steps",
        "4",
        "--part",
        &part,
        "--part",
        &network,
        "--detach",
    ]);
    let id = submitted.ok().stdout.trim().to_owned();
    daemon.kill();
    daemon.start_again();
    daemon.run(["attach", &id, "-o", "later.png"]).ok();
    let later = fs::read(daemon.work().join("later.png")).expect("the picture");
    assert!(pixels(&later) == pixels(&plain));
}
