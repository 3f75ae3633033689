#!/usr/bin/env python3
"""Pictures that spandrel's networks enlarge, for engine/tests/upscale.rs.

usage: make_upscale.py OUT_DIR      (OUT_DIR is this directory)

Tiny networks with random weights of a seed, under the names that their authors' files have, and what spandrel makes of a picture with them
in float32 on the CPU: undivided, clipped to 0..1 and rounded. Factors other than the network's are Pillow's Lanczos. Written are
upscale_cases.json and, below expected/, upscale-*.png.
Needs: numpy pillow spandrel torch torchvision.
"""
import hashlib
import json
import sys

import numpy as np
import torch
from PIL import Image
from spandrel.architectures.Compact import CompactArch
from spandrel.architectures.ESRGAN import ESRGANArch, _to_old_arch

FEATURES, GROWTH = 24, 32  # spandrel knows no other growth


def sequence(features, growth, blocks, doublings, inputs):
    """ESRGAN's names of 2018."""
    yield "model.0", inputs, features
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                yield f"model.1.sub.{block}.RDB{dense}.conv{conv}.0", features + (conv - 1) * growth, growth if conv < 5 else features
    yield f"model.1.sub.{blocks}", features, features
    for number in range(1, doublings + 1):
        yield f"model.{3 * number}", features, features
    yield f"model.{3 * doublings + 2}", features, features
    yield f"model.{3 * doublings + 4}", features, 3


def basicsr(features, growth, blocks, doublings, inputs, prefix="", trunk=False):
    """BasicSR's names, or BSRGAN's."""
    theirs = dict(body="trunk_conv", up="upconv", hr="HRconv") if trunk else dict(body="conv_body", up="conv_up", hr="conv_hr")
    yield f"{prefix}conv_first", inputs, features
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                name = f"RRDB_trunk.{block}.RDB{dense}" if trunk else f"body.{block}.rdb{dense}"
                yield f"{prefix}{name}.conv{conv}", features + (conv - 1) * growth, growth if conv < 5 else features
    yield prefix + theirs["body"], features, features
    for number in range(1, doublings + 1):
        yield f"{prefix}{theirs['up']}{number}", features, features
    yield prefix + theirs["hr"], features, features
    yield f"{prefix}conv_last", features, 3


def compact(features, convs, scale, prefix=""):
    yield f"{prefix}body.0", 3, features
    for number in range(convs + 1):
        yield f"{prefix}body.{2 * number + 1}", None, features
        last = number == convs
        yield f"{prefix}body.{2 * number + 2}", features, 3 * scale * scale if last else features


