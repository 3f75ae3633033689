#!/usr/bin/env python3
"""How the tiny models of make_cases.py and make_more_cases.py are written in one file, as the authors of the models name their weights.

usage: make_single_files.py OUT_DIR      (OUT_DIR is this directory)

For each model a list of the file's tensors: the name, what is done, and the part and tensors it is made of. What is done: `as` the tensor is; with dimensions of
one added (`pixel`); `rows` of several one after the other; `swapped` halves; `transposed`. Every file is written, loaded by diffusers' from_single_file with the
model's directory as its configuration, and must draw the very picture of the directory. Written is single_files.json.
"""
import inspect
import json
import sys
import tempfile
import types

import diffusers
import torch
from diffusers.loaders import single_file_utils
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from safetensors.torch import save_file

import make_cases as base
import make_more_cases as more


class Recipe:
    def __init__(self, components):
        self.components, self.tensors = components, []
        self.states = {role: part.state_dict() for role, part in components.items() if hasattr(part, "state_dict")}

    def add(self, name, part, *tensors, how="as"):
        if all(tensor in self.states[part] for tensor in tensors):
            self.tensors.append([name, how, part, list(tensors)])

    def layer(self, old, part, *new, how="as"):
        for kind in ("weight", "bias"):
            self.add(f"{old}.{kind}", part, *[f"{name}.{kind}" for name in new], how=how if kind == "weight" or how != "pixel" else "as")

    def prefix(self, old, part, new):
        for tensor in self.states[part]:
            if tensor.startswith(new):
                self.add(old + tensor[len(new):], part, tensor)

    def made(self):
        made = {}
        for name, how, part, tensors in self.tensors:
            values = [self.states[part][tensor] for tensor in tensors]
            match how:
                case "as":
                    value = values[0]
                case "pixel":
                    value = values[0][..., None, None]
                case "rows":
                    value = torch.cat(values)
                case "swapped":
                    value = torch.cat(values[0].chunk(2)[::-1])
                case "transposed":
                    value = values[0].T
            made[name] = value.contiguous().clone()
        return made


RESNET = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2", "out_layers.3": "conv2",
          "skip_connection": "conv_shortcut"}


def unet(recipe, levels, layers):
    prefix = "model.diffusion_model."
    for old, new in {"time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2", "label_emb.0.0": "add_embedding.linear_1",
                     "label_emb.0.2": "add_embedding.linear_2", "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out"}.items():
        recipe.layer(prefix + old, "unet", new)

    def resnet(old, new):
        for a, b in RESNET.items():
            recipe.layer(f"{old}.{a}", "unet", f"{new}.{b}")
    index = 1
    for level in range(levels):
        for block in range(layers):
            old = f"{prefix}input_blocks.{index}"
            resnet(f"{old}.0", f"down_blocks.{level}.resnets.{block}")
            recipe.prefix(f"{old}.1.", "unet", f"down_blocks.{level}.attentions.{block}.")
            index += 1
        if level + 1 < levels:
            recipe.layer(f"{prefix}input_blocks.{index}.0.op", "unet", f"down_blocks.{level}.downsamplers.0.conv")
            index += 1
    resnet(f"{prefix}middle_block.0", "mid_block.resnets.0")
    recipe.prefix(f"{prefix}middle_block.1.", "unet", "mid_block.attentions.0.")
    resnet(f"{prefix}middle_block.2", "mid_block.resnets.1")
    index = 0
    for level in range(levels):
        attends = any(name.startswith(f"up_blocks.{level}.attentions.") for name in recipe.states["unet"])
        for block in range(layers + 1):
            old = f"{prefix}output_blocks.{index}"
            resnet(f"{old}.0", f"up_blocks.{level}.resnets.{block}")
            recipe.prefix(f"{old}.1.", "unet", f"up_blocks.{level}.attentions.{block}.")
            if block == layers and level + 1 < levels:
                recipe.layer(f"{old}.{2 if attends else 1}.conv", "unet", f"up_blocks.{level}.upsamplers.0.conv")
            index += 1


