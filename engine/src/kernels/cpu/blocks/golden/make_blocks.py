"""What ggml's Python package decodes a few blocks of each format to.

    pip install gguf numpy
    python make_blocks.py > blocks.json

The quantised bits are random; scales are halves of a sensible size, so that no number is infinite.
"""

import hashlib
import json

import numpy
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

# Where the halves of a block stand.
HALVES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
BLOCKS = 4

random = numpy.random.default_rng(7)
golden = []
for kind, halves in HALVES.items():
    numbers, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (BLOCKS, size), dtype=numpy.uint8)
    for at in halves:
        scale = random.normal(0, 0.05, BLOCKS).astype(numpy.float16)
        blocks[:, at : at + 2] = scale.view(numpy.uint8).reshape(BLOCKS, 2)
    decoded = dequantize(blocks.reshape(1, -1), kind).astype("<f4").reshape(-1)
    golden.append({
        "format": kind.name.lower(),
        "bytes": blocks.tobytes().hex(),
        "numbers": len(decoded),
        "first": [float(x) for x in decoded[:8]],
        "sha256": hashlib.sha256(decoded.tobytes()).hexdigest(),
    })
print(json.dumps(golden, indent=1))
