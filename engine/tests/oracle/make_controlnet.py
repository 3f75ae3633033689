#!/usr/bin/env python3
"""ControlNets of the tiny models of make_cases.py and make_more_cases.py, and what diffusers draws with them.

usage: make_controlnet.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

A ControlNet is a part like a network's: parts/control-NAME; its convolutions that begin as zeros are drawn like all others. Written is
control_cases.json; and in control_names.json, what the author's files call the layers of two of the parts. Where a case says `canny`, diffusers is given the edges that OpenCV finds in the picture with 100 and 200.
Needs opencv-python-headless besides what the others need.
"""
import json
import os
import sys

import cv2
import diffusers
import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image

from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

import make_cases as base
import make_more_cases as more


# Components -----------------------------------------------------------------------------------------------------------

def control_sd(channels=(16, 32), order="rgb", **options):
    return ControlNetModel(block_out_channels=(32, 64, 64), layers_per_block=2, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                           cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8, conditioning_embedding_out_channels=channels,
                           controlnet_conditioning_channel_order=order, **options)


def control_sdxl():
    return ControlNetModel(block_out_channels=(32, 64, 64), layers_per_block=2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                           attention_head_dim=(2, 4, 8), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
                           transformer_layers_per_block=(1, 2, 3), projection_class_embeddings_input_dim=6 * 8 + 32, cross_attention_dim=64,
                           norm_num_groups=8, conditioning_embedding_out_channels=(16, 32))


def control_repainting():
    return ControlNetModel(block_out_channels=(32, 64), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), cross_attention_dim=32,
                           attention_head_dim=4, norm_num_groups=8, conditioning_embedding_out_channels=(8, 16))


base.PARTS |= {
    "control-sd": (7000, control_sd),
    "control-sd-bgr": (7001, lambda: control_sd((8, 24), "bgr")),
    "control-sd-deep": (7002, lambda: control_sd((4, 8, 16, 24))),
    "control-sdxl": (7003, control_sdxl),
    "control-repainting": (7004, control_repainting),
}


# Names ----------------------------------------------------------------------------------------------------------------

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "conv_shortcut": "skip_connection"}
SINGLE = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
          "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "controlnet_mid_block": "middle_block_out.0"}


def original(name, hints):
    """What the author calls a layer of a ControlNet whose levels have two blocks and whose picture goes through `hints` convolutions."""
    if name in SINGLE:
        return SINGLE[name]
    side, *rest = name.split(".")
    if side == "controlnet_down_blocks":
        return f"zero_convs.{rest[0]}.0"
    if side == "controlnet_cond_embedding":
        number = {"conv_in": 0, "conv_out": hints - 1}[rest[0]] if len(rest) == 1 else 1 + int(rest[1])
        return f"input_hint_block.{2 * number}"
    if side == "mid_block":
        kind, number, *inside = rest
        place = f"middle_block.{2 * int(number) if kind == 'resnets' else 1}"
    else:
        level, kind, number, *inside = rest
        at = 1 + 3 * int(level) + (2 if kind == "downsamplers" else int(number))
        place = f"input_blocks.{at}.{1 if kind == 'attentions' else 0}"
    if kind == "downsamplers":
        return place + ".op"
    return f"{place}.{'.'.join(inside) if kind == 'attentions' else RESNET[inside[0]]}"


def names(net):
    """Layer and the author's name of it, checked against diffusers' own conversion."""
    tensors = net.state_dict()
    hints = 2 + len(net.controlnet_cond_embedding.blocks)
    layers = {name.rsplit(".", 1)[0] for name in tensors}
    table = {layer: original(layer, hints) for layer in sorted(layers)}
    theirs = {}
    for name, tensor in tensors.items():
        layer, kind = name.rsplit(".", 1)
        theirs[f"control_model.{table[layer]}.{kind}"] = tensor
    back = convert_controlnet_checkpoint(theirs, net.config)
    missing = [name for name in tensors if name not in back or back[name] is not tensors[name]]
    # diffusers knows the eight convolutions of the author's networks by their numbers, which the SDXL has not, nor had the author one.
    assert not missing or hints != 8 and all(name.startswith(("controlnet_cond_embedding", "add_embedding")) for name in missing), missing
    return table


