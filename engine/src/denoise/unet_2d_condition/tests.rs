//! The network against diffusers, its law, and configs that must be refused.

use serde_json::json;

use super::*;
use crate::golden::{Golden, assert_batches_equal_singles, values};

fn load(golden: &Golden) -> UNet2DConditionModel {
    UNet2DConditionModel::load(&golden.loader(), &golden.config()).unwrap()
}

fn added(golden: &Golden) -> AddedConditioning {
    AddedConditioning {
        text_embeds: golden.tensor("text_embeds").clone(),
        time_ids: golden.tensor("time_ids").clone(),
    }
}

#[test]
fn equals_diffusers_on_even_and_odd_sizes() {
    for family in ["sd", "xl"] {
        let golden = Golden::open(family, "unet");
        let unet = load(&golden);
        let timesteps: Vec<f64> = values(golden.tensor("timesteps"))
            .into_iter()
            .map(f64::from)
            .collect();
        let added = (family == "xl").then(|| added(&golden));
        for size in ["even", "odd"] {
            let sample = golden.tensor(&format!("{size}.sample"));
            let output = unet
                .forward(sample, &timesteps, golden.tensor("text"), added.as_ref())
                .unwrap();
            golden.assert_equals(&format!("{size}.output"), &output);
            let [_, bf16] = golden.loaders();
            let unet = UNet2DConditionModel::load(&bf16, &golden.config()).unwrap();
            let output = unet
                .forward(sample, &timesteps, golden.tensor("text"), added.as_ref())
                .unwrap();
            golden.assert_within(0.02, &format!("{size}.output"), &output);
        }
    }
}

#[test]
fn batches_equal_singles_on_any_number_of_threads() {
    for family in ["sd", "xl"] {
        let golden = Golden::open(family, "unet");
        let unets = golden
            .loaders()
            .map(|loader| UNet2DConditionModel::load(&loader, &golden.config()).unwrap());
        for (unet, (height, width)) in unets
            .iter()
            .flat_map(|unet| [(8, 8), (5, 7)].map(|size| (unet, size)))
        {
            // Timesteps ride along as numbers of their own input.
            assert_batches_equal_singles(&[&[height, width, 4], &[5, 12], &[1], &[6], &[6]], |x| {
                let timesteps: Vec<f64> = values(&x[2])
                    .into_iter()
                    .map(|t| 500.0 + 400.0 * f64::from(t))
                    .collect();
                let added = AddedConditioning {
                    text_embeds: x[3].clone(),
                    time_ids: (&x[4] * 100.0).unwrap(),
                };
                let added = (family == "xl").then_some(added);
                unet.forward(&x[0], &timesteps, &x[1], added.as_ref())
                    .unwrap()
            });
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_errors() {
    let golden = Golden::open("xl", "unet");
    let unet = load(&golden);
    let (sample, text) = (golden.tensor("even.sample"), golden.tensor("text"));
    let added = added(&golden);
    assert!(
        unet.forward(sample, &[1.0, 2.0], text, None).is_err(),
        "sizes are missing"
    );
    assert!(
        unet.forward(sample, &[1.0], text, Some(&added)).is_err(),
        "a timestep is missing"
    );
    assert!(
        unet.forward(text, &[1.0, 2.0], text, Some(&added)).is_err(),
        "not an image"
    );
    let short = text.narrow(2, 0, 11).unwrap();
    assert!(
        unet.forward(sample, &[1.0, 2.0], &short, Some(&added))
            .is_err(),
        "text of another width"
    );
}

#[test]
fn configs_that_cannot_be_honoured_are_refused_by_field() {
    let golden = Golden::open("sd", "unet");
    let config: serde_json::Value = golden.config();
    for (field, value) in [
        ("class_embed_type", json!("timestep")),
        ("num_class_embeds", json!(1000)),
        ("only_cross_attention", json!(true)),
        ("dual_cross_attention", json!(true)),
        ("time_cond_proj_dim", json!(256)),
        ("encoder_hid_dim", json!(768)),
        ("addition_embed_type", json!("image")),
        ("resnet_time_scale_shift", json!("scale_shift")),
        ("time_embedding_type", json!("fourier")),
        ("attention_type", json!("gated")),
        ("act_fn", json!("mish")),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("mid_block_scale_factor", json!(2)),
        (
            "down_block_types",
            json!(["KDownBlock2D", "DownBlock2D", "DownBlock2D"]),
        ),
        ("up_block_types", json!(["UpBlock2D"])),
        ("block_out_channels", json!([])),
        ("block_out_channels", json!([0, 8, 12])),
        ("block_out_channels", json!([u64::MAX, 8, 12])),
        ("layers_per_block", json!(0)),
        ("layers_per_block", json!(u64::MAX)),
        ("layers_per_block", json!([1, 1])),
        ("transformer_layers_per_block", json!([1, 1, 100_000])),
        ("attention_head_dim", json!(0)),
        ("attention_head_dim", json!(3)),
        ("norm_num_groups", json!(0)),
        ("norm_num_groups", json!(5)),
        ("conv_in_kernel", json!(0)),
        ("conv_out_kernel", json!(2)),
        ("freq_shift", json!(4)),
        ("in_channels", json!(0)),
        ("cross_attention_dim", json!(0)),
        ("downsample_padding", json!(9)),
    ] {
        let mut config = config.clone();
        config[field] = value.clone();
        let config: Config = serde_json::from_value(config).unwrap();
        let error = UNet2DConditionModel::load(&golden.loader(), &config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(
            error.to_string().contains(field),
            "{field} = {value}: {error}"
        );
    }
}

#[test]
fn a_config_of_other_shapes_names_the_tensor() {
    let golden = Golden::open("sd", "unet");
    let mut config: serde_json::Value = golden.config();
    config["cross_attention_dim"] = json!(16);
    let config: Config = serde_json::from_value(config).unwrap();
    let error = UNet2DConditionModel::load(&golden.loader(), &config)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("attn2.to_k.weight") && error.contains("12") && error.contains("16"),
        "{error}"
    );
}

#[test]
fn layers_of_transformers_may_be_given_in_three_ways() {
    let layers = |value| serde_json::from_value::<TransformerLayers>(value).unwrap();
    assert_eq!(layers(json!(2)), TransformerLayers::Same(2));
    let (one, many) = (OneOrMany::One(1), OneOrMany::Many(vec![2, 3]));
    assert_eq!(
        layers(json!([1, [2, 3]])),
        TransformerLayers::PerBlock(vec![one, many])
    );
}
