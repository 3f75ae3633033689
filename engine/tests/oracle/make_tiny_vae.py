#!/usr/bin/env python3
"""Pictures that diffusers' pipelines decode, and begin from, with an `AutoencoderTiny` in the place of the large autoencoder.

usage: make_tiny_vae.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

In some cases the tiny autoencoder is the model's own, in its directory; in others the directory has the large one, and the tiny one is a part in a
file of its own (`own_parts`). Networks are otherwise those of make_cases.py and make_more_cases.py. FLUX.2's pipeline asks its autoencoder for a norm
of patches, which AutoencoderTiny has not: it is given one that changes nothing, as the authors of TAEF2 describe. Written are tiny_vae_cases.json,
the parts and the pictures.
"""
import json
import sys

import diffusers
import torch
from diffusers import AutoencoderTiny

import make_cases as base
import make_more_cases as more


def tiny(channels, **options):
    """Two levels, as the other autoencoders here."""
    return AutoencoderTiny(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16), num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1),
                           latent_channels=channels, **options)


base.PARTS |= {
    "vae-tiny-4": (6, lambda: tiny(4)),
    "vae-tiny-8": (6, lambda: tiny(8)),
    "vae-tiny-16": (6, lambda: tiny(16)),
    "vae-tiny-scaled": (6, lambda: tiny(16, scaling_factor=0.75, shift_factor=0.125)),
}


def draw_weights(module, seed):
    """As make_more_cases.py; the last layer of a tiny autoencoder is then changed, so that most colours are no edge of their range."""
    weights = more.draw_weights(module, seed)
    if isinstance(module, AutoencoderTiny):
        last = f"decoder.layers.{len(module.decoder.layers) - 1}"
        changed = {f"{last}.weight": [0.125, 0.0], f"{last}.bias": [1.0, 0.5]}
        parameters, digest = dict(module.named_parameters()), base.hashlib.sha256()
        with torch.no_grad():
            for name, (scale, shift) in changed.items():
                parameters[name].mul_(scale).add_(shift)
            for name, _ in weights["tensors"]:
                digest.update(parameters[name].numpy().astype("<f4").tobytes())
        weights |= {"changed": changed, "sha256": digest.hexdigest()}
    return weights


base.draw_weights = draw_weights


def cases():
    """Name, the part of the tiny autoencoder, whether it has a file of its own, and the picture."""
    sd = lambda parts, scheduler, *given, **options: more.sd(parts, scheduler, *given, **options)
    sd3 = lambda *given, **options: more.flow(diffusers.StableDiffusion3Pipeline, more.SD3, more.STATIC_FLOW, *given, length=32, **options)
    yield "sd15", "vae-tiny-4", False, sd(base.SD15, base.DDIM, 11000, None, None, negative="blurry")
    yield "sd15-img2img", "vae-tiny-4", True, sd(base.SD15, base.DDIM, 11001, "img2img", 0.6, sampler="euler_a")
    yield "sd15-inpaint", "vae-tiny-4", False, sd(base.SD15, base.DDIM, 11002, "inpaint", 0.75, sampler="euler_a")
    yield "repainting", "vae-tiny-4", True, sd(more.REPAINTING, base.SHORT, 11003, "inpaint", 0.6, sampler="euler_a")
    yield "sdxl", "vae-tiny-4", True, sd(base.SDXL, base.EULER_XL, 11004, None, None, negative="blurry", size=(96, 64))
    yield "sdxl-img2img", "vae-tiny-4", False, sd(base.SDXL, base.EULER_XL, 11005, "img2img", 0.5)
    yield "sd3", "vae-tiny-16", True, sd3(11006, 1, 5, 4.5, "blurry")
    yield "sd3-img2img", "vae-tiny-16", True, sd3(11007, 2, 7, 4.5, "blurry", task="img2img", strength=0.55)
    yield "sd3-scaled", "vae-tiny-scaled", False, sd3(11008, 0, 7, 4.5, "", task="img2img", strength=0.8)
    yield "flux", "vae-tiny-16", True, more.flow(diffusers.FluxPipeline, more.DEV, more.DEV_FLOW, 11009, 0, 5, 3.5, size=(96, 64), length=32)
    yield "flux-img2img", "vae-tiny-16", False, more.flow(diffusers.FluxPipeline, more.DEV, more.DEV_FLOW, 11010, 0, 7, 3.5, length=32, task="img2img", strength=0.6)
    yield "klein", "vae-tiny-8", True, more.flow(diffusers.Flux2KleinPipeline, more.KLEIN, more.DEV_FLOW, 11011, 1, 4, 1.0, length=64,
                                                 options=dict(is_distilled=True))


class Own:
    """The parts of a model with the tiny autoencoder in the place of `vae`."""

    def __init__(self, parts, vae, patches):
        self.parts, self.vae, self.patches = parts, vae, patches

    def get(self, name):
        if name != self.vae:
            return self.parts.get(name)
        part = self.parts.get(name)
        if self.patches:
            part.bn = torch.nn.BatchNorm2d(self.patches, affine=False, eps=0.0).eval()
            part.register_to_config(batch_norm_eps=0.0)
        return part


def draw(name, vae, has_own_file, spec, parts, out):
    large = spec["parts"]["vae"]
    spec = spec | dict(parts=spec["parts"] | dict(vae=vae))
    patches = 4 * parts.get(vae).config.latent_channels if spec["pipeline"] is diffusers.Flux2KleinPipeline else 0
    case = more.draw(f"tiny-vae-{name}", spec, Own(parts, vae, patches), out)
    if has_own_file:
        kind = type(parts.get(large)).__name__
        case["parts"]["vae"], case["model_index"]["vae"] = large, ["diffusers", kind]
        case["own_parts"] = {"vae": vae}
    return case


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    parts = base.Parts(out)
    drawn = [draw(*case, parts, out) for case in cases() if not only or case[0] in only]
    if not only:
        with open(f"{out}/tiny_vae_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
