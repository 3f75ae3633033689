//! Each layer against torch, and each layer's law.

use candle_core::{DType, Tensor};

use super::*;
use crate::Precision;
use crate::checkpoint::Loader;
use crate::golden::{Golden, assert_batches_equal_singles, noise, values};

fn golden() -> Golden {
    Golden::open("", "layers")
}

fn conv(
    loader: &Loader,
    name: &str,
    channels: (usize, usize),
    kernel: usize,
    stride: usize,
    padding: (usize, usize),
) -> Conv2d {
    let (in_channels, out_channels) = channels;
    let config = Conv2dConfig {
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
    };
    Conv2d::load(&loader.pp(name), config).unwrap()
}

#[test]
fn convolutions_equal_torch() {
    let golden = golden();
    let (image, few) = (golden.tensor("image"), golden.tensor("few"));
    let conv3 = conv(&golden.loader(), "conv3", (18, 37), 3, 1, (1, 1));
    golden.assert_equals("conv3", &conv3.forward(image).unwrap());
    let resized = |size| ConvExtras {
        resized_to: Some(size),
        ..Default::default()
    };
    golden.assert_equals(
        "conv3_double",
        &conv3.forward_with(image, resized((10, 14))).unwrap(),
    );
    let double = DoublingConv2d::load(&golden.loader().pp("conv3"), 18, 37).unwrap();
    golden.assert_equals("conv3_double", &double.forward(image).unwrap());
    golden.assert_equals(
        "conv3_resized",
        &conv3.forward_with(image, resized((9, 13))).unwrap(),
    );
    golden.assert_equals(
        "conv3_stride2",
        &conv(&golden.loader(), "conv3", (18, 37), 3, 2, (1, 1))
            .forward(image)
            .unwrap(),
    );
    golden.assert_equals(
        "conv3_after",
        &conv(&golden.loader(), "conv3", (18, 37), 3, 2, (0, 1))
            .forward(image)
            .unwrap(),
    );
    golden.assert_equals(
        "conv3_few",
        &conv(&golden.loader(), "conv3_few", (3, 5), 3, 1, (1, 1))
            .forward(few)
            .unwrap(),
    );
    golden.assert_equals(
        "conv1",
        &conv(&golden.loader(), "conv1", (18, 33), 1, 1, (0, 0))
            .forward(image)
            .unwrap(),
    );
    let linear = Linear::load_conv1x1(&golden.loader().pp("conv1"), 18, 33).unwrap();
    golden.assert_equals("conv1", &linear.forward(image).unwrap());
}

#[test]
fn what_is_added_to_a_convolution_is_added() {
    let golden = golden();
    let conv3 = conv(&golden.loader(), "conv3", (18, 37), 3, 1, (1, 1));
    let image = golden.tensor("image");
    let (per_element, residual) = (noise(1, &[2, 37]), noise(2, &[2, 5, 7, 37]));
    let extras = ConvExtras {
        per_element: Some(&per_element),
        residual: Some(&residual),
        ..ConvExtras::default()
    };
    let together = values(&conv3.forward_with(image, extras).unwrap());
    let plain = conv3.forward(image).unwrap();
    let apart = plain
        .broadcast_add(&per_element.reshape((2, 1, 1, 37)).unwrap())
        .unwrap();
    let apart = values(&(apart + residual).unwrap());
    assert!(
        together
            .iter()
            .zip(&apart)
            .all(|(a, b)| (a - b).abs() < 1e-5)
    );
}

#[test]
fn norms_equal_torch_far_from_zero_too() {
    let golden = golden();
    let shifted = golden.tensor("shifted");
    let norm = GroupNorm::load(&golden.loader().pp("norm"), 6, 18, 1e-5).unwrap();
    golden.assert_equals("group_norm", &norm.forward(shifted).unwrap());
    golden.assert_equals(
        "group_norm_silu",
        &norm.forward_activate(shifted, Activation::Silu).unwrap(),
    );
    let norm = LayerNorm::load(&golden.loader().pp("norm"), 18, 1e-5).unwrap();
    golden.assert_equals(
        "layer_norm",
        &norm.forward(&image_to_tokens(shifted).unwrap()).unwrap(),
    );
    let halves = shifted.to_dtype(DType::BF16).unwrap();
    let widened = halves.to_dtype(DType::F32).unwrap();
    let norm = GroupNorm::load(&golden.loader().pp("norm"), 6, 18, 1e-5).unwrap();
    assert_eq!(
        values(&norm.forward(&halves).unwrap()),
        values(&norm.forward(&widened).unwrap()),
        "the format of what comes in changes nothing"
    );
    assert!(GroupNorm::load(&golden.loader().pp("norm"), 0, 18, 1e-5).is_err());
    assert!(GroupNorm::load(&golden.loader().pp("norm"), 5, 18, 1e-5).is_err());
}

