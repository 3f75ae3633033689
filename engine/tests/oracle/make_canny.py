#!/usr/bin/env python3
"""Pictures and the edges that OpenCV finds in them, for engine/tests/canny.rs.

usage: make_canny.py OUT_DIR      (OUT_DIR is this directory)

Written are canny.json, and below expected/ the pictures as canny-NAME.png and their edges as canny-NAME-LOW-HIGH.png.
Needs: numpy opencv-python-headless pillow.
"""
import json
import sys

import cv2
import numpy as np
from PIL import Image

THRESHOLDS = [(100, 200), (0, 0), (400, 50), (250, 600)]


def pictures():
    y, x = np.mgrid[0:61, 0:83]
    random = np.random.default_rng(5)
    shapes = np.zeros((61, 83, 3))
    shapes[(x - 30) ** 2 + (y - 28) ** 2 < 300] = (250, 30, 60)
    shapes[(x > 50) & (y > 12) & (y < 44)] = (10, 200, 90)
    shapes[(3 * x + 2 * y) % 41 < 4] += (20, 5, 60)
    yield "shapes", shapes
    yield "waves", np.stack([127 + 120 * np.sin(x * y / 160), 127 + 120 * np.cos(x / 3.0), 127 + 90 * np.sin((x - y) / 5.0)], -1)
    rough = random.normal(128, 60, (61, 83, 3))
    yield "noise", (rough + np.roll(rough, 1, 0) + np.roll(rough, 1, 1) + np.roll(rough, (1, 1), (0, 1))) / 4
    yield "grey", np.repeat(random.normal(128, 70, (40, 40, 1)), 3, 2)
    yield "column", random.integers(0, 256, (17, 1, 3))
    yield "row", random.integers(0, 256, (1, 17, 3))
    yield "pixel", np.full((1, 1, 3), 200)
    yield "small", random.integers(0, 256, (5, 4, 3))


def main():
    out, cases = sys.argv[1], []
    for name, numbers in pictures():
        picture = np.ascontiguousarray(np.clip(numbers, 0, 255).astype(np.uint8))
        Image.fromarray(picture).save(f"{out}/expected/canny-{name}.png", optimize=True)
        for low, high in THRESHOLDS:
            edges, file = cv2.Canny(picture, low, high), f"canny-{name}-{low}-{high}.png"
            assert set(np.unique(edges)) <= {0, 255}
            Image.fromarray(edges).convert("1").save(f"{out}/expected/{file}", optimize=True)
            cases.append({"picture": f"canny-{name}.png", "low": low, "high": high, "edges": file})
            print(file, int((edges > 0).sum()), "of", edges.size)
    with open(f"{out}/canny.json", "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(case) for case in cases)
        file.write(f'{{"opencv": "{cv2.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
