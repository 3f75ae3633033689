"""Makes the golden numbers of the networks and layers: python networks.py, in this folder.

Tiny models with seeded random weights, kept in float16 and computed in float32. Made with torch 2, diffusers 0.42,
transformers 5.
"""

import os

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLQwenImage, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks")
torch.set_num_threads(1)
torch.set_grad_enabled(False)


def save(model, directory, rename=None):
    """Rounds the weights to float16, keeps them, and returns the model in float32 with the rounded weights."""
    for name, p in model.named_parameters():
        # Weights of norms and all biases get random numbers too, so that a forgotten one shows.
        if p.ndim == 1:
            p.copy_(torch.randn_like(p) * 0.1 + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    model = model.half().float().eval()
    os.makedirs(os.path.join(ROOT, directory), exist_ok=True)
    file = "model.safetensors" if "text" in directory else "diffusion_pytorch_model.safetensors"
    tensors = {k: v.half().contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    if rename:
        tensors = dict(rename(k, v) for k, v in tensors.items())
    save_file(tensors, os.path.join(ROOT, directory, file))
    model.config.to_json_file(os.path.join(ROOT, directory, "config.json")) if "text" in directory else model.save_config(
        os.path.join(ROOT, directory)
    )
    return model


def expect(directory, tensors):
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(ROOT, directory, "expected.safetensors"))


def last(x):
    return x.permute(0, 2, 3, 1)


def unet(directory, heads, cross, time_ids=None, **config):
    model = save(
        UNet2DConditionModel(
            sample_size=8, norm_num_groups=4, cross_attention_dim=cross, attention_head_dim=heads, **config
        ),
        directory,
    )
    out, added = {"text": torch.randn(2, 5, cross), "timesteps": torch.tensor([601.0, 3.25])}, None
    if time_ids is not None:
        out["text_embeds"] = torch.randn(2, config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"])
        out["time_ids"] = torch.tensor(time_ids)
        added = {"text_embeds": out["text_embeds"], "time_ids": out["time_ids"]}
    for name, (h, w) in {"even": (8, 4), "odd": (5, 7)}.items():
        x = torch.randn(2, config.get("in_channels", 4), h, w)
        y = model(x, out["timesteps"], out["text"], added_cond_kwargs=added).sample
        out[f"{name}.sample"], out[f"{name}.output"] = last(x), last(y)
    expect(directory, out)


def vae(directory, latent, rename=None, **config):
    model = save(
        AutoencoderKL(
            block_out_channels=[8, 12],
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            norm_num_groups=4,
            latent_channels=latent,
            **config,
        ),
        directory,
        rename,
    )
    z, x = torch.randn(2, latent, 3, 5), torch.rand(2, 3, 6, 11) * 2 - 1
    q = model.encode(x).latent_dist
    out = {"latents": z, "decoded": model.decode(z).sample, "pixels": x, "mean": q.mean, "logvar": q.logvar}
    expect(directory, {k: last(v) for k, v in out.items()})


def vae_of_videos(directory):
    """One frame is a picture. Norms have no biases, and their weights stand in more dimensions than one."""
    model = AutoencoderKLQwenImage(base_dim=4, z_dim=3, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, False],
                                   latents_mean=[0.1, -0.2, 0.3], latents_std=[1.5, 2.0, 0.5])
    for name, p in model.named_parameters():
        if name.endswith("gamma"):
            p.copy_(1 + torch.randn_like(p) * 0.1)
    model = save(model, directory)
    z, x = torch.randn(2, 3, 1, 3, 5), torch.rand(2, 3, 1, 12, 20) * 2 - 1
    q = model.encode(x).latent_dist
    # Undone is the clamping, which pictures get in any case.
    model.clear_cache()
    decoded = model.decoder(model.post_quant_conv(z), feat_cache=model._feat_map, feat_idx=[0])
    assert torch.equal(decoded.clamp(-1, 1), model.decode(z).sample)
    out = {"latents": z, "decoded": decoded, "pixels": x, "mean": q.mean, "logvar": q.logvar}
    expect(directory, {k: last(v[:, :, 0]) for k, v in out.items()})


def old_names(key, tensor):
    """Attention as the first checkpoints have it."""
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        if f".{new}." in key:
            tensor = tensor[..., None, None] if key.endswith("weight") else tensor
            return key.replace(new, old), tensor.contiguous()
    return key, tensor


def clip(directory, cls, eos, act, rename=None):
    config = CLIPTextConfig(
        vocab_size=40, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
        max_position_embeddings=9, hidden_act=act, projection_dim=16, bos_token_id=38, eos_token_id=eos, pad_token_id=1,
    )
    model = save(cls(config), directory, rename)
    ids = torch.tensor([[38, 5, 2, 17, 39, 39, 0, 0, 0]])
    out = model(ids, output_hidden_states=True)
    pooled = out.text_embeds if cls is CLIPTextModelWithProjection else out.pooler_output
    expect(directory, {"ids": ids, "last": out.last_hidden_state, "pooled": pooled,
                       **{f"hidden.{i}": h for i, h in enumerate(out.hidden_states)}})


def layers():
    r, w, out = torch.randn, {}, {}
    x = r(2, 18, 5, 7)
    out["image"] = last(x)
    for name, cin, cout, k in [("conv3", 18, 37, 3), ("conv3_few", 3, 5, 3), ("conv1", 18, 33, 1)]:
        w[f"{name}.weight"], w[f"{name}.bias"] = r(cout, cin, k, k) * 0.1, r(cout)
    out["few"] = last(x[:, :3])
    conv = lambda name, x, **kw: last(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **kw))
    out["conv3"] = conv("conv3", x, padding=1)
    out["conv3_stride2"] = conv("conv3", x, padding=1, stride=2)
    out["conv3_after"] = conv("conv3", F.pad(x, (0, 1, 0, 1)), stride=2)
    out["conv3_double"] = conv("conv3", F.interpolate(x, scale_factor=2.0, mode="nearest"), padding=1)
    out["conv3_resized"] = conv("conv3", F.interpolate(x, size=(9, 13), mode="nearest"), padding=1)
    out["conv3_few"] = conv("conv3_few", x[:, :3], padding=1)
    out["conv1"] = conv("conv1", x)
    w["norm.weight"], w["norm.bias"] = r(18), r(18)
    shifted = x * torch.rand(1, 18, 1, 1) + 30 * r(1, 18, 1, 1)
    out["shifted"] = last(shifted)
    out["group_norm"] = last(F.group_norm(shifted, 6, w["norm.weight"], w["norm.bias"], 1e-5))
    out["group_norm_silu"] = last(F.silu(F.group_norm(shifted, 6, w["norm.weight"], w["norm.bias"], 1e-5)))
    tokens = out["shifted"].reshape(2, 35, 18)
    out["layer_norm"] = F.layer_norm(tokens, (18,), w["norm.weight"], w["norm.bias"], 1e-5)
    tokens = out["image"].reshape(2, 35, 18)
    w["linear.weight"], w["linear.bias"] = r(45, 18), r(45)
    linear = F.linear(tokens, w["linear.weight"], w["linear.bias"])
    out |= {"linear": linear, "linear_gelu": F.gelu(linear), "linear_quick_gelu": linear * torch.sigmoid(1.702 * linear)}
    w["geglu.proj.weight"], w["geglu.proj.bias"] = r(2 * 41, 18), r(2 * 41)
    a, b = F.linear(tokens, w["geglu.proj.weight"], w["geglu.proj.bias"]).chunk(2, dim=-1)
    out["geglu"] = a * F.gelu(b)
    q, k, v = r(2, 35, 18) * 3, r(2, 33, 18), r(2, 33, 18)
    heads = lambda t: t.reshape(2, -1, 3, 6).transpose(1, 2)
    out |= {"q": q, "k": k, "v": v}
    out["attention"] = F.scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2).reshape(2, 35, 18)
    out["attention_causal"] = (
        F.scaled_dot_product_attention(heads(q), heads(q), heads(q), is_causal=True).transpose(1, 2).reshape(2, 35, 18)
    )
    times = torch.tensor([0.0, 3.25, 601.0, 999.0])
    out["time"] = get_timestep_embedding(times, 33, flip_sin_to_cos=True, downscale_freq_shift=0)
    out["time_shifted"] = get_timestep_embedding(times, 32, flip_sin_to_cos=False, downscale_freq_shift=1)
    os.makedirs(os.path.join(ROOT, "layers"), exist_ok=True)
    save_file({k: v.contiguous() for k, v in w.items()}, os.path.join(ROOT, "layers", "model.safetensors"))
    expect("layers", out)


torch.manual_seed(20)
unet(
    "sd/unet", 2, 12, block_out_channels=[8, 8, 12], layers_per_block=1,
    down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
)
unet(
    "xl/unet", [2, 4], 12, [[256.0, 192, 3, 0, 256, 192], [64.0, 64, 0, 0, 64, 64]], block_out_channels=[4, 8],
    layers_per_block=2, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], transformer_layers_per_block=[1, 2], use_linear_projection=True,
    addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=30,
    freq_shift=1, flip_sin_to_cos=False,
)
vae("sd/vae", 4, layers_per_block=1)
vae("xl/vae", 16, old_names, layers_per_block=2, use_quant_conv=False, use_post_quant_conv=False)
prefix = lambda k, v: (k if k.startswith("text_model.") else f"text_model.{k}", v)
clip("sd/text_encoder", CLIPTextModel, 2, "quick_gelu", prefix)
clip("xl/text_encoder", CLIPTextModel, 39, "quick_gelu", lambda k, v: (k.removeprefix("text_model."), v))
clip("xl/text_encoder_2", CLIPTextModelWithProjection, 39, "gelu")
layers()
vae_of_videos("qwen/vae")
