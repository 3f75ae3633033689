#!/usr/bin/env python3
"""Pictures of which diffusers repaints a part: with a blurred mask, and with only what is masked drawn (`padding_mask_crop`).

usage: make_areas.py OUT_DIR      (OUT_DIR is this directory)

As make_more_cases.py, which it uses; it writes area_cases.json.
"""
import json
import sys

import diffusers
import numpy as np
import torch
from PIL import Image

import make_cases as base
import make_more_cases as more


def pictures(out, width, height):
    """A smooth picture and a mask of a disc near its lower right, as files."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([127 + 120 * np.cos(x / 8.0), 255.0 * y / height, 127 + 120 * np.sin((x + y) / 11.0)], -1)
    mask = ((x - width * 2 // 3) ** 2 + (y - height * 3 // 5) ** 2 < (height // 6) ** 2) * 255
    names = [f"part-{width}x{height}.png", f"disc-{width}x{height}.png"]
    made = [Image.fromarray(rgb.clip(0, 255).astype(np.uint8)), Image.fromarray(mask.astype(np.uint8))]
    for name, picture in zip(names, made):
        picture.save(f"{out}/expected/{name}", optimize=True)
    return names, made


def area(parts, scheduler, seed, strength, own, size=(64, 64), blur=0, padding=None, prompt=1, steps=8, guidance=5.0, negative="", sampler=None):
    return locals()


def cases():
    yield "only-masked", area(base.SD15, base.DDIM, 6000, 0.75, (96, 80), padding=8, sampler="euler")
    yield "only-masked-whole", area(base.SD15, base.DDIM, 6001, 1.0, (100, 75), (96, 64), padding=0, negative="blurry")
    yield "only-masked-blur", area(base.SD15, base.DDIM, 6002, 0.8, (100, 75), (64, 96), blur=4, padding=5, sampler="dpmpp_2m")
    yield "only-masked-smaller", area(base.SD15, base.DDIM, 6003, 0.6, (200, 150), blur=2, padding=32, sampler="unipc")
    yield "only-masked-repainting", area(more.REPAINTING, base.DDIM, 6004, 1.0, (96, 80), blur=3, padding=8)
    yield "only-masked-sdxl", area(base.SDXL, base.EULER_XL, 6005, 0.8, (96, 80), padding=12, negative="blurry")
    yield "mask-blur", area(base.SD15, base.DDIM, 6006, 0.8, (64, 64), blur=4, sampler="euler_a")
    yield "mask-blur-repainting", area(more.REPAINTING, base.DDIM, 6007, 1.0, (96, 64), (96, 64), blur=6)


def draw(name, spec, parts, out):
    components = {role: parts.get(part) if part else None for role, part in spec["parts"].items()}
    class_name, config = spec["scheduler"]
    with base.tempfile.TemporaryDirectory() as directory:
        scheduler = base.scheduler_of(spec["scheduler"], directory)
    if spec["sampler"]:
        changed, options = base.SAMPLERS[spec["sampler"]]
        scheduler = getattr(diffusers, changed).from_config(scheduler.config, **options)
    if "text_encoder_2" in components:
        pipe = base.StableDiffusionXLPipeline(**components, scheduler=scheduler, add_watermarker=False)
    else:
        pipe = base.StableDiffusionPipeline(**components, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    saved_as = type(pipe).__name__
    pipe = more.task_pipeline(pipe, "inpaint")
    generator = torch.Generator("cpu").manual_seed(spec["seed"])
    pipe.scheduler.generator = generator
    width, height = spec["size"]
    names, (picture, mask) = pictures(out, *spec["own"])
    if spec["blur"]:
        mask = pipe.mask_processor.blur(mask, blur_factor=spec["blur"])
    drawn = pipe(prompt=base.PROMPTS[spec["prompt"]], negative_prompt=spec["negative"], num_inference_steps=spec["steps"], guidance_scale=spec["guidance"],
                 width=width, height=height, generator=generator, image=picture, mask_image=mask, strength=spec["strength"],
                 padding_mask_crop=spec["padding"]).images[0]
    if spec["padding"] is None:
        drawn = pipe.image_processor.apply_overlay(mask, picture, drawn)
    assert drawn.size == spec["own"], drawn.size
    drawn.save(f"{out}/expected/{name}.png", optimize=True)
    pixels = np.asarray(drawn).astype(float)
    changed = np.abs(pixels - np.asarray(picture)).max(-1) > 8
    print(f"{name}: std {pixels.std():.1f}, {changed.mean():.0%} changed", flush=True)
    assert changed.mean() > 0.02
    index = {"_class_name": saved_as, "_diffusers_version": diffusers.__version__, "scheduler": ["diffusers", class_name]}
    for role, component in components.items():
        index[role] = [None, None] if component is None else ["diffusers" if role in ("unet", "vae") else "transformers", type(component).__name__]
    request = {key: spec[key] for key in ("seed", "steps", "guidance", "sampler", "strength")}
    request |= {"prompt": base.PROMPTS[spec["prompt"]], "negative_prompt": spec["negative"], "width": width, "height": height, "schedule": None, "clip_skip": None,
                "init_image": names[0], "mask": names[1], "mask_blur": spec["blur"], "only_masked": spec["padding"], "own_size": spec["own"]}
    return {"name": name, "parts": {role: part for role, part in spec["parts"].items() if part}, "model_index": index,
            "scheduler_config": json.dumps({"_class_name": class_name} | config), "request": request, "expected": [f"{name}.png"]}


def main():
    out = sys.argv[1]
    torch.set_num_threads(1)
    parts = base.Parts(out)
    drawn = [draw(name, spec, parts, out) for name, spec in cases()]
    with open(f"{out}/area_cases.json", "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
        file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
