"""One network in stable-diffusion.cpp, run once for each line of the standard input.

    python sdcpp.py PROGRAM NETWORK MODEL SIZE BATCH THREADS ROUNDS

PROGRAM is its command line, `sd-cli`. NETWORK: unet, vae. SIZE is the picture's, in pixels. BATCH 2 is guidance, for which
this engine evaluates its network twice. ROUNDS is how many lines are likely to come. Says `ready` once the network was run
twice; then answers each line with the milliseconds of one run.

The command line tells of each step and each decode when it is done. There it is stopped, all of its threads, until the
next line comes: a run's time is from letting it go on to what it says next, in which reading its output is well below a
millisecond. When it has made all it was asked for it is started again, untimed.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

DONE = {"unet": re.compile(rb"\d+/\d+ - [\d.]+(s/it|it/s)"), "vae": re.compile(rb"latent \d+ decoded")}


class Held:
    """The command line, stopped wherever nobody waits for it."""

    def __init__(self, program, what, model, size, batch, threads, rounds, picture):
        self.runs = int(rounds) + 2
        self.done = DONE[what]
        steps, pictures = (self.runs, 1) if what == "unet" else (1, self.runs)
        self.command = [
            program, "--model", model, "--prompt", "a red apple", "--sampling-method", "euler",
            "--width", size, "--height", size, "--threads", threads, "--steps", str(steps),
            "--batch-count", str(pictures), "--cfg-scale", "7.5" if batch == "2" else "1",
            "--output", picture,
        ]
        self.left = 0

    def run(self):
        """Milliseconds of one run."""
        if self.left == 0:
            self.start()
        start = time.perf_counter()
        os.kill(self.process.pid, signal.SIGCONT)
        self.wait()
        return (time.perf_counter() - start) * 1e3

    def start(self):
        """Starts it and has it run the network twice, of which the first loads weights."""
        self.end()
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        self.left = self.runs
        self.wait()
        self.run()

    def wait(self):
        """Reads on until one more run is done, and stops it there."""
        said = b""
        while not self.done.search(said):
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                sys.exit(f"{self.command[0]} ended: {said[-2000:].decode(errors='replace')}")
            said += more
        os.kill(self.process.pid, signal.SIGSTOP)
        self.left -= 1

    def end(self):
        if process := getattr(self, "process", None):
            process.kill()
            process.wait()


def main(program, what, *rest):
    with tempfile.TemporaryDirectory() as folder:
        held = Held(program, what, *rest, os.path.join(folder, "picture.png"))
        try:
            held.start()
            print("ready", flush=True)
            for _ in sys.stdin:
                print(held.run(), flush=True)
        finally:
            held.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
