//! The tiny autoencoder against diffusers, its law, the layouts of its files, and files that must be refused.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::json;

use super::*;
use crate::checkpoint::{Source, Weights};
use crate::golden::{Golden, noise, values};
use crate::keys::tiny::{recognises, rename};
use crate::{ErrorKind, Precision};

fn weights(golden: &Golden) -> Weights {
    rename(&golden.weights()).unwrap()
}

fn open(weights: &Weights) -> Result<AutoencoderTiny> {
    AutoencoderTiny::load(&weights.loader(&Device::Cpu, None), &Sizes::of(weights)?)
}

/// `vae` is diffusers' class; blocks of `pooled` look at the whole image, as those of TAEF2 do.
#[test]
fn equals_the_reference_both_ways() {
    for (name, channels) in [("vae", 4), ("pooled", 8)] {
        let golden = Golden::open("tiny", name);
        let weights = weights(&golden);
        let sizes = Sizes::of(&weights).unwrap();
        assert_eq!((sizes.latent_channels, sizes.scale_factor), (channels, 4));
        let vae = open(&weights).unwrap();
        golden.assert_equals("decoded", &vae.decode(golden.tensor("latents")).unwrap());
        golden.assert_equals("encoded", &vae.encode(golden.tensor("pixels")).unwrap());
    }
}

#[test]
fn pictures_do_not_depend_on_bands() {
    for name in ["vae", "pooled"] {
        let golden = Golden::open("tiny", name);
        let weights = weights(&golden);
        let sizes = Sizes::of(&weights).unwrap();
        let latents = noise(5, &[1, 19, 23, sizes.latent_channels]);
        let pixels = noise(6, &[1, 76, 92, 3]);
        for precision in [Precision::F32, Precision::Bf16] {
            let loader = weights.loader(&Device::Cpu, None).with_precision(precision);
            let both = |band_pixels| {
                let vae = AutoencoderTiny::load_in_bands(&loader, &sizes, band_pixels).unwrap();
                let (decoded, encoded) = (vae.decode(&latents), vae.encode(&pixels));
                [decoded, encoded].map(|tensor| values(&tensor.unwrap()))
            };
            let whole = both(1 << 20);
            for band_pixels in [1, 300, 1000] {
                assert!(whole == both(band_pixels), "{name}, {band_pixels} pixels");
            }
        }
    }
}

#[test]
fn threads_and_pieces_change_no_bit() {
    let golden = Golden::open("tiny", "vae");
    let vae = open(&weights(&golden)).unwrap();
    let latents = noise(9, &[1, 17, 12, 4]);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| values(&vae.decode(&latents).unwrap()))
    };
    let one = on(1);
    assert!(one == on(2));
    let mut hidden = vae.begin_decode(&latents).unwrap();
    // conv, block, twice doubling and block, head, range.
    assert_eq!(vae.decode_stage_count(), 8);
    for stage in 0..8 {
        hidden = vae.decode_stage(stage, hidden).unwrap();
    }
    assert!(one == values(&hidden.into_tensor().unwrap()));
}

/// The golden file under other names: of each half, what stands before the numbers, and what is added to them.
fn write(
    golden: &Golden,
    path: &Path,
    encoder: Option<&str>,
    decoder: Option<(&str, usize)>,
) -> Weights {
    let source = golden.folder().join("diffusion_pytorch_model.safetensors");
    let tensors = candle_core::safetensors::load(source, &Device::Cpu).unwrap();
    let tensors: BTreeMap<_, _> = tensors.into_iter().collect();
    let mut named: HashMap<String, Tensor> = HashMap::new();
    for (name, tensor) in tensors {
        let (half, rest) = name.split_once(".layers.").unwrap();
        let (number, rest) = rest.split_once('.').unwrap();
        let number: usize = number.parse().unwrap();
        let name = match (half, encoder, decoder) {
            ("encoder", Some(prefix), _) => format!("{prefix}{number}.{rest}"),
            ("decoder", _, Some((prefix, more))) => format!("{prefix}{}.{rest}", number + more),
            _ => continue,
        };
        named.insert(name, tensor);
    }
    // What ComfyUI writes beside them.
    named.insert(
        "vae_scale".to_owned(),
        Tensor::new(0.18215f32, &Device::Cpu).unwrap(),
    );
    candle_core::safetensors::save(&named, path).unwrap();
    let single = Source::single_file(path, None, &[]).unwrap();
    single.open_single().unwrap().unwrap()
}