#[test]
fn linear_layers_equal_torch() {
    let golden = golden();
    let tokens = image_to_tokens(golden.tensor("image")).unwrap();
    let linear = Linear::load(&golden.loader().pp("linear"), 18, 45).unwrap();
    golden.assert_equals("linear", &linear.forward(&tokens).unwrap());
    golden.assert_equals(
        "linear_gelu",
        &linear.forward_activate(&tokens, Activation::Gelu).unwrap(),
    );
    golden.assert_equals(
        "linear_quick_gelu",
        &linear
            .forward_activate(&tokens, Activation::QuickGelu)
            .unwrap(),
    );
    let geglu = GatedLinear::load_geglu(&golden.loader().pp("geglu"), 18, 41).unwrap();
    golden.assert_equals("geglu", &geglu.forward(&tokens).unwrap());
}

#[test]
fn attention_equals_torch() {
    let golden = golden();
    let (q, k, v) = (golden.tensor("q"), golden.tensor("k"), golden.tensor("v"));
    golden.assert_equals(
        "attention",
        &scaled_dot_product_attention(q, k, v, 3, false).unwrap(),
    );
    golden.assert_equals(
        "attention_causal",
        &scaled_dot_product_attention(q, q, q, 3, true).unwrap(),
    );
    assert!(scaled_dot_product_attention(q, k, v, 0, false).is_err());
    assert!(scaled_dot_product_attention(q, k, v, 4, false).is_err());
    assert!(scaled_dot_product_attention(q, k, q, 3, false).is_err());
}

#[test]
fn timesteps_equal_diffusers() {
    let golden = golden();
    let times = [0.0, 3.25, 601.0, 999.0];
    golden.assert_equals("time", &timestep_embedding(&times, 33, true, 0.0).unwrap());
    golden.assert_equals(
        "time_shifted",
        &timestep_embedding(&times, 32, false, 1.0).unwrap(),
    );
    assert!(
        timestep_embedding(&times, 2, true, 1.0).is_err(),
        "a division by zero"
    );
}

#[test]
fn every_layer_keeps_the_law() {
    for loader in golden().loaders() {
        for (height, width) in [(5, 7), (16, 33), (1, 1), (3, 50), (33, 35)] {
            layers_keep_the_law(&loader, height, width);
        }
    }
}

fn layers_keep_the_law(loader: &Loader, height: usize, width: usize) {
    {
        let image: &[usize] = &[height, width, 18];
        for (stride, padding) in [(1, (1, 1)), (2, (1, 1))] {
            let layer = conv(loader, "conv3", (18, 37), 3, stride, padding);
            assert_batches_equal_singles(&[image], |x| layer.forward(&x[0]).unwrap());
        }
        let norm = GroupNorm::load(&loader.pp("norm"), 6, 18, 1e-5).unwrap();
        let double = DoublingConv2d::load(&loader.pp("conv3"), 18, 37).unwrap();
        assert_batches_equal_singles(&[image], |x| double.forward(&x[0]).unwrap());
        assert_batches_equal_singles(&[image], |x| {
            norm.forward_activate(&x[0], Activation::Silu).unwrap()
        });
        let linear = Linear::load(&loader.pp("linear"), 18, 45).unwrap();
        assert_batches_equal_singles(&[image], |x| {
            linear.forward_activate(&x[0], Activation::Gelu).unwrap()
        });
        let geglu = GatedLinear::load_geglu(&loader.pp("geglu"), 18, 41).unwrap();
        assert_batches_equal_singles(&[image], |x| geglu.forward(&x[0]).unwrap());
        let norm = LayerNorm::load(&loader.pp("norm"), 18, 1e-5).unwrap();
        assert_batches_equal_singles(&[image], |x| norm.forward(&x[0]).unwrap());
        let (queries, keys): (&[usize], &[usize]) = (&[height * width, 18], &[9, 18]);
        for causal in [false, true] {
            let dtype = match loader.precision() {
                Precision::Bf16 => DType::BF16,
                _ => DType::F32,
            };
            let attend = |q: &Tensor, k: &Tensor| {
                let [q, k] = [q, k].map(|x| x.to_dtype(dtype).unwrap());
                scaled_dot_product_attention(&q, &k, &k, 3, causal).unwrap()
            };
            assert_batches_equal_singles(&[queries, keys], |x| attend(&x[0], &x[1]));
        }
        assert_batches_equal_singles(&[image, &[height, width, 3]], |x| {
            concat_channels(&x[0], &x[1]).unwrap()
        });
    }
}