def vae(recipe, prefix, levels, layers=1):
    resnet = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "nin_shortcut": "conv_shortcut"}
    for half, way, blocks in (("encoder", "down", layers), ("decoder", "up", layers + 1)):
        for old, new in {"conv_in": "conv_in", "conv_out": "conv_out", "norm_out": "conv_norm_out", "mid.attn_1.norm": "mid_block.attentions.0.group_norm"}.items():
            recipe.layer(f"{prefix}{half}.{old}", "vae", f"{half}.{new}")
        for old, new in {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}.items():
            recipe.layer(f"{prefix}{half}.mid.attn_1.{old}", "vae", f"{half}.mid_block.attentions.0.{new}", how="pixel")
        for old, new in (("block_1", 0), ("block_2", 1)):
            for a, b in resnet.items():
                recipe.layer(f"{prefix}{half}.mid.{old}.{a}", "vae", f"{half}.mid_block.resnets.{new}.{b}")
        for level in range(levels):
            number = level if way == "down" else levels - 1 - level
            for block in range(blocks):
                for a, b in resnet.items():
                    recipe.layer(f"{prefix}{half}.{way}.{level}.block.{block}.{a}", "vae", f"{half}.{way}_blocks.{number}.resnets.{block}.{b}")
            recipe.layer(f"{prefix}{half}.{way}.{level}.{way}sample.conv", "vae", f"{half}.{way}_blocks.{number}.{way}samplers.0.conv")
    for conv in ("quant_conv", "post_quant_conv"):
        recipe.layer(f"{prefix}{conv}", "vae", conv)


def open_clip(recipe, prefix, part, layers, last_again=False):
    text = "" if "embeddings.token_embedding.weight" in recipe.states[part] else "text_model."
    recipe.add(f"{prefix}positional_embedding", part, f"{text}embeddings.position_embedding.weight")
    recipe.layer(f"{prefix}token_embedding", part, f"{text}embeddings.token_embedding")
    recipe.layer(f"{prefix}ln_final", part, f"{text}final_layer_norm")
    recipe.add(f"{prefix}text_projection", part, "text_projection.weight", how="transposed")
    for layer in range(layers + last_again):
        old, new = f"{prefix}transformer.resblocks.{layer}", f"{text}encoder.layers.{min(layer, layers - 1)}"
        for a, b in {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}.items():
            recipe.layer(f"{old}.{a}", part, f"{new}.{b}")
        for kind in ("weight", "bias"):
            recipe.add(f"{old}.attn.in_proj_{kind}", part, *[f"{new}.self_attn.{name}_proj.{kind}" for name in "qkv"], how="rows")


def transformers_clip(recipe, prefix, part):
    text = "text_model." if "embeddings.token_embedding.weight" in recipe.states[part] else ""
    for tensor in recipe.states[part]:
        recipe.add(prefix + (tensor if tensor.startswith("text_projection") else text + tensor), part, tensor)


def sd15(recipe):
    unet(recipe, 3, 2)
    vae(recipe, "first_stage_model.", 2)
    transformers_clip(recipe, "cond_stage_model.transformer.", "text_encoder")


def sd21(recipe):
    unet(recipe, 3, 2)
    vae(recipe, "first_stage_model.", 2)
    open_clip(recipe, "cond_stage_model.model.", "text_encoder", 3, last_again=True)


def sdxl(recipe):
    unet(recipe, 3, 2)
    vae(recipe, "first_stage_model.", 2)
    transformers_clip(recipe, "conditioner.embedders.0.transformer.", "text_encoder")
    open_clip(recipe, "conditioner.embedders.1.model.", "text_encoder_2", 4)