#[test]
fn every_layout_is_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["vae", "pooled"] {
        let golden = Golden::open("tiny", name);
        for (encoder, decoder) in [
            (Some("encoder.layers."), Some(("decoder.layers.", 0))),
            (Some("taesd_encoder."), Some(("taesd_decoder.", 1))),
            (Some("encoder."), Some(("decoder.", 1))),
            (None, Some(("", 1))),
            (None, Some(("decoder.layers.", 0))),
        ] {
            let file = folder.path().join("whatever.safetensors");
            let found = write(&golden, &file, encoder, decoder);
            let vae = open(&rename(&found).unwrap()).unwrap();
            golden.assert_equals("decoded", &vae.decode(golden.tensor("latents")).unwrap());
            let encoded = vae.encode(golden.tensor("pixels"));
            if encoder.is_some() {
                golden.assert_equals("encoded", &encoded.unwrap());
            } else {
                let error = encoded.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                assert_eq!(error.field(), Some("model_parts"));
                assert!(error.to_string().contains("no encoder"), "{error}");
            }
        }
        // An encoder alone is recognised, and can make no picture.
        let file = folder.path().join("encoder.safetensors");
        let found = write(&golden, &file, Some(""), None);
        let error = open(&rename(&found).unwrap()).err().unwrap();
        assert!(error.to_string().contains("no decoder"), "{error}");
    }
}

#[test]
fn other_files_are_no_tiny_autoencoders() {
    for (family, part) in [("sd", "vae"), ("xl", "vae"), ("sd", "unet"), ("", "layers")] {
        let weights = Golden::open(family, part).weights();
        assert!(
            rename(&weights).is_none() && !recognises(&weights),
            "{family}/{part}"
        );
    }
}

#[test]
fn halves_of_two_networks_and_torn_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        let golden = Golden::open("tiny", "vae");
        let source = golden.folder().join("diffusion_pytorch_model.safetensors");
        let mut tensors = candle_core::safetensors::load(source, &Device::Cpu).unwrap();
        change(&mut tensors);
        let path = folder.path().join(name);
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let single = Source::single_file(&path, None, &[]).unwrap();
        open(&rename(&single.open_single().unwrap().unwrap()).unwrap())
    };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu);
    let put = |name: &'static str, shape: &'static [usize]| {
        move |tensors: &mut HashMap<String, Tensor>| {
            tensors.insert(name.to_owned(), zeros(shape).unwrap());
        }
    };
    for (change, part) in [
        (
            put("decoder.layers.0.weight", &[16, 5, 3, 3]),
            "two different ones",
        ),
        (
            put("decoder.layers.4.weight", &[8, 16, 3, 3]),
            "decoder.layers.5.conv.0",
        ),
        (
            put("decoder.layers.4.weight", &[16, 16, 1, 1]),
            "decoder.layers.4.weight",
        ),
        (
            put("decoder.layers.9.weight", &[4, 16, 3, 3]),
            "three colours",
        ),
        (
            put("decoder.layers.0.weight", &[16, 4, 3]),
            "decoder.layers.0.weight",
        ),
    ] {
        let error = file("broken.safetensors", &change).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let error = file("torn.safetensors", &|tensors| {
        tensors.remove("decoder.layers.2.conv.2.bias");
    });
    let error = error.err().unwrap().to_string();
    assert!(error.contains("decoder.layers.2.conv.2.bias"), "{error}");
}

#[test]
fn configs_that_cannot_be_honoured_are_refused_by_field() {
    let golden =
        json!({"act_fn": "relu", "upsample_fn": "nearest", "upsampling_scaling_factor": 2});
    let read =
        |config: &serde_json::Value| -> Config { serde_json::from_value(config.clone()).unwrap() };
    read(&golden).check().unwrap();
    read(&json!({})).check().unwrap();
    for (field, value) in [
        ("act_fn", json!("gelu")),
        ("upsample_fn", json!("bilinear")),
        ("upsampling_scaling_factor", json!(4)),
    ] {
        let mut config = golden.clone();
        config[field] = value;
        let error = read(&config).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(error.to_string().contains(field), "{error}");
    }
}
