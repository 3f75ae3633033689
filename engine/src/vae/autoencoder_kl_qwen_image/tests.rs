//! The autoencoder against diffusers, its laws, and configs that must be refused.

use serde_json::json;

use super::*;
use crate::ErrorKind;
use crate::golden::{Golden, assert_batches_equal_singles, noise, values};

fn load(golden: &Golden) -> AutoencoderKLQwenImage {
    AutoencoderKLQwenImage::load(&golden.loader(), &golden.config()).unwrap()
}

#[test]
fn equals_diffusers_both_ways() {
    let golden = Golden::open("qwen", "vae");
    let vae = load(&golden);
    golden.assert_equals("decoded", &vae.decode(golden.tensor("latents")).unwrap());
    let (mean, log_variance) = vae.encode(golden.tensor("pixels")).unwrap();
    golden.assert_equals("mean", &mean);
    golden.assert_equals("logvar", &log_variance);
    assert_eq!(golden.config::<Config>().scale_factor(), 4);
}

/// Two convs, residual block, attention, residual block, three levels of two residual blocks with upsamplers between, head.
#[test]
fn the_decoder_has_a_piece_for_each_block() {
    let golden = Golden::open("qwen", "vae");
    let vae = load(&golden);
    assert_eq!(vae.decode_stage_count(), 2 + 3 + 3 * 2 + 2 + 1);
    let begun = vae.begin_decode(&noise(1, &[1, 4, 4, 3])).unwrap();
    assert!(vae.decode_stage(vae.decode_stage_count(), begun).is_err());
}

/// Whatever bands it is cut into: the same bits.
#[test]
fn pictures_do_not_depend_on_their_bands() {
    let golden = Golden::open("qwen", "vae");
    let latents = noise(5, &[1, 19, 23, 3]);
    let pixels = noise(6, &[1, 76, 92, 3]);
    for loader in golden.loaders() {
        let both = |band_pixels| {
            let config = golden.config();
            let vae = AutoencoderKLQwenImage::load_banded(&loader, &config, band_pixels).unwrap();
            let (mean, log_variance) = vae.encode(&pixels).unwrap();
            let decoded = vae.decode(&latents).unwrap();
            [decoded, mean, log_variance].map(|tensor| values(&tensor))
        };
        let whole = both(1 << 20);
        assert!(whole == both(1));
        assert!(whole == both(700));
    }
}

#[test]
fn batches_equal_singles_on_any_number_of_threads() {
    let golden = Golden::open("qwen", "vae");
    for loader in golden.loaders() {
        let vae = AutoencoderKLQwenImage::load(&loader, &golden.config()).unwrap();
        assert_batches_equal_singles(&[&[7, 5, 3]], |x| vae.decode(&x[0]).unwrap());
        assert_batches_equal_singles(&[&[12, 20, 3]], |x| vae.encode(&x[0]).unwrap().0);
    }
}

#[test]
fn configs_that_cannot_be_honoured_are_refused_by_field() {
    let golden = Golden::open("qwen", "vae");
    let config: serde_json::Value = golden.config();
    for (field, value) in [
        ("attn_scales", json!([1.0])),
        ("input_channels", json!(4)),
        ("dim_mult", json!([])),
        ("dim_mult", json!([1, 2, u64::MAX])),
        ("base_dim", json!(1 << 14)),
        ("base_dim", json!(0)),
        ("z_dim", json!(u64::MAX)),
        ("num_res_blocks", json!(u64::MAX)),
        ("temperal_downsample", json!([true])),
        ("latents_mean", json!([0.5])),
        ("latents_std", json!([])),
    ] {
        let mut config = config.clone();
        config[field] = value.clone();
        let config: Config = serde_json::from_value(config).unwrap();
        let error = AutoencoderKLQwenImage::load(&golden.loader(), &config)
            .err()
            .expect("refused");
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(
            error.to_string().contains(field),
            "{field} = {value}: {error}"
        );
    }
}
