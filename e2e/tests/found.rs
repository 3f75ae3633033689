//! Models of other programs on the machine are found where they lie, and drawn with by their names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use imgd_e2e::{Daemon, Home, repository};
use serde_json::{Map, Value};

/// The place of the starter's UNet blocks in a file of Stable Diffusion's authors, by diffusers' names.
const BLOCKS: &[(&str, &str)] = &[
    ("down_blocks.0.resnets.0", "input_blocks.1.0"),
    ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
    ("down_blocks.1.resnets.0", "input_blocks.3.0"),
    ("down_blocks.1.attentions.0", "input_blocks.3.1"),
    ("down_blocks.1.downsamplers.0.conv", "input_blocks.4.0.op"),
    ("down_blocks.2.resnets.0", "input_blocks.5.0"),
    ("down_blocks.2.attentions.0", "input_blocks.5.1"),
    ("mid_block.resnets.0", "middle_block.0"),
    ("mid_block.attentions.0", "middle_block.1"),
    ("mid_block.resnets.1", "middle_block.2"),
    ("up_blocks.0.resnets.0", "output_blocks.0.0"),
    ("up_blocks.0.attentions.0", "output_blocks.0.1"),
    ("up_blocks.0.resnets.1", "output_blocks.1.0"),
    ("up_blocks.0.attentions.1", "output_blocks.1.1"),
    ("up_blocks.0.upsamplers.0.conv", "output_blocks.1.2.conv"),
    ("up_blocks.1.resnets.0", "output_blocks.2.0"),
    ("up_blocks.1.attentions.0", "output_blocks.2.1"),
    ("up_blocks.1.resnets.1", "output_blocks.3.0"),
    ("up_blocks.1.attentions.1", "output_blocks.3.1"),
    ("up_blocks.1.upsamplers.0.conv", "output_blocks.3.2.conv"),
    ("up_blocks.2.resnets.0", "output_blocks.4.0"),
    ("up_blocks.2.resnets.1", "output_blocks.5.0"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// Layers of a residual block.
const LAYERS: &[(&str, &str)] = &[
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
];

fn starter() -> PathBuf {
    repository().join("models/starter")
}

/// What the authors call a tensor of the UNet.
fn authors_name(name: &str) -> String {
    let (new, old) = BLOCKS
        .iter()
        .find(|(new, _)| name.starts_with(&format!("{new}.")))
        .unwrap_or_else(|| panic!("{name} is in no block"));
    let rest = &name[new.len() + 1..];
    let layer = LAYERS.iter().find(|(new, _)| rest.starts_with(new));
    let rest = match layer {
        Some((new, old)) if name.contains(".resnets.") => format!("{old}{}", &rest[new.len()..]),
        _ => rest.to_owned(),
    };
    format!("model.diffusion_model.{old}.{rest}")
}

/// The starter's network in a file as its authors would have written it; the numbers stay where they are.
fn single_file() -> Vec<u8> {
    let bytes =
        fs::read(starter().join("unet/diffusion_pytorch_model.safetensors")).expect("the network");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a header");
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
    let (header, data) = rest.split_at(length);
    let header: Map<String, Value> = serde_json::from_slice(header).expect("a header");
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    let renamed: Map<String, Value> = tensors
        .map(|(name, entry)| (authors_name(&name), entry))
        .collect();
    let header = serde_json::to_vec(&renamed).expect("JSON");
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_slice(),
        data,
    ]
    .concat()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the home is ours");
    fs::write(path, bytes).expect("the home is ours");
}

/// A home in which ComfyUI lies where it usually does, and A1111's folders where a file of ComfyUI's says.
fn home() -> Home {
    let home = Home::new();
    let comfy = home.path().join("home/ComfyUI/models");
    let webui = home.path().join("webui/models");
    write(
        &comfy.join("checkpoints/little.safetensors"),
        &single_file(),
    );
    write(
        &comfy.join("checkpoints/more/twice.safetensors"),
        &single_file(),
    );
    write(
        &comfy.join("checkpoints/broken.safetensors"),
        b"no model at all",
    );
    let vae = fs::read(starter().join("vae/diffusion_pytorch_model.safetensors")).expect("it");
    write(&comfy.join("vae/little-vae.safetensors"), &vae);
    write(
        &webui.join("Stable-diffusion/twice.safetensors"),
        &single_file(),
    );
    let paths = format!(
        "a1111:\n    base_path: {}\n    checkpoints: models/Stable-diffusion\n    loras: |\n        models/Lora\n",
        home.path().join("webui").display()
    );
    write(
        &home.path().join("elsewhere/extra_model_paths.yaml"),
        paths.as_bytes(),
    );
    home
}

fn started(home: Home) -> Daemon {
    let paths = home.path().join("elsewhere/extra_model_paths.yaml");
    let places = format!("auto:{}", paths.display());
    Daemon::start_in(home, move |command| {
        command.env("IMGD_MODEL_DIRS", &places);
    })
}

#[test]
fn models_of_other_programs_are_listed_and_drawn_with_by_name() {
    let daemon = started(home());
    let listed = daemon.run(["models", "--json"]).ok().json();
    let told = |key: &str| -> Vec<&str> {
        let models = listed.iter().filter(|line| line["event"] == "model");
        models
            .map(|model| model[key].as_str().expect(key))
            .collect()
    };
    assert_eq!(
        told("name"),
        ["starter", "Stable-diffusion/twice", "little", "more/twice"]
    );
    assert_eq!(told("origin"), ["imgd", "ComfyUI", "ComfyUI", "ComfyUI"]);
    assert_eq!(told("family"), ["", "sd", "sd", "sd"]);
    assert_eq!(
        listed[2]["lacks"],
        serde_json::json!(["text_encoder", "vae"])
    );
    // The folder that the file names and that is not there.
    let notice = listed.last().expect("a notice");
    assert_eq!(notice["reason"], "models_unread");
    assert!(
        notice["message"]
            .as_str()
            .expect("text")
            .contains("models/Lora"),
        "{notice}"
    );

    let config = starter().display().to_string();
    let path = daemon
        .home()
        .path()
        .join("home/ComfyUI/models/checkpoints/little.safetensors");
    let path = path.display().to_string();
    let draw = |model: &[&str], to: &str| {
        let common = [
            "generate",
            "a red apple",
            "--seed",
            "3",
            "--size",
            "64x64",
            "--steps",
            "4",
        ];
        let output = ["-o", to];
        let arguments = common
            .into_iter()
            .chain(model.iter().copied())
            .chain(output);
        daemon.run(arguments).ok();
        fs::read(daemon.work().join(to)).expect("the picture")
    };
    let by_name = draw(&["-m", "little", "--config", &config], "name.png");
    assert!(by_name == draw(&["-m", &path, "--config", &config], "path.png"));
    let pixels = |png: &[u8]| image::load_from_memory(png).expect("a picture").to_rgb8();
    let plain = draw(&[], "starter.png");
    assert!(
        pixels(&by_name) == pixels(&plain),
        "the same numbers in another file"
    );
    let vae = draw(
        &["-m", "little", "--config", &config, "--vae", "little-vae"],
        "vae.png",
    );
    assert!(pixels(&vae) == pixels(&plain));

    for (arguments, says) in [
        (
            ["-m", "twice", "--config", config.as_str()],
            "more/twice.safetensors",
        ),
        (
            ["-m", "twice", "--config", config.as_str()],
            "webui/models/Stable-diffusion/twice",
        ),
        (
            ["-m", "litle", "--config", config.as_str()],
            "did you mean `little`",
        ),
        (["-m", "little", "--vae", "nobody"], "no file `nobody`"),
    ] {
        let refused = daemon.run(["generate", "a red apple"].into_iter().chain(arguments));
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }
}

#[test]
fn who_wants_nothing_found_finds_nothing() {
    let daemon = Daemon::start_in(home(), |command| {
        command.env("IMGD_MODEL_DIRS", "none");
    });
    let listed = daemon.run(["models"]).ok().stdout;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let refused = daemon.run(["generate", "a red apple", "-m", "little"]);
    assert!(
        refused.stderr.contains("`little` is not known"),
        "{}",
        refused.stderr
    );
}
