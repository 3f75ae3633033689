"""What the tests share: a folder, the programs as a file manager calls them, and what was notified."""

import json
import os
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zlib
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2]
HOME = Path(os.environ["HOME"])
CORE = HOME / ".local/bin/imgd-files"
PATIENCE_S = 120


def uri(path: bytes) -> str:
    """A path as file managers write it in addresses: everything but letters, digits and `/` in percent."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-_.~"
    return "file://" + "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in path)


def imgctl(*arguments):
    """The objects that `imgctl --json` prints."""
    done = subprocess.run(["imgctl", "--json", *arguments], capture_output=True, check=True, timeout=PATIENCE_S)
    return [json.loads(line) for line in done.stdout.splitlines()]


def png(path):
    """Width, height, and the texts of a PNG by their names, as bytes; fails where it is none."""
    data = Path(os.fsdecode(path)).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", f"{path!r} is no PNG"
    texts, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"tEXt":
            name, _, text = data[at + 8 : at + 8 + length].partition(b"\0")
            texts[name.decode()] = text.decode("latin-1")
        at += length + 12
    return (*struct.unpack(">II", data[16:24]), texts)


def prompt(path):
    """The prompt that a PNG says it was drawn from."""
    return png(path)[2]["parameters"].partition("\nSteps: ")[0]


def write_png(path, side, texts=()):
    """A grey picture with texts: chunks as they stand in the file."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * (3 * side)) * side)
    chunks = [chunk(b"IHDR", head), *(chunk(kind, text) for kind, text in texts), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    Path(os.fsdecode(path)).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_upscaler(path):
    """A network that doubles each pixel: SRVGGNetCompact whose last layer is 0, so that what it adds to them is too."""
    shapes = {
        "body.0.weight": [4, 3, 3, 3],
        "body.0.bias": [4],
        "body.1.weight": [4],
        "body.2.weight": [12, 4, 3, 3],
        "body.2.bias": [12],
    }
    header, data = {}, b""
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        number = 0.0 if name.startswith("body.2") else 0.1
        part = struct.pack("<f", number) * count
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class Case(unittest.TestCase):
    """A test with a folder of its own and no notifications yet."""

    def setUp(self):
        self.folder = os.fsencode(tempfile.mkdtemp(prefix="a folder's "))
        self.notes_file = Path(tempfile.mkstemp()[1])
        self.settings("generate --steps 2", "vary --steps 4")

    def settings(self, *lines):
        path = HOME / ".config/imgd/files"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    def write(self, name, data=b"a red apple"):
        path = os.path.join(self.folder, os.fsencode(name))
        with open(path, "wb") as file:
            file.write(data)
        return path

    def names(self):
        return sorted(os.listdir(self.folder))

    def start(self, command, **environment):
        environment = {**os.environ, "NOTES": str(self.notes_file), **environment}
        pipe = subprocess.PIPE
        running = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True)
        self.addCleanup(self.end, running)
        return running

    def end(self, running):
        """Ends what a test that failed has left running."""
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()

    def call(self, command, **environment):
        """Runs to the end; returns the status."""
        running = self.start(command, **environment)
        self.out, self.err = running.communicate(timeout=PATIENCE_S)
        return running.returncode

    def core(self, verb, *files, **environment):
        return self.call([CORE, verb, *files], **environment)

    def notes(self):
        """The notifications: all arguments of each."""
        return [note.split(b"\0")[:-1] for note in self.notes_file.read_bytes().split(b"\x1e")[:-1]]

    def last_note(self):
        """Title and text of the last notification."""
        return tuple(part.decode() for part in self.notes()[-1][-2:])

    def wait(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.05)
