#!/usr/bin/env python3
"""Pictures that diffusers draws while it looks at others, with the tiny FLUX.2 klein of make_more_cases.py.

usage: make_references.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

Written is reference_cases.json. The pictures to look at are files in expected/; one is larger than what the pipeline takes, and is brought down.
"""
import json
import os
import sys

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline
from PIL import Image

import make_cases as base
import make_more_cases as more


def vae_of_real_patches():
    """A token stands for 16 by 16 pixels, as in the real model: few enough that each is looked at."""
    return AutoencoderKLFlux2(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=(16, 32, 32, 48),
                              layers_per_block=1, latent_channels=8, norm_num_groups=8)


base.PARTS |= {"vae-klein-16": (3, vae_of_real_patches)}
KLEIN = more.KLEIN | dict(vae="vae-klein-16")


def case(distilled, seed, references, size, steps=4, guidance=1.0, prompt=1, length=32):
    """`references`: width and height of each; `size`: of the new picture, None where it follows from the first."""
    return locals()


def cases():
    yield "one", case(True, 8000, [(72, 104)], (64, 64))
    yield "two", case(True, 8001, [(90, 70), (67, 131)], (96, 64), prompt=2)
    yield "own-size", case(True, 8002, [(103, 77)], None)
    yield "four", case(True, 8003, [(64, 64), (80, 64), (64, 96), (65, 66)], (64, 96), prompt=0)
    yield "guided", case(False, 8004, [(72, 104)], (96, 64), 5, 4.0)
    yield "guided-two", case(False, 8005, [(131, 67), (64, 64)], None, 5, 3.0, prompt=2)
    yield "large", case(True, 8006, [(1290, 1000)], (64, 64), 1)


def reference(out, number, width, height):
    """Shapes of flat colours on a gradient, as a file."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([60 + 150.0 * x / width, 40 + 150.0 * y / height, np.full_like(x, 90.0)], -1)
    turned = [(230, 60, 30), (30, 200, 60), (40, 90, 230), (240, 230, 40)][number % 4]
    rgb[(x - width * 0.4) ** 2 + (y - height * 0.55) ** 2 < (min(width, height) * 0.3) ** 2] = turned
    rgb[(x > width * 0.7) & (y > height * 0.2) & (y < height * 0.7)] = turned[::-1]
    name = f"reference-{number}-{width}x{height}.png"
    picture = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    picture.save(f"{out}/expected/{name}", optimize=True)
    return name, picture


def draw(name, spec, parts, out):
    components = {role: parts.get(part) for role, part in KLEIN.items()}
    options = dict(is_distilled=spec["distilled"])
    pipe = Flux2KleinPipeline(scheduler=FlowMatchEulerDiscreteScheduler(**more.DEV_FLOW), **components, **options)
    pipe.set_progress_bar_config(disable=True)
    made = [reference(out, number, *size) for number, size in enumerate(spec["references"])]
    width, height = spec["size"] or (None, None)
    arguments = dict(prompt=base.PROMPTS[spec["prompt"]], num_inference_steps=spec["steps"], guidance_scale=spec["guidance"], width=width, height=height,
                     max_sequence_length=spec["length"])
    run = lambda images: pipe(**arguments, image=images, generator=torch.Generator("cpu").manual_seed(spec["seed"])).images[0]
    picture = run([image for _, image in made])
    picture.save(f"{out}/expected/reference-{name}.png", optimize=True)
    pixels = np.asarray(picture).astype(float)
    # What neither the pictures nor their places change is no case. Both change little; the test of these cases is as strict as that needs.
    changed = lambda picture: np.abs(pixels - np.asarray(picture).astype(float)).mean()
    turned = changed(run([image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for _, image in made]))
    places = Flux2KleinPipeline._prepare_image_ids
    pipe._prepare_image_ids = lambda latents: places(latents, scale=9)
    moved = changed(run([image for _, image in made]))
    print(f"{name}: {picture.size}, mean {pixels.mean():.1f} std {pixels.std():.1f}; turned {turned:.2f}, moved {moved:.2f}", flush=True)
    assert pixels.std() > 4 and min(turned, moved) > 0.1
    index = {"_class_name": "Flux2KleinPipeline", "_diffusers_version": diffusers.__version__, **options,
             "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    for role, component in components.items():
        index[role] = ["diffusers" if role in ("transformer", "vae") else "transformers", type(component).__name__]
    request = {"prompt": arguments["prompt"], "negative_prompt": None, "seed": spec["seed"], "steps": spec["steps"], "guidance": spec["guidance"],
               "sampler": None, "schedule": None, "width": picture.width, "height": picture.height, "has_own_size": spec["size"] is None,
               "max_sequence_length": spec["length"], "ref_images": [file for file, _ in made]}
    return {"name": f"reference-{name}", "parts": KLEIN, "model_index": index,
            "scheduler_config": json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler"} | more.DEV_FLOW), "request": request,
            "expected": [f"reference-{name}.png"]}


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    os.makedirs(f"{out}/expected", exist_ok=True)
    parts = base.Parts(out)
    drawn = [draw(name, spec, parts, out) for name, spec in cases() if not only or name in only]
    if not only:
        with open(f"{out}/reference_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
