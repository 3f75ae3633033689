//! The autoencoder against diffusers, its law, and configs that must be refused.

use serde_json::json;

use super::*;
use crate::ErrorKind;
use crate::golden::{Golden, assert_batches_equal_singles, noise, values};

fn load(golden: &Golden) -> AutoencoderKL {
    AutoencoderKL::load(&golden.loader(), &golden.config()).unwrap()
}

/// `sd`: 4 channels and quant convs; `xl`: 16 channels, none, and the attention names of the first checkpoints.
#[test]
fn equals_diffusers_both_ways() {
    for family in ["sd", "xl"] {
        let golden = Golden::open(family, "vae");
        let vae = load(&golden);
        golden.assert_equals("decoded", &vae.decode(golden.tensor("latents")).unwrap());
        let (mean, log_variance) = vae.encode(golden.tensor("pixels")).unwrap();
        golden.assert_equals("mean", &mean);
        golden.assert_equals("logvar", &log_variance);
        assert_eq!(golden.config::<Config>().scale_factor(), 2);
    }
}

/// conv around the latents (`sd` alone), conv, residual block, attention, residual block, two levels of two residual
/// blocks with an upsampler between, head. A residual block is two pieces.
#[test]
fn the_decoder_has_a_piece_for_each_block() {
    for family in ["sd", "xl"] {
        let golden = Golden::open(family, "vae");
        let config: Config = golden.config();
        assert_eq!(config.block_out_channels.len(), 2);
        let around = usize::from(config.use_post_quant_conv) + 1 + 1;
        let expected = around + 5 + 2 * 2 * (config.layers_per_block + 1) + 1;
        let vae = load(&golden);
        assert_eq!(vae.decode_stage_count(), expected);
        let begun = || vae.begin_decode(&noise(1, &[1, 4, 4, config.latent_channels]));
        assert!(vae.decode_stage(expected, begun().unwrap()).is_err());
        assert!(vae.decode_stage(around + 1, begun().unwrap()).is_err());
    }
}

/// Whatever is kept in whichever bands, and enlargements that are made twice: the same bits.
#[test]
fn pictures_do_not_depend_on_what_is_kept() {
    for family in ["sd", "xl"] {
        let golden = Golden::open(family, "vae");
        let config: Config = golden.config();
        let latents = noise(5, &[1, 19, 23, config.latent_channels]);
        let pixels = noise(6, &[1, 38, 46, config.in_channels]);
        for loader in golden.loaders() {
            let both = |band_pixels, most_bytes| {
                let keeping = Keeping {
                    band_pixels,
                    most_bytes,
                };
                let vae = AutoencoderKL::load_keeping(&loader, &config, keeping).unwrap();
                let (mean, log_variance) = vae.encode(&pixels).unwrap();
                let decoded = vae.decode(&latents).unwrap();
                [decoded, mean, log_variance].map(|tensor| values(&tensor))
            };
            let whole = both(1 << 20, usize::MAX);
            assert!(whole == both(1, usize::MAX));
            assert!(whole == both(1, 0));
            assert!(whole == both(300, 0));
        }
    }
}

#[test]
fn batches_equal_singles_on_any_number_of_threads() {
    let golden = Golden::open("sd", "vae");
    for loader in golden.loaders() {
        let vae = AutoencoderKL::load(&loader, &golden.config()).unwrap();
        assert_batches_equal_singles(&[&[7, 5, 4]], |x| vae.decode(&x[0]).unwrap());
        assert_batches_equal_singles(&[&[9, 12, 3]], |x| vae.encode(&x[0]).unwrap().0);
    }
}

#[test]
fn configs_that_cannot_be_honoured_are_refused_by_field() {
    let golden = Golden::open("sd", "vae");
    let config: serde_json::Value = golden.config();
    for (field, value) in [
        ("act_fn", json!("mish")),
        (
            "down_block_types",
            json!(["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]),
        ),
        ("up_block_types", json!(["UpDecoderBlock2D"])),
        ("block_out_channels", json!([])),
        ("block_out_channels", json!([8, u64::MAX])),
        ("norm_num_groups", json!(0)),
        ("norm_num_groups", json!(5)),
        ("latent_channels", json!(u64::MAX)),
        ("layers_per_block", json!(u64::MAX)),
    ] {
        let mut config = config.clone();
        config[field] = value.clone();
        let config: Config = serde_json::from_value(config).unwrap();
        let error = AutoencoderKL::load(&golden.loader(), &config)
            .err()
            .expect("refused");
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(
            error.to_string().contains(field),
            "{field} = {value}: {error}"
        );
    }
}

#[test]
fn latents_of_other_channels_are_errors() {
    let golden = Golden::open("sd", "vae");
    assert!(load(&golden).decode(golden.tensor("pixels")).is_err());
}