#[test]
fn a_nan_is_passed_on_to_its_own_element_only() {
    let golden = golden();
    let bad = Tensor::full(f32::NAN, (1, 5, 7, 18), &candle_core::Device::Cpu).unwrap();
    let both = Tensor::cat(&[bad, noise(1, &[1, 5, 7, 18])], 0).unwrap();
    let tokens = image_to_tokens(&both).unwrap();
    let norm = GroupNorm::load(&golden.loader().pp("norm"), 6, 18, 1e-5).unwrap();
    for result in [
        conv(&golden.loader(), "conv3", (18, 37), 3, 1, (1, 1))
            .forward(&both)
            .unwrap(),
        norm.forward_activate(&both, Activation::Silu).unwrap(),
        scaled_dot_product_attention(&tokens, &tokens, &tokens, 3, false).unwrap(),
    ] {
        let values = values(&result);
        let (bad, good) = values.split_at(values.len() / 2);
        assert!(bad.iter().all(|x| x.is_nan()) && good.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn layers_refuse_what_does_not_fit() {
    let golden = golden();
    let layer = conv(&golden.loader(), "conv3", (18, 37), 3, 1, (1, 1));
    assert!(layer.forward(&noise(1, &[1, 5, 7, 17])).is_err());
    assert!(layer.forward(&noise(1, &[1, 0, 7, 18])).is_err());
    assert!(
        layer
            .forward(&noise(1, &[1, 7, 5, 18]).transpose(1, 2).unwrap())
            .is_err(),
        "not contiguous"
    );
    let wrong = Linear::load(&golden.loader().pp("linear"), 19, 45)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("linear.weight") && wrong.contains("19") && wrong.contains("18"),
        "{wrong}"
    );
}

/// Products of bf16 numbers are those of single precision to two digits and more, in every kind of layer.
#[test]
fn layers_in_bf16_are_close_to_torch() {
    let golden = golden();
    let [_, loader] = golden.loaders();
    let image = golden.tensor("image");
    let tokens = image_to_tokens(image).unwrap();
    let close = |name: &str, found: &Tensor| golden.assert_within(0.01, name, found);
    let conv3 = conv(&loader, "conv3", (18, 37), 3, 1, (1, 1));
    close("conv3", &conv3.forward(image).unwrap());
    let stride2 = conv(&loader, "conv3", (18, 37), 3, 2, (1, 1));
    close("conv3_stride2", &stride2.forward(image).unwrap());
    let double = DoublingConv2d::load(&loader.pp("conv3"), 18, 37).unwrap();
    close("conv3_double", &double.forward(image).unwrap());
    let linear = Linear::load(&loader.pp("linear"), 18, 45).unwrap();
    close("linear", &linear.forward(&tokens).unwrap());
    let gelu = linear.forward_activate(&tokens, Activation::Gelu).unwrap();
    assert_eq!(gelu.dtype(), DType::BF16);
    close("linear_gelu", &gelu);
    let geglu = GatedLinear::load_geglu(&loader.pp("geglu"), 18, 41).unwrap();
    close("geglu", &geglu.forward(&tokens).unwrap());
    let norm = GroupNorm::load(&loader.pp("norm"), 6, 18, 1e-5).unwrap();
    let shifted = golden.tensor("shifted");
    close(
        "group_norm_silu",
        &norm.forward_activate(shifted, Activation::Silu).unwrap(),
    );
    let halves = |name: &str| golden.tensor(name).to_dtype(DType::BF16).unwrap();
    let (q, k, v) = (halves("q"), halves("k"), halves("v"));
    close(
        "attention",
        &scaled_dot_product_attention(&q, &k, &v, 3, false).unwrap(),
    );
    close(
        "attention_causal",
        &scaled_dot_product_attention(&q, &q, &q, 3, true).unwrap(),
    );
    assert!(scaled_dot_product_attention(&q, golden.tensor("k"), &v, 3, false).is_err());
}
