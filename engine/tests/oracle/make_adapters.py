#!/usr/bin/env python3
"""Adapters of the tiny models of make_cases.py and make_more_cases.py, and what diffusers draws with them.

usage: make_adapters.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

An adapter's numbers are drawn like a network's; adapters/NAME.json says how. The file is loaded by diffusers where diffusers reads its kind
(`load_lora_weights`), and has no alphas then: diffusers 0.42 takes one layer's for all. Else what it adds is worked out here, from the formulas of its paper, and added to the weights (`merged`). Written is adapter_cases.json.
Needs peft besides what the others need.
"""
import copy
import json
import os
import sys
import tempfile

import diffusers
import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline, ZImagePipeline
from safetensors.torch import save_file

import make_cases as base
import make_more_cases as more

RANK = 4


# Adapters -------------------------------------------------------------------------------------------------------------

def layers(module, kinds=(torch.nn.Linear, torch.nn.Conv2d), only=""):
    """Name and weight's shape of the layers that adapters change."""
    return [(name, tuple(layer.weight.shape)) for name, layer in module.named_modules() if isinstance(layer, kinds) and only in name]


def lora(key, shape, down="lora_down", up="lora_up", alpha=True, rank=RANK):
    """Down keeps the kernel, up is of one pixel."""
    ones = (1,) * (len(shape) - 2)
    tensors = [(f"{key}.{down}.weight", (rank, *shape[1:])), (f"{key}.{up}.weight", (shape[0], rank, *ones))]
    return tensors + ([(f"{key}.alpha", ())] if alpha else [])


def peft(prefix, module, **which):
    return [tensor for name, shape in layers(module, **which) for tensor in lora(f"{prefix}.{name}", shape, "lora_A", "lora_B", alpha=False)]


def kohya(prefix, module, alpha=True, **which):
    return [tensor for name, shape in layers(module, **which) for tensor in lora(f"{prefix}_{name.replace('.', '_')}", shape, alpha=alpha)]


def before_peft(prefix, module, only):
    return [tensor for name, shape in layers(module, only=only)
            for tensor in lora(f"{prefix}.{name.replace('attn1.', 'attn1.processor.').replace('to_out.0', 'to_out')}_lora", shape, "down", "up", alpha=False)]


def original_unet(module):
    """The names of single files for the attentions of the SDXL of make_cases.py, whose levels have two blocks."""
    for name, shape in layers(module, only="attentions"):
        side, *rest = name.split(".")
        if side == "mid_block":
            theirs = ["middle_block", "1", *rest[2:]]
        else:
            level, block = int(rest[0]), int(rest[2])
            theirs = ["input_blocks", str(1 + 3 * level + block)] if side == "down_blocks" else ["output_blocks", str(3 * level + block)]
            theirs += ["1", *rest[3:]]
        yield from lora("lora_unet_" + "_".join(theirs), shape, alpha=False)