def sd3(recipe, prefix="model.diffusion_model.", blocks=3):
    for old, new in {"x_embedder.proj": "pos_embed.proj", "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
                     "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2", "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
                     "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2", "context_embedder": "context_embedder", "final_layer.linear": "proj_out"}.items():
        recipe.layer(prefix + old, "transformer", new)
    recipe.add(f"{prefix}pos_embed", "transformer", "pos_embed.pos_embed")
    recipe.layer(f"{prefix}final_layer.adaLN_modulation.1", "transformer", "norm_out.linear", how="swapped")
    for block in range(blocks):
        old, new = f"{prefix}joint_blocks.{block}", f"transformer_blocks.{block}"
        for a, b in {"x_block.adaLN_modulation.1": "norm1.linear", "x_block.attn.proj": "attn.to_out.0", "x_block.attn.ln_q": "attn.norm_q",
                     "x_block.attn.ln_k": "attn.norm_k", "x_block.attn2.proj": "attn2.to_out.0", "x_block.attn2.ln_q": "attn2.norm_q",
                     "x_block.attn2.ln_k": "attn2.norm_k", "x_block.mlp.fc1": "ff.net.0.proj", "x_block.mlp.fc2": "ff.net.2",
                     "context_block.attn.proj": "attn.to_add_out", "context_block.attn.ln_q": "attn.norm_added_q", "context_block.attn.ln_k": "attn.norm_added_k",
                     "context_block.mlp.fc1": "ff_context.net.0.proj", "context_block.mlp.fc2": "ff_context.net.2"}.items():
            recipe.layer(f"{old}.{a}", "transformer", f"{new}.{b}")
        recipe.layer(f"{old}.context_block.adaLN_modulation.1", "transformer", f"{new}.norm1_context.linear", how="swapped" if block + 1 == blocks else "as")
        for a, names in {"x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"), "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
                         "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")}.items():
            recipe.layer(f"{old}.{a}", "transformer", *[f"{new}.{name}" for name in names], how="rows")
    vae(recipe, "first_stage_model.", 2)


def flux(recipe, prefix="", double=2, single=3):
    for old, new in {"img_in": "x_embedder", "txt_in": "context_embedder", "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
                     "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2", "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
                     "vector_in.out_layer": "time_text_embed.text_embedder.linear_2", "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
                     "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2", "final_layer.linear": "proj_out"}.items():
        recipe.layer(prefix + old, "transformer", new)
    recipe.layer(f"{prefix}final_layer.adaLN_modulation.1", "transformer", "norm_out.linear", how="swapped")
    for block in range(double):
        old, new = f"{prefix}double_blocks.{block}", f"transformer_blocks.{block}"
        for a, b in {"img_mod.lin": "norm1.linear", "txt_mod.lin": "norm1_context.linear", "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
                     "img_mlp.0": "ff.net.0.proj", "img_mlp.2": "ff.net.2", "txt_mlp.0": "ff_context.net.0.proj", "txt_mlp.2": "ff_context.net.2"}.items():
            recipe.layer(f"{old}.{a}", "transformer", f"{new}.{b}")
        for a, b in {"img_attn.norm.query_norm.scale": "attn.norm_q.weight", "img_attn.norm.key_norm.scale": "attn.norm_k.weight",
                     "txt_attn.norm.query_norm.scale": "attn.norm_added_q.weight", "txt_attn.norm.key_norm.scale": "attn.norm_added_k.weight"}.items():
            recipe.add(f"{old}.{a}", "transformer", f"{new}.{b}")
        recipe.layer(f"{old}.img_attn.qkv", "transformer", *[f"{new}.attn.to_{name}" for name in "qkv"], how="rows")
        recipe.layer(f"{old}.txt_attn.qkv", "transformer", *[f"{new}.attn.add_{name}_proj" for name in "qkv"], how="rows")
    for block in range(single):
        old, new = f"{prefix}single_blocks.{block}", f"single_transformer_blocks.{block}"
        recipe.layer(f"{old}.modulation.lin", "transformer", f"{new}.norm.linear")
        recipe.layer(f"{old}.linear2", "transformer", f"{new}.proj_out")
        recipe.layer(f"{old}.linear1", "transformer", *[f"{new}.attn.to_{name}" for name in "qkv"], f"{new}.proj_mlp", how="rows")
        for a, b in {"norm.query_norm.scale": "attn.norm_q.weight", "norm.key_norm.scale": "attn.norm_k.weight"}.items():
            recipe.add(f"{old}.{a}", "transformer", f"{new}.{b}")


