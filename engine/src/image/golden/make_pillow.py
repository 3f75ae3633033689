#!/usr/bin/env python3
"""What Pillow makes of small pictures: `make_pillow.py > pillow.json`. Needs Pillow, numpy and diffusers.

Each picture is `value(i) = (i * i * 31 + i * 7) % 251` for its bytes in order, a mask that with every byte below 100 set to 0.
"""
import json

import numpy as np
from diffusers.image_processor import VaeImageProcessor
from PIL import Image, ImageFilter

PROCESSOR = VaeImageProcessor(do_normalize=False)


def values(count):
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 31 + i * 7) % 251).astype(np.uint8)


def rgb(width, height):
    return Image.fromarray(values(width * height * 3).reshape(height, width, 3))


def grey(width, height):
    v = values(width * height)
    return Image.fromarray(np.where(v < 100, 0, v).astype(np.uint8).reshape(height, width))


def flat(picture):
    return np.asarray(picture).flatten().tolist()


def square(width, height, box):
    mask = np.zeros((height, width), np.uint8)
    x, y, x2, y2 = box
    mask[y:y2, x:x2] = 255
    return Image.fromarray(mask)


resized = [{"from": a, "to": b, "values": flat(rgb(*a).resize(b, Image.LANCZOS))}
           for a, b in (((7, 5), (11, 9)), ((13, 11), (5, 4)), ((6, 9), (6, 3)), ((2, 1), (5, 3)))]
filled = [{"from": a, "to": b, "values": flat(PROCESSOR._resize_and_fill(rgb(*a), *b))} for a, b in (((7, 5), (8, 8)), ((5, 9), (12, 8)), ((6, 6), (8, 8)))]
cropped = [{"from": a, "to": b, "values": flat(PROCESSOR._resize_and_crop(rgb(*a), *b))} for a, b in (((8, 8), (7, 5)), ((12, 8), (5, 9)), ((6, 6), (8, 8)))]
blurred = [{"from": size, "radius": radius, "values": flat(grey(*size).filter(ImageFilter.GaussianBlur(radius)))}
           for size, radius in (((9, 7), 1), ((16, 5), 2), ((12, 12), 4), ((8, 3), 9), ((1, 6), 3))]
regions = [{"size": size, "box": box, "to": to, "padding": pad, "region": list(VaeImageProcessor.get_crop_region(square(*size, box), *to, pad=pad))}
           for size, box, to, pad in (((100, 80), (40, 30, 60, 40), (64, 64), 0), ((100, 80), (40, 30, 60, 40), (64, 64), 8), ((100, 80), (0, 0, 9, 70), (96, 64), 5),
                                      ((100, 80), (90, 70, 100, 80), (64, 96), 32), ((50, 200), (3, 150, 47, 199), (128, 64), 4), ((64, 64), (0, 0, 64, 64), (64, 64), 32),
                                      ((97, 61), (11, 3, 50, 59), (96, 64), 3), ((200, 40), (100, 10, 101, 39), (64, 64), 7))]
overlays = []
for size in ((9, 7),):
    upper, lower, mask = rgb(*size), rgb(*size).transpose(Image.FLIP_LEFT_RIGHT), grey(*size).filter(ImageFilter.GaussianBlur(1))
    overlays.append({"from": size, "values": flat(PROCESSOR.apply_overlay(mask, upper, lower))})
print(json.dumps({"resized": resized, "filled": filled, "cropped": cropped, "blurred": blurred, "regions": regions, "overlays": overlays}, separators=(",", ":")))
