#!/usr/bin/env python3
"""Golden values of noise between two seeds, as A1111's web UI mixes it: `make_variation.py > variation.json`. Needs torch.

The arithmetic is that of `slerp` in its modules/rng.py, in float32: norms over dimension 1, here the rows; one angle for each channel and column;
a straight mix, with the weights the other way round, where the mean cosine is above 0.9995.
"""
import json

import torch


def between(strength, a, b):
    lengths = [x.norm(dim=1, keepdim=True) for x in (a, b)]
    cosine = (a / lengths[0] * (b / lengths[1])).sum(1)
    if cosine.mean() > 0.9995:
        return strength * a + (1 - strength) * b
    angle = cosine.acos()
    weights = [((part * angle).sin() / angle.sin())[:, None] for part in (1.0 - strength, strength)]
    return weights[0] * a + weights[1] * b


def case(shape, seed, variation_seed, strength):
    a, b = (torch.randn(shape, generator=torch.Generator("cpu").manual_seed(s)) for s in (seed, variation_seed))
    values = between(strength, a, b).flatten()
    return {"shape": shape, "seed": seed, "variation_seed": variation_seed, "strength": strength,
            "values": [float(f"{value:.8g}") for value in values[:64].tolist()], "sum": values.double().abs().sum().item()}


cases = [case(shape, seed, other, strength)
         for shape, seed, other in (((4, 8, 8), 1, 2), ((4, 32, 32), 42, 7), ((16, 6, 10), 2**32 - 1, 0), ((4, 64, 96), 5, 5))
         for strength in (0.05, 0.3, 0.5, 1.0)]
print("[\n" + ",\n".join(json.dumps(one, separators=(",", ":")) for one in cases) + "\n]")