def z_image(recipe, prefix="", layers=2, refiners=1):
    for old, new in {"x_embedder": "all_x_embedder.2-1", "final_layer.linear": "all_final_layer.2-1.linear",
                     "final_layer.adaLN_modulation.1": "all_final_layer.2-1.adaLN_modulation.1"}.items():
        recipe.layer(prefix + old, "transformer", new)
    for name in ("cap_embedder.0", "cap_embedder.1", "t_embedder.mlp.0", "t_embedder.mlp.2"):
        recipe.layer(prefix + name, "transformer", name)
    for name in ("x_pad_token", "cap_pad_token"):
        recipe.add(prefix + name, "transformer", name)
    for blocks, count in {"noise_refiner": refiners, "context_refiner": refiners, "layers": layers}.items():
        for block in range(count):
            new = f"{blocks}.{block}"
            recipe.layer(f"{prefix}{new}.attention.qkv", "transformer", *[f"{new}.attention.to_{name}" for name in "qkv"], how="rows")
            for a, b in {"attention.out": "attention.to_out.0", "attention.q_norm": "attention.norm_q", "attention.k_norm": "attention.norm_k"}.items():
                recipe.layer(f"{prefix}{new}.{a}", "transformer", f"{new}.{b}")
            for name in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0"):
                recipe.layer(f"{prefix}{new}.{name}", "transformer", f"{new}.{name}")


def flux2(recipe, prefix="", double=2, single=3):
    for old, new in {"img_in": "x_embedder", "txt_in": "context_embedder", "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
                     "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2", "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
                     "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear", "single_stream_modulation.lin": "single_stream_modulation.linear",
                     "final_layer.linear": "proj_out"}.items():
        recipe.layer(prefix + old, "transformer", new)
    recipe.layer(f"{prefix}final_layer.adaLN_modulation.1", "transformer", "norm_out.linear", how="swapped")
    for block in range(double):
        old, new = f"{prefix}double_blocks.{block}", f"transformer_blocks.{block}"
        for a, b in {"img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out", "img_mlp.0": "ff.linear_in", "img_mlp.2": "ff.linear_out",
                     "txt_mlp.0": "ff_context.linear_in", "txt_mlp.2": "ff_context.linear_out"}.items():
            recipe.layer(f"{old}.{a}", "transformer", f"{new}.{b}")
        for a, b in {"img_attn.norm.query_norm.scale": "attn.norm_q.weight", "img_attn.norm.key_norm.scale": "attn.norm_k.weight",
                     "txt_attn.norm.query_norm.scale": "attn.norm_added_q.weight", "txt_attn.norm.key_norm.scale": "attn.norm_added_k.weight"}.items():
            recipe.add(f"{old}.{a}", "transformer", f"{new}.{b}")
        recipe.layer(f"{old}.img_attn.qkv", "transformer", *[f"{new}.attn.to_{name}" for name in "qkv"], how="rows")
        recipe.layer(f"{old}.txt_attn.qkv", "transformer", *[f"{new}.attn.add_{name}_proj" for name in "qkv"], how="rows")
    for block in range(single):
        old, new = f"{prefix}single_blocks.{block}", f"single_transformer_blocks.{block}"
        recipe.layer(f"{old}.linear1", "transformer", f"{new}.attn.to_qkv_mlp_proj")
        recipe.layer(f"{old}.linear2", "transformer", f"{new}.attn.to_out")
        for a, b in {"norm.query_norm.scale": "attn.norm_q.weight", "norm.key_norm.scale": "attn.norm_k.weight"}.items():
            recipe.add(f"{old}.{a}", "transformer", f"{new}.{b}")