# Cases ----------------------------------------------------------------------------------------------------------------

def sd(parts, scheduler, seed, controls, task=None, strength=None, **options):
    """`controls`: part, how strong, from and to which share of the evaluations, and whether its map is the picture's edges."""
    return more.sd(parts, scheduler, seed, task, strength, **options) | dict(controls=controls)


def cases():
    plain = [["control-sd", 1.0, 0.0, 1.0, False]]
    two = [["control-sd", 0.7, 0.0, 1.0, False], ["control-sd-bgr", -0.45, 0.2, 0.9, False]]
    yield "one", sd(base.SD15, base.DDIM, 7100, plain)
    yield "unguided", sd(base.SD15, base.DDIM, 7101, plain, guidance=1.0, sampler="euler")
    yield "part", sd(base.SD15, base.DDIM, 7102, [["control-sd", 1.3, 0.25, 0.7, False]], sampler="dpmpp_2m")
    yield "two", sd(base.SD15, base.DDIM, 7103, two, negative="blurry", sampler="euler_a")
    yield "heun", sd(base.SD15, base.DDIM, 7104, [["control-sd", 0.8, 0.3, 1.0, False]], sampler="heun")
    yield "pndm", sd(base.SD15, base.SHORT, 7105, [["control-sd", 0.8, 0.0, 0.5, False]], sampler="pndm")
    yield "canny", sd(base.SD15, base.DDIM, 7106, [["control-sd", 1.0, 0.0, 1.0, True]], size=(96, 64))
    yield "img2img", sd(base.SD15, base.DDIM, 7107, [["control-sd", 0.8, 0.0, 0.6, False]], "img2img", 0.6)
    yield "inpaint", sd(base.SD15, base.DDIM, 7108, two, "inpaint", 0.75, sampler="unipc")
    yield "deep", sd(base.SD15 | dict(vae="vae-deep"), base.SHORT, 7109, [["control-sd-deep", 1.0, 0.0, 1.0, False]], size=(72, 104))
    yield "repainting", sd(more.REPAINTING, base.DDIM, 7110, [["control-repainting", 0.9, 0.0, 1.0, False]], "inpaint", 1.0)
    xl = [["control-sdxl", 0.8, 0.0, 1.0, False]]
    yield "xl", sd(base.SDXL, base.EULER_XL, 7111, xl, negative="blurry")
    yield "xl-two", sd(base.SDXL, base.EULER_XL, 7112, [["control-sdxl", 0.5, 0.0, 0.8, False], ["control-sdxl", 0.4, 0.4, 1.0, True]], size=(96, 64))
    yield "xl-img2img", sd(base.SDXL, base.EULER_XL, 7113, xl, "img2img", 0.5)
    yield "xl-inpaint", sd(base.SDXL, base.EULER_XL, 7114, xl, "inpaint", 0.8, negative="blurry")


PIPELINES = {(None, False): diffusers.StableDiffusionControlNetPipeline, ("img2img", False): diffusers.StableDiffusionControlNetImg2ImgPipeline,
             ("inpaint", False): diffusers.StableDiffusionControlNetInpaintPipeline, (None, True): diffusers.StableDiffusionXLControlNetPipeline,
             ("img2img", True): diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
             ("inpaint", True): diffusers.StableDiffusionXLControlNetInpaintPipeline}


