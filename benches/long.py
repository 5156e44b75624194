"""A long run in the dashboard, shortened: as many steps as hours of full speed make, on a network and data that take no time.

    cargo build --release
    python3 benches/long.py [--steps 7000000]

7 million steps are what four hours make of the tutorial's network at 30,000 samples/s. Ten times on the way it looks at the
memory, at how long a key takes to be answered, at the screen's bytes and at the session's file; it fails if memory grows by
more than 2 % from the fourth look on, or if answers take half as long again. Linux, Python 3.11, standard library alone.
"""

import argparse
import fcntl
import gzip
import json
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/mnist-lab"
LOOKS = 10
KEYS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7_000_000)
    parser.add_argument("--binary", type=Path, default=BINARY)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(run(given, Path(folder)))


def run(given, folder):
    small_data(folder / "data")
    lab = Lab(given.binary, folder)
    lab.until(b"ready")
    lab.send(b" ")
    print("|      steps | MiB | key, median ms | longest ms | kB/s written | file, kB |")
    print("|---|---|---|---|---|---|")
    looks = []
    for look in range(1, LOOKS + 1):
        while lab.steps() < given.steps * look // LOOKS:
            lab.read(1.0)
        looks.append(lab.look())
        print("| {:>10,} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.0f} |".format(*looks[-1]), flush=True)
    lab.send(b"q")
    code = lab.end()
    # The first three are for what still settles.
    grown, slower = (rise(looks[3:], column) for column in (1, 2))
    print(f"\nmemory {grown:+.1%}, answers to keys {slower:+.1%}, exit code {code}")
    return int(grown > 0.02 or slower > 0.5 or code != 0)


def rise(looks, column):
    """How much more the last three looks have of a figure than the first three, on the median."""
    early, late = (statistics.median(look[column] for look in part) for part in (looks[:3], looks[-3:]))
    return late / early - 1


def small_data(folder):
    """As many training digits as the real data have batches, and 100 test digits."""
    folder.mkdir()
    for name, header, item, count in [
        ("train-images-idx3-ubyte", 16, 784, 940),
        ("train-labels-idx1-ubyte", 8, 1, 940),
        ("t10k-images-idx3-ubyte", 16, 784, 100),
        ("t10k-labels-idx1-ubyte", 8, 1, 100),
    ]:
        with gzip.open(ROOT / f"src/data/mnist/{name}.gz") as file:
            content = bytearray(file.read(header + count * item))
        content[4:8] = struct.pack(">I", count)
        (folder / name).write_bytes(content)


class Lab:
    """The dashboard in a terminal of its own."""

    def __init__(self, binary, folder):
        self.binary, self.sessions = binary, folder / "sessions"
        # No configuration file changes what is measured.
        self.place = ["--sessions", self.sessions, "--config", os.devnull]
        arguments = [binary, "lab", "--data", folder / "data", *self.place, "--arch", "pool7 flatten dense10"]
        arguments += ["--batch-size", "1", "--epochs", "100000", "--lr", "0.0001", "--threads", "1"]
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        self.seen = b""
        self.written = 0

    def send(self, keys):
        os.write(self.master, keys)

    def read(self, seconds):
        """Takes what is written in that time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.master], [], [], left)[0]:
            self.take()

    def take(self):
        content = os.read(self.master, 1 << 16)
        self.written += len(content)
        self.seen = (self.seen + content)[-1 << 18 :]

    def until(self, words):
        while words not in self.seen:
            if not select.select([self.master], [], [], 60)[0]:
                sys.exit(f"waited in vain for {words}")
            self.take()

    def steps(self):
        """Of the session as it was saved last."""
        command = [self.binary, "sessions", "list", "--json", *self.place]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
        return json.loads(listed)["step"] if listed else 0

    def look(self):
        keys = []
        for _ in range(KEYS):
            self.read(0.1)
            for key, words in [(b"?", b"Esc"), (b"\x1b", None)]:
                self.seen = b""
                started = time.monotonic()
                self.send(key)
                if words:
                    self.until(words)
                    keys.append((time.monotonic() - started) * 1000)
            self.read(0.2)
        self.written, started, memory = 0, time.monotonic(), []
        for _ in range(50):
            self.read(0.1)
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            memory.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024)
        rate = self.written / (time.monotonic() - started) / 1000
        size = (self.sessions / "run-1.mlab").stat().st_size / 1000
        return self.steps(), statistics.mean(memory), statistics.median(keys), max(keys), rate, size

    def end(self):
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.take()
                except OSError:
                    break
        return self.process.wait()


if __name__ == "__main__":
    main()
