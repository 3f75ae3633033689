//! An embedding changes the pictures whose prompts name it, in both ways, and is found again after a restart.

use std::path::Path;

use imgd_e2e::Daemon;

/// Numbers of a vector of the starter's text encoder.
const WIDTH: usize = 256;

/// Writes an embedding of two vectors of `width` numbers.
fn write_embedding(path: &Path, width: usize) {
    let number = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
    let data: Vec<u8> = (0..2 * width)
        .flat_map(|i| number(i).to_le_bytes())
        .collect();
    let entry =
        serde_json::json!({"dtype": "F32", "shape": [2, width], "data_offsets": [0, data.len()]});
    let header = serde_json::json!({"emb_params": entry}).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &data].concat();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, file).expect("an embedding");
}

#[test]
fn embeddings_are_used_told_and_found_again() {
    let mut daemon = Daemon::start();
    let folder = daemon.home().data().join("embeddings");
    write_embedding(&folder.join("bad/EasyNegative.safetensors"), WIDTH);
    write_embedding(&folder.join("wide.safetensors"), WIDTH + 1);
    std::fs::write(folder.join("old.pt"), "PK").expect("a file");
    let arguments = |negative: &str, to: &str| -> Vec<String> {
        let common = ["generate", "a red apple", "--seed", "3", "--size", "64x64"];
        let more = [
            "--steps",
            "4",
            "--guidance-scale",
            "4",
            "--negative-prompt",
            negative,
            "-o",
            to,
        ];
        common.into_iter().chain(more).map(str::to_owned).collect()
    };
    let draw = |negative: &str, to: &str| {
        let run = daemon
            .run(arguments(negative, to).iter().map(String::as_str))
            .ok();
        let bytes = std::fs::read(daemon.work().join(to)).expect("the picture");
        (run.stderr, bytes)
    };
    let pixels = |bytes: &[u8]| {
        let at = bytes.windows(4).position(|four| four == b"IDAT");
        bytes[at.expect("a PNG")..].to_vec()
    };
    let (told, word) = draw("easynegative, blurry", "word.png");
    assert!(
        told.contains("embedding `EasyNegative`: 2 vectors"),
        "{told}"
    );
    let (_, named) = draw("embedding:bad/EasyNegative, blurry", "named.png");
    let (_, without) = draw("blurry", "without.png");
    assert!(pixels(&word) == pixels(&named), "both ways are the same");
    assert!(pixels(&word) != pixels(&without), "it changes something");
    assert!(
        String::from_utf8_lossy(&word).contains("TI hashes: \"EasyNegative: "),
        "A1111's text names it"
    );
    let (told, _) = draw("wide, old, blurry", "ignored.png");
    for part in [
        "read as words: embedding `wide` has vectors of 257",
        "pickle",
    ] {
        assert!(told.contains(part), "{told}");
    }
    for (negative, part) in [
        ("embedding:easypositive", "no embedding `easypositive`"),
        ("embedding:wide", "vectors of 257 numbers"),
        ("embedding:old", "pickle"),
    ] {
        let refused = daemon.run(
            arguments(negative, "refused.png")
                .iter()
                .map(String::as_str),
        );
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }

    daemon.kill();
    daemon.start_again();
    let replayed = daemon.run(["replay", "word.png"]).ok();
    assert!(replayed.stdout.contains("identical"), "{}", replayed.stdout);
}