def control_picture(out, width, height):
    """Shapes of flat colours, some of them faint, as a file."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.full((height, width, 3), 40.0)
    rgb[(x - width * 0.35) ** 2 + (y - height * 0.5) ** 2 < (min(width, height) * 0.3) ** 2] = (230, 60, 30)
    rgb[(x > width * 0.6) & (y > height * 0.2) & (y < height * 0.8)] = (40, 90, 200)
    rgb[(x + y) % 37 < 3] += 25
    name = f"control-{width}x{height}.png"
    picture = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    picture.save(f"{out}/expected/{name}", optimize=True)
    return name, picture


def draw(name, spec, parts, out):
    components = {role: parts.get(part) for role, part in spec["parts"].items()}
    controls = spec["controls"]
    is_xl, task = "text_encoder_2" in components, spec["task"]
    class_name, config = spec["scheduler"]
    with base.tempfile.TemporaryDirectory() as directory:
        scheduler = base.scheduler_of(spec["scheduler"], directory)
    if spec["sampler"]:
        changed, options = base.SAMPLERS[spec["sampler"]]
        scheduler = getattr(diffusers, changed).from_config(scheduler.config, **options)
    nets = [parts.get(part) for part, *_ in controls]
    beside = dict(add_watermarker=False) if is_xl else dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe = PIPELINES[task, is_xl](**components, scheduler=scheduler, controlnet=nets if len(nets) > 1 else nets[0], **beside)
    pipe.set_progress_bar_config(disable=True)
    width, height = spec["size"]
    file, picture = control_picture(out, width, height)
    edges = Image.fromarray(np.repeat(cv2.Canny(np.asarray(picture), 100, 200)[:, :, None], 3, 2))
    of_each = lambda values: list(values) if len(nets) > 1 else list(values)[0]
    arguments = dict(prompt=base.PROMPTS[spec["prompt"]], negative_prompt=spec["negative"], num_inference_steps=spec["steps"],
                     guidance_scale=spec["guidance"], generator=torch.Generator("cpu").manual_seed(spec["seed"]),
                     controlnet_conditioning_scale=of_each(scale for _, scale, *_ in controls),
                     control_guidance_start=of_each(start for _, _, start, *_ in controls),
                     control_guidance_end=of_each(end for _, _, _, end, _ in controls))
    maps = of_each(edges if canny else picture for *_, canny in controls)
    request = {key: spec[key] for key in ("seed", "steps", "guidance", "sampler", "schedule", "strength")}
    if task:
        names, (begin, mask) = more.pictures(out, width, height)
        arguments |= dict(image=begin, control_image=maps, strength=spec["strength"])
        request["init_image"] = names[0]
        if task == "inpaint":
            arguments["mask_image"], request["mask"] = mask, names[1]
    else:
        arguments |= dict(image=maps)
    pixels = pipe(**arguments).images[0]
    pixels.save(f"{out}/expected/control-{name}.png", optimize=True)
    values = np.asarray(pixels).astype(float)
    # The same without: what is not steered is no case.
    arguments["controlnet_conditioning_scale"] = of_each(0.0 for _ in nets)
    arguments["generator"] = torch.Generator("cpu").manual_seed(spec["seed"])
    unsteered = np.asarray(pipe(**arguments).images[0]).astype(float)
    print(f"{name}: mean {values.mean():.1f} std {values.std():.1f}, steered by {np.abs(values - unsteered).mean():.1f}", flush=True)
    assert values.std() > 4 and values.shape == (height, width, 3) and np.abs(values - unsteered).mean() > 2
    index_class = "StableDiffusionXLPipeline" if is_xl else "StableDiffusionPipeline"
    index = {"_class_name": index_class, "_diffusers_version": diffusers.__version__, "scheduler": ["diffusers", class_name]}
    for role, component in components.items():
        index[role] = ["diffusers" if role in ("unet", "vae") else "transformers", type(component).__name__]
    request |= {"prompt": arguments["prompt"], "negative_prompt": spec["negative"], "width": width, "height": height, "controls":
                [dict(part=part, image=file, weight=weight, start=start, end=end, canny=canny) for part, weight, start, end, canny in controls]}
    return {"name": f"control-{name}", "parts": spec["parts"], "model_index": index,
            "scheduler_config": json.dumps({"_class_name": class_name} | config), "request": request, "expected": [f"control-{name}.png"]}


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    os.makedirs(f"{out}/expected", exist_ok=True)
    parts = base.Parts(out)
    drawn = [draw(name, spec, parts, out) for name, spec in cases() if not only or name in only]
    if not only:
        base.write_json(f"{out}/control_names.json", {part: names(parts.get(part)) for part in ("control-sd-deep", "control-sdxl")})
        with open(f"{out}/control_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