# Models with the constants that all of their kind have, so that no configuration is needed beside the file. Their tokenizer is the built-in model's, whose
# vocabulary is CLIP's own.
def conventional_unet(**options):
    return base.UNet2DConditionModel(**dict(sample_size=64, in_channels=4, out_channels=4, block_out_channels=(64, 128), layers_per_block=2, norm_num_groups=32) | options)


def conventional_text(kind, act, projection=None):
    config = base.CLIPTextConfig(vocab_size=49408, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=1, max_position_embeddings=77,
                                 hidden_act=act, projection_dim=projection or 64, bos_token_id=49406, eos_token_id=49407, pad_token_id=1)
    return kind(config)


def conventional_vae(scale):
    return base.AutoencoderKL(block_out_channels=[32, 64], in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 2,
                              up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, norm_num_groups=32, layers_per_block=2, scaling_factor=scale)


base.PARTS |= {
    "conventional-unet": (2, lambda: conventional_unet(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=64, attention_head_dim=8)),
    "conventional-unet-xl": (2, lambda: conventional_unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=128,
        attention_head_dim=(1, 2), transformer_layers_per_block=(1, 2), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=6 * 256 + 64)),
    "conventional-text": (1, lambda: conventional_text(base.CLIPTextModel, "quick_gelu")),
    "conventional-text-2": (4, lambda: conventional_text(base.CLIPTextModelWithProjection, "gelu", 64)),
    "conventional-vae": (3, lambda: conventional_vae(0.18215)),
    "conventional-vae-xl": (3, lambda: conventional_vae(0.13025)),
}
CONVENTIONAL = {
    "sd": dict(text_encoder="conventional-text", unet="conventional-unet", vae="conventional-vae"),
    "sdxl": dict(text_encoder="conventional-text", text_encoder_2="conventional-text-2", unet="conventional-unet-xl", vae="conventional-vae-xl"),
}


def conventional(kind, recipe):
    unet(recipe, 2, 2)
    vae(recipe, "first_stage_model.", 2, 2)
    if kind == "sd":
        transformers_clip(recipe, "cond_stage_model.transformer.", "text_encoder")
    else:
        transformers_clip(recipe, "conditioner.embedders.0.transformer.", "text_encoder")
        open_clip(recipe, "conditioner.embedders.1.model.", "text_encoder_2", 2)


MODELS = {  # a case that draws with the model: how its file is written
    "sd15-euler": sd15, "sd21-v": sd21, "sdxl-euler": sdxl, "sd3": sd3, "flux-dev": flux, "flux-schnell": lambda recipe: flux(recipe, "model.diffusion_model."),
    "z-image": z_image, "klein": flux2,
}


def check_flux(name, components, recipe):
    """diffusers' conversion knows one width; with another in its place it gives the transformer's own tensors."""
    source = inspect.getsource(single_file_utils.convert_flux_transformer_checkpoint_to_diffusers)
    assert "inner_dim = 3072" in source
    scope = dict(vars(single_file_utils))
    exec(source.replace("inner_dim = 3072", f"inner_dim = {components['transformer'].inner_dim}"), scope)
    converted = scope["convert_flux_transformer_checkpoint_to_diffusers"](recipe.made())
    own = components["transformer"].state_dict()
    assert converted.keys() == own.keys() and all(torch.equal(own[tensor], value) for tensor, value in converted.items())
    print(f"{name}: {len(recipe.tensors)} tensors, the same", flush=True)


CONVERSIONS = {
    "z-image": single_file_utils.convert_z_image_transformer_checkpoint_to_diffusers,
    "klein": single_file_utils.convert_flux2_transformer_checkpoint_to_diffusers,
}


