"""Whether a file is a picture: packaging/picture.py FILE WIDTH HEIGHT. Needs nothing but Python.

Reads the PNG's header and pixels; a picture of few colours is a blank one.
"""

import struct
import sys
import zlib

path, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = open(path, "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
at, pixels, header = 8, b"", None
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + length]
    assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0], "a damaged chunk"
    if kind == b"IHDR":
        header = struct.unpack(">IIBBBBB", body)
    elif kind == b"IDAT":
        pixels += body
    at += 12 + length
assert header[:4] == (width, height, 8, 2), f"header {header}"
raw, stride = zlib.decompress(pixels), 3 * width
rows, above = [], bytes(stride)
for y in range(height):
    filter_type, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
    for x in range(stride):
        left, up, corner = (line[x - 3], above[x], above[x - 3]) if x >= 3 else (0, above[x], 0)
        estimate = left + up - corner
        nearest = min((left, up, corner), key=lambda value: abs(estimate - value))
        line[x] = (line[x] + (0, left, up, (left + up) // 2, nearest)[filter_type]) & 255
    rows.append(bytes(line))
    above = line
colours = {row[x : x + 3] for row in rows for x in range(0, stride, 3)}
assert len(colours) > 1000, f"only {len(colours)} colours"
print(f"{path}: {width}x{height}, {len(data)} bytes, {len(colours)} colours")
