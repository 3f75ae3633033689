//! An adapter changes the pictures that ask for it, by name, by path or in the prompt, and is found again.

use std::path::Path;

use imgd_e2e::Daemon;

/// A layer of the starter, and its channels.
const LAYER: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
const CHANNELS: usize = 256;

/// Writes an adapter of rank 2.
fn write_adapter(path: &Path) {
    let number = |i: usize| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 0.5;
    let data: Vec<u8> = (0..4 * CHANNELS)
        .flat_map(|i| number(i).to_le_bytes())
        .collect();
    let half = data.len() / 2;
    let header = serde_json::json!({
        (format!("{LAYER}.lora_down.weight")): {"dtype": "F32", "shape": [2, CHANNELS], "data_offsets": [0, half]},
        (format!("{LAYER}.lora_up.weight")): {"dtype": "F32", "shape": [CHANNELS, 2], "data_offsets": [half, data.len()]},
    })
    .to_string();
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &data].concat();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, file).expect("an adapter");
}

#[test]
fn adapters_are_applied_told_and_found_again() {
    let mut daemon = Daemon::start();
    let file = daemon.home().data().join("loras/styles/ink.safetensors");
    write_adapter(&file);
    let by_path = format!("{}:0.9", file.display());
    let draw = |prompt: &str, more: &[&str], to: &str| {
        let common = [
            "generate", prompt, "--seed", "3", "--size", "64x64", "--steps", "4", "-o", to,
        ];
        let run = daemon
            .run(common.into_iter().chain(more.iter().copied()))
            .ok();
        let bytes = std::fs::read(daemon.work().join(to)).expect("the picture");
        (run.stderr, bytes)
    };
    let (_, plain) = draw("a red apple", &[], "plain.png");
    let (told, named) = draw("a red apple", &["--lora", "ink:0.9"], "named.png");
    assert!(told.contains("LoRA `ink`: 1 of 1 keys applied"), "{told}");
    assert!(named != plain, "the adapter changes something");
    let (_, in_prompt) = draw("a red apple <lora:ink:0.9>", &[], "tag.png");
    assert!(in_prompt == named, "a tag is the same as a flag");
    let (_, from_path) = draw("a red apple", &["--lora", &by_path], "path.png");
    assert!(from_path == named, "a path is the same as a name");
    let (_, again) = draw("a red apple", &[], "again.png");
    assert!(again == plain, "the model is what it was");
    assert!(
        String::from_utf8_lossy(&named).contains("a red apple <lora:ink:0.9>"),
        "A1111's text names it"
    );

    let refused = daemon.run(["generate", "a red apple", "--lora", "inc"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no LoRA `inc`"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("`styles/ink`"),
        "{}",
        refused.stderr
    );

    daemon.kill();
    daemon.start_again();
    let replayed = daemon.run(["replay", "named.png"]).ok();
    assert!(replayed.stdout.contains("identical"), "{}", replayed.stdout);
}