def draw(layers, seed, last=(1.0, 0.0)):
    """The tensors by name, and what draws them again: matrices by their inputs, biases small, slopes about a half. `last`: by how much the
    last layer's weight is multiplied, and what is added to its bias."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {}
    for name, inputs, outputs in layers:
        if inputs is None:
            shapes[f"{name}.weight"] = (outputs,)
        else:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, 3, 3), (outputs,)
    digest, tensors = hashlib.sha256(), {}
    for tensor, shape in sorted(shapes.items()):
        noise = torch.randn(shape, generator=generator)
        gain, middle = last if tensor.startswith(name + ".") else (1.0, 0.0)
        if len(shape) >= 2:
            noise = noise * (1.5 * gain / noise[0].numel() ** 0.5)
        elif tensor.endswith("bias"):
            noise = noise * 0.05 + middle
        else:
            noise = 0.5 + noise * 0.25
        tensors[tensor] = noise
        digest.update(noise.numpy().astype("<f4").tobytes())
    recipe = {"seed": seed, "sha256": digest.hexdigest(), "tensors": [[name, list(shape)] for name, shape in sorted(shapes.items())],
              "last": name, "gain": last[0], "middle": last[1]}
    return tensors, recipe


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 120 * np.sin(x * y / 90), 127 + 120 * np.cos(x / 3.0), 127 + 90 * np.sin((x - y) / 5.0)], -1)
    waves[(x - 14) ** 2 + (y - 12) ** 2 < 80] = (250, 30, 60)
    return np.clip(waves, 0, 255).astype(np.uint8)


def enlarge(architecture, tensors, numbers):
    tensors = {name.removeprefix("params_ema.").removeprefix("params."): tensor for name, tensor in tensors.items()}
    model = architecture.load(tensors)
    network = model.model
    network.load_state_dict(state(architecture, tensors))
    network.eval().float()
    given = torch.from_numpy(numbers.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        made = network(given)[0].permute(1, 2, 0).numpy()
    return made, model.scale


def state(architecture, tensors):
    if isinstance(architecture, CompactArch):
        return tensors
    return _to_old_arch(tensors)


def cases():
    """Name, architecture, layers and their weights' seed, size of the picture, another factor."""
    rrdb = ESRGANArch()
    yield "sequence-x4", rrdb, sequence(FEATURES, GROWTH, 2, 2, 3), 21, (37, 29), None
    yield "sequence-x2", rrdb, sequence(FEATURES, GROWTH, 1, 1, 3), 22, (21, 33), None
    yield "sequence-x1", rrdb, sequence(FEATURES, GROWTH, 1, 0, 3), 23, (40, 23), None
    yield "sequence-x8", rrdb, sequence(FEATURES, GROWTH, 1, 3, 3), 24, (13, 17), None
    yield "body-x4", rrdb, basicsr(FEATURES, GROWTH, 2, 2, 3, prefix="params_ema."), 25, (31, 35), None
    yield "trunk-x4", rrdb, basicsr(FEATURES, GROWTH, 1, 2, 3, trunk=True), 26, (27, 22), None
    yield "unshuffle-x2", rrdb, basicsr(FEATURES, GROWTH, 1, 2, 12), 27, (35, 41), None
    yield "unshuffle-x1", rrdb, basicsr(FEATURES, GROWTH, 1, 2, 48), 28, (37, 30), None
    yield "compact-x4", CompactArch(), compact(16, 3, 4, prefix="params."), 29, (33, 27), None
    yield "compact-x3", CompactArch(), compact(16, 1, 3), 30, (19, 24), None
    yield "body-by-2.5", rrdb, basicsr(FEATURES, GROWTH, 1, 2, 3), 31, (31, 27), 2.5


def main():
    torch.set_num_threads(1)
    out, written = sys.argv[1], []
    for name, architecture, layers, seed, (width, height), scale in cases():
        layers, given = list(layers), picture(width, height)
        # A random network's picture is all black and white; this one's has a spread.
        made, own = enlarge(architecture, draw(layers, seed)[0], given)
        gain = round(0.2 / float(made.std()), 3)
        middle = 0.0 if isinstance(architecture, CompactArch) else round(0.5 - gain * float(made.mean()), 3)
        tensors, recipe = draw(layers, seed, (gain, middle))
        made, own = enlarge(architecture, tensors, given)
        made = np.round(made.clip(0, 1) * 255).astype(np.uint8)
        assert made.shape[:2] == (height * own, width * own), (name, made.shape)
        made = Image.fromarray(made)
        if scale:
            made = made.resize((int(width * scale), int(height * scale)), Image.Resampling.LANCZOS)
        Image.fromarray(given).save(f"{out}/expected/upscale-{name}-before.png", optimize=True)
        made.save(f"{out}/expected/upscale-{name}.png", optimize=True)
        spread = np.asarray(made).std()
        print(name, made.size, round(float(spread), 1))
        assert spread > 15, "a picture that is nearly grey shows little"
        written.append({"name": name, "weights": recipe | {"file": f"{name}.safetensors"}, "own": own, "scale": scale})
    with open(f"{out}/upscale_cases.json", "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(case) for case in written)
        file.write(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
