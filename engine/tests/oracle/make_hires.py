#!/usr/bin/env python3
"""Pictures that are drawn, enlarged as latents and refined, by diffusers' pipelines one after the other.

usage: make_hires.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

The text-to-image pipeline gives its latents (`output_type="latent"`), torch enlarges them (bilinear, corners not aligned, no antialiasing),
and the image-to-image pipeline takes them as they are: a tensor with the latents' channels is not encoded or scaled again. The generator of
the second pipeline is a new one of the same seed. Networks and their weights are those of make_cases.py and make_more_cases.py.
Written are hires_cases.json and the pictures.
"""
import json
import sys

import diffusers
import torch

import make_cases as base
import make_more_cases as more

REFINERS = {
    "StableDiffusionPipeline": diffusers.StableDiffusionImg2ImgPipeline,
    "StableDiffusionXLPipeline": diffusers.StableDiffusionXLImg2ImgPipeline,
    "StableDiffusion3Pipeline": diffusers.StableDiffusion3Img2ImgPipeline,
}
MULTIPLE = {"StableDiffusion3Pipeline": 16}


def with_second_pass(kind, hires):
    """The pipeline, with the second one behind it."""

    class Both(kind):
        def __call__(self, width, height, generator, num_inference_steps, **arguments):
            latents = super().__call__(width=width, height=height, generator=generator, num_inference_steps=num_inference_steps,
                                       output_type="latent", **arguments).images
            multiple = MULTIPLE.get(kind.__name__, 8)
            sides = [int(side * hires["scale"] + 1e-6) // multiple * multiple for side in (width, height)]
            per_latent = width // latents.shape[-1]
            latents = torch.nn.functional.interpolate(latents, size=(sides[1] // per_latent, sides[0] // per_latent), mode="bilinear",
                                                      align_corners=False, antialias=False)
            scheduler = type(self.scheduler).from_config(self.scheduler.config)
            refiner = REFINERS[kind.__name__](**{**self.components, "scheduler": scheduler})
            refiner.set_progress_bar_config(disable=True)
            again = torch.Generator("cpu").manual_seed(generator.initial_seed())
            size = {} if kind.__name__ != "StableDiffusion3Pipeline" else dict(width=sides[0], height=sides[1])
            hires["size"] = sides
            return refiner(image=latents, generator=again, strength=hires["strength"], num_inference_steps=hires["steps"] or num_inference_steps,
                           **size, **arguments)

    Both.__name__ = kind.__name__
    return Both


def cases():
    """Name, the second pass, and the picture of the first."""
    sd = lambda *given, **options: base.case(base.SD15, base.DDIM, *given, **options)
    xl = lambda *given, **options: base.case(base.SDXL, base.EULER_XL, *given, **options)
    hires = lambda scale, strength, steps=None: dict(scale=scale, strength=strength, steps=steps)
    yield "ddim", hires(1.5, 0.7), sd(9000, 0, "blurry", 6, 5.0, (64, 64))
    yield "euler_a", hires(1.5, 0.6, 8), sd(9001, 1, "", 6, 5.0, (64, 48), sampler="euler_a")
    yield "dpmpp_2m", hires(1.3, 0.75, 9), sd(9002, 2, "blurry", 7, 5.0, (64, 48), sampler="dpmpp_2m", schedule="karras")
    yield "heun", hires(2.0, 0.5), sd(9003, 1, "", 6, 5.0, (48, 48), sampler="heun")
    yield "whole", hires(1.2, 1.0), sd(9004, 0, "", 5, 5.0, (64, 48), sampler="euler")
    yield "xl", hires(1.5, 0.7), xl(9005, 1, "blurry", 6, 5.0, (64, 48))
    yield "xl-sde", hires(1.5, 0.6), xl(9006, 2, None, 6, 5.0, (48, 48), sampler="dpmpp_2m_sde")


def flow_cases():
    hires = lambda scale, strength, steps=None: dict(scale=scale, strength=strength, steps=steps)
    yield "sd3", hires(1.5, 0.6), more.flow(diffusers.StableDiffusion3Pipeline, more.SD3, more.STATIC_FLOW, 9010, 2, 7, 4.5, "blurry", length=32)


def noted(case, hires):
    case["request"] |= {"hires": {key: hires[key] for key in ("scale", "strength", "steps")}, "own_size": hires["size"]}
    return case


def draw(name, hires, spec, parts, out):
    kinds = base.StableDiffusionPipeline, base.StableDiffusionXLPipeline
    base.StableDiffusionPipeline, base.StableDiffusionXLPipeline = (with_second_pass(kind, hires) for kind in kinds)
    try:
        return noted(base.draw(f"hires-{name}", spec, parts, out), hires)
    finally:
        base.StableDiffusionPipeline, base.StableDiffusionXLPipeline = kinds


def draw_flow(name, hires, spec, parts, out):
    spec |= dict(pipeline=with_second_pass(spec["pipeline"], hires), hires=hires)
    return noted(more.draw(f"hires-{name}", spec, parts, out), hires)


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    parts = base.Parts(out)
    drawn = [draw(name, hires, spec, parts, out) for name, hires, spec in cases() if not only or name in only]
    drawn += [draw_flow(name, hires, spec, parts, out) for name, hires, spec in flow_cases() if not only or name in only]
    if not only:
        with open(f"{out}/hires_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