FLUX_FUSED = {"double_blocks.{}.img_attn.qkv": ["transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.attn.to_k", "transformer_blocks.{}.attn.to_v"],
              "double_blocks.{}.txt_attn.qkv": ["transformer_blocks.{}.attn.add_q_proj", "transformer_blocks.{}.attn.add_k_proj", "transformer_blocks.{}.attn.add_v_proj"],
              "double_blocks.{}.img_mlp.0": ["transformer_blocks.{}.ff.net.0.proj"],
              "double_blocks.{}.txt_mod.lin": ["transformer_blocks.{}.norm1_context.linear"],
              "single_blocks.{}.linear1": ["single_transformer_blocks.{}." + name for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")],
              "single_blocks.{}.linear2": ["single_transformer_blocks.{}.proj_out"]}


def original_flux(module, key):
    shapes = dict(layers(module))
    for theirs, ours in FLUX_FUSED.items():
        for block in range(2):
            names = [name.format(block) for name in ours]
            shape = (sum(shapes[name][0] for name in names), shapes[names[0]][1])
            yield from lora(key(theirs.format(block)), shape)


def hadamard(prefix, module, only):
    for name, shape in layers(module, only=only):
        key = f"{prefix}_{name.replace('.', '_')}"
        width = 1
        for size in shape[1:]:
            width *= size
        for side in ("w1", "w2"):
            if len(shape) == 4 and shape[2] > 1:
                yield f"{key}.hada_{side}_a", (RANK, shape[0])
                yield f"{key}.hada_{side}_b", (RANK, shape[1])
                yield f"{key}.hada_{side.replace('w', 't')}", (RANK, RANK, *shape[2:])
            else:
                yield f"{key}.hada_{side}_a", (shape[0], RANK)
                yield f"{key}.hada_{side}_b", (RANK, width)
        yield f"{key}.alpha", ()


def kronecker(prefix, module, only):
    for number, (name, shape) in enumerate(layers(module, only=only)):
        key = f"{prefix}_{name.replace('.', '_')}"
        kernel = shape[2:]
        yield f"{key}.lokr_w1", (4, 4)
        if number % 2 or len(kernel) and kernel[0] > 1:
            yield f"{key}.lokr_w2_a", (shape[0] // 4, RANK)
            yield f"{key}.lokr_w2_b", (RANK, shape[1] // 4 * (kernel[0] * kernel[1] if kernel else 1))
        else:
            yield f"{key}.lokr_w2", (shape[0] // 4, shape[1] // 4, *kernel)
        yield f"{key}.alpha", ()


# Changes --------------------------------------------------------------------------------------------------------------

def added(tensors):
    """What the tensors of one layer add, rows by rows."""
    alpha = tensors.get("alpha")
    scale = lambda rank: 1.0 if alpha is None else alpha.item() / rank
    if "lora_down.weight" in tensors:
        down, up = tensors["lora_down.weight"], tensors["lora_up.weight"]
        return torch.einsum("or,r...->o...", up.flatten(1), down) * scale(down.shape[0])
    if "hada_w1_a" in tensors:
        sides = []
        for side in ("1", "2"):
            a, b, core = (tensors.get(f"hada_{name}") for name in (f"w{side}_a", f"w{side}_b", f"t{side}"))
            sides.append(a @ b if core is None else torch.einsum("pqkl,po,qi->oikl", core, a, b))
        return sides[0] * sides[1] * scale(tensors["hada_w1_b"].shape[0])
    second = tensors.get("lokr_w2")
    if second is not None:
        return torch.kron(tensors["lokr_w1"], second.flatten(1)) if second.ndim == 2 or second.shape[-1] == 1 else None
    second = tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]
    return torch.kron(tensors["lokr_w1"], second) * scale(RANK)


def merge(components, adapter, strength, names):
    """Adds an adapter to copies of the networks. `names`: from the adapter's name of a layer to the part and the layers."""
    by_layer = {}
    for name, value in adapter.items():
        layer, piece = name.split(".lora_")[0], name
        if ".lora_" in name:
            piece = "lora_" + name.split(".lora_")[1]
        else:
            layer, piece = name.rsplit(".", 1)
        by_layer.setdefault(layer, {})[piece] = value
    for layer, tensors in by_layer.items():
        part, targets = names[layer]
        change, row = added(tensors), 0
        for target in targets:
            weight = components[part].get_submodule(target).weight
            with torch.no_grad():
                weight += strength * change[row:row + weight.shape[0]].reshape(weight.shape)
            row += weight.shape[0]
        assert row == change.shape[0]


def kohya_names(prefix, part, module):
    return {f"{prefix}_{name.replace('.', '_')}": (part, [name]) for name, _ in layers(module)}


def flux_names(key):
    return {key(theirs.format(block)): ("transformer", [name.format(block) for name in ours]) for theirs, ours in FLUX_FUSED.items() for block in range(2)}


# Cases ----------------------------------------------------------------------------------------------------------------

def under(name):
    return "lora_unet_" + name.replace(".", "_")


def dotted(name):
    return "diffusion_model." + name


def adapters(parts):
    """Name: seed, tensors, and how to merge it where diffusers does not read it."""
    unet, unet_xl = parts.get("unet-sd15"), parts.get("unet-sdxl")
    text, text_2 = parts.get("text"), parts.get("text-projection")
    flux, sd3, z_image = parts.get("flux-dev"), parts.get("sd3"), parts.get("z-image")
    of_text = kohya_names("lora_te_text_model", "text_encoder", text)
    yield "peft", 6000, peft("unet", unet), None
    yield "peft-attention", 6001, peft("unet", unet, only="attn"), None
    yield "before-peft", 6002, before_peft("unet", unet, "attn1.to"), None
    yield "kohya", 6003, kohya("lora_unet", unet, alpha=False, only="attentions"), None
    yield "kohya-conv", 6004, kohya("lora_unet", unet), kohya_names("lora_unet", "unet", unet)
    yield "kohya-text", 6005, kohya("lora_te_text_model", text), of_text
    yield "kohya-xl", 6006, [*original_unet(unet_xl)], None
    yield "kohya-xl-text", 6007, kohya("lora_te1_text_model", text) + kohya("lora_te2_text_model", text_2, only="layers"), (
        kohya_names("lora_te1_text_model", "text_encoder", text) | kohya_names("lora_te2_text_model", "text_encoder_2", text_2))
    yield "flux", 6008, peft("transformer", flux), None
    yield "flux-kohya", 6009, [*original_flux(flux, under)], flux_names(under)
    yield "flux-dotted", 6010, [*original_flux(flux, dotted)], flux_names(dotted)
    yield "sd3", 6011, peft("transformer", sd3, only="transformer_blocks"), None
    yield "z-image", 6012, peft("transformer", z_image, only="layers"), None
    yield "loha", 6013, [*hadamard("lora_unet", unet, "down_blocks")], kohya_names("lora_unet", "unet", unet)
    yield "lokr", 6014, [*kronecker("lora_unet", unet, "up_blocks")], kohya_names("lora_unet", "unet", unet)


def cases():
    sd = lambda parts, scheduler, seed, loras, **options: more.sd(parts, scheduler, seed, None, None, **options) | dict(loras=loras)
    flow = lambda *arguments, loras, **options: more.flow(*arguments, **options) | dict(loras=loras)
    for number, name in enumerate(("peft", "peft-attention", "before-peft", "kohya", "kohya-conv", "kohya-text", "loha", "lokr")):
        yield name, sd(base.SD15, base.DDIM, 6100 + number, [[name, 0.8 if number % 2 else 0.35]], negative="blurry")
    yield "two", sd(base.SD15, base.DDIM, 6120, [["peft-attention", 0.5], ["kohya", -0.4]], sampler="euler_a")
    yield "xl", sd(base.SDXL, base.EULER_XL, 6121, [["kohya-xl", 0.6]], negative="blurry")
    yield "xl-text", sd(base.SDXL, base.EULER_XL, 6122, [["kohya-xl-text", 0.7]])
    yield "flux", flow(FluxPipeline, more.DEV, more.DEV_FLOW, 6123, 1, 5, 3.5, length=32, loras=[["flux", 0.4]])
    yield "flux-kohya", flow(FluxPipeline, more.DEV, more.DEV_FLOW, 6124, 0, 5, 3.5, length=32, loras=[["flux-kohya", 0.6]])
    yield "flux-dotted", flow(FluxPipeline, more.DEV, more.DEV_FLOW, 6125, 2, 5, 3.5, length=32, loras=[["flux-dotted", 0.6]])
    yield "sd3", flow(StableDiffusion3Pipeline, more.SD3, more.STATIC_FLOW, 6126, 1, 5, 4.5, "blurry", length=32, loras=[["sd3", 0.4]])
    yield "z-image", flow(ZImagePipeline, more.Z_IMAGE, more.STATIC_FLOW, 6127, 1, 5, 0.0, loras=[["z-image", 0.4]])


class Drawn:
    """Tensors that are drawn as a network's parameters are."""

    def __init__(self, seed, tensors):
        self.tensors = {name: torch.zeros(shape) for name, shape in tensors}
        assert len(self.tensors) == len(tensors)
        self.weights = more.draw_weights(self, seed)

    def named_parameters(self):
        return self.tensors.items()

    def named_buffers(self):
        return ()

    def state_dict(self):
        return self.tensors

    def eval(self):
        return self

    float = eval


class WithAdapters:
    """Hands out copies of the parts of a case, changed by the adapters that are merged."""

    def __init__(self, parts):
        self.parts = parts

    def get(self, name):
        return copy.deepcopy(self.parts.get(name))


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    parts = base.Parts(out)
    os.makedirs(f"{out}/adapters", exist_ok=True)
    made = {}
    for name, seed, tensors, names in adapters(parts):
        drawn = Drawn(seed, tensors)
        base.write_json(f"{out}/adapters/{name}.json", drawn.weights | {"file": f"{name}.safetensors"})
        made[name] = (drawn.tensors, names)
    drawn = []
    for name, spec in cases():
        if only and name not in only:
            continue

        def adapted(pipe):
            loaded = []
            for number, (adapter, strength) in enumerate(spec["loras"]):
                tensors, names = made[adapter]
                if names:
                    merge(pipe.components, tensors, strength, names)
                    continue
                with tempfile.TemporaryDirectory() as directory:
                    save_file(tensors, f"{directory}/adapter.safetensors")
                    pipe.load_lora_weights(f"{directory}/adapter.safetensors", adapter_name=f"adapter_{number}")
                loaded.append((f"adapter_{number}", strength))
            if loaded:
                pipe.set_adapters([name for name, _ in loaded], [strength for _, strength in loaded])
            return pipe

        case = more.draw(f"lora-{name}", spec | dict(adapt=adapted), WithAdapters(parts), out)
        case["request"]["loras"] = spec["loras"]
        drawn.append(case)
    if not only:
        with open(f"{out}/adapter_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