def check(name, spec, components, recipe):
    """diffusers loads the file, and draws with it what it draws with the parts."""
    if name.startswith("flux"):
        return check_flux(name, components, recipe)
    if name in CONVERSIONS:
        own, converted = components["transformer"].state_dict(), CONVERSIONS[name](recipe.made())
        assert converted.keys() == own.keys() and all(torch.equal(own[tensor], value) for tensor, value in converted.items())
        return print(f"{name}: {len(recipe.tensors)} tensors, the same", flush=True)
    if spec.get("pipeline"):
        pipe = spec["pipeline"](scheduler=more.flow_scheduler(spec), **components, **(spec["options"] or {}))
    else:
        with tempfile.TemporaryDirectory() as directory:
            scheduler = base.scheduler_of(spec["scheduler"], directory)
        if "text_encoder_2" in components:
            pipe = base.StableDiffusionXLPipeline(**components, scheduler=scheduler, add_watermarker=False)
        else:
            pipe = base.StableDiffusionPipeline(**components, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)

    def draw(pipe):
        pipe.set_progress_bar_config(disable=True)
        more_arguments = dict(max_sequence_length=spec["length"]) if spec.get("length") else {}
        return pipe(prompt="a red apple on a wooden table", num_inference_steps=3, guidance_scale=4.0, width=64, height=64, output_type="pt",
                    generator=torch.Generator().manual_seed(1), **more_arguments).images
    with tempfile.TemporaryDirectory() as directory:
        pipe.save_pretrained(f"{directory}/model")
        save_file(recipe.made(), f"{directory}/model.safetensors")
        # diffusers 0.42 does not find transformers 5's names of text encoders: they are given, and what it makes of their names is compared below.
        given = {role: part for role, part in components.items() if role.startswith(("text_encoder", "tokenizer"))}
        again = type(pipe).from_single_file(f"{directory}/model.safetensors", config=f"{directory}/model", **given)
        again.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        difference = (draw(pipe) - draw(again)).abs().max().item()
    for role, prefix in {"sd21-v": [("text_encoder", "cond_stage_model.model.")], "sdxl-euler": [("text_encoder_2", "conditioner.embedders.1.model.")]}.get(name, []):
        encoder = components[role]
        own = encoder.state_dict()
        stand_in = encoder if hasattr(encoder, "text_model") else types.SimpleNamespace(text_model=encoder, config=encoder.config)
        converted = convert_open_clip_checkpoint(stand_in, recipe.made(), prefix=prefix)
        for tensor, value in converted.items():
            tensor = tensor if tensor in own else tensor.removeprefix("text_model.")
            layer = tensor.split(".")
            if "layers" in layer and int(layer[layer.index("layers") + 1]) >= encoder.config.num_hidden_layers:
                continue
            assert torch.equal(own[tensor], value), tensor
    print(f"{name}: {len(recipe.tensors)} tensors, differs by {difference}", flush=True)
    assert difference < 1e-6


def main():
    out = sys.argv[1]
    torch.set_num_threads(1)
    parts = base.Parts(tempfile.mkdtemp())
    specs = dict([*base.base_cases(), *more.cases()])
    written = {}
    for name, write in MODELS.items():
        spec = specs[name]
        components = {role: parts.get(part) for role, part in spec["parts"].items()}
        recipe = Recipe(components)
        write(recipe)
        check(name, spec, components, recipe)
        written[name] = recipe.tensors
    conventional_files = {}
    saved = base.Parts(out)
    for kind, roles in CONVENTIONAL.items():
        recipe = Recipe({role: saved.get(part) for role, part in roles.items()})
        conventional(kind, recipe)
        conventional_files[kind] = {"parts": roles, "tensors": recipe.tensors}
    base.write_json(f"{out}/single_files.json", {"conventional": conventional_files, "diffusers": diffusers.__version__, "models": written})


if __name__ == "__main__":
    main()
