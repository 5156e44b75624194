"""Starts a server, loads it with wrk's 16 keep-alive clients, and tells requests a second and latencies as JSON.

    load.py [--seconds N] -- COMMAND ...

The server writes `{"event": "listening", "addr": …}` when it is ready. Each request is one of the first test digits as a
PNG in a form, as the tutorial's client sends it. Needs wrk, from Debian's package of that name.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import task

CLIENTS, DIGITS = 16, 64

# wrk asks `request` for each request; `done` is told of the whole.
SCRIPT = """
local bodies = {}
for index = 0, %d do
    local file = io.open(string.format("%s/%%d.body", index), "rb")
    bodies[index] = file:read("*a")
    file:close()
end
local count = 0
function request()
    count = (count + 1) %% #bodies
    return wrk.format("POST", "/predict", {["Content-Type"] = "multipart/form-data; boundary=digit"}, bodies[count])
end
function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("RESULT %%f %%f %%f %%d %%d\\n", summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.requests, failed))
end
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("command", nargs="+", help="starts the server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(given.command, stdout=subprocess.PIPE, text=True) as server:
        try:
            listening = json.loads(server.stdout.readline())
            if "peer" in listening:
                task.tell("started", peer=listening["peer"])
            bodies(Path(folder))
            script = Path(folder, "load.lua")
            script.write_text(SCRIPT % (DIGITS - 1, folder))
            # The first seconds warm the server up.
            for seconds in (2, given.seconds):
                load = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script), f"http://{listening['addr']}/predict"]
                output = subprocess.run(load, check=True, stdout=subprocess.PIPE, text=True).stdout
        finally:
            server.terminate()
    rate, middle, slow, requests, failed = map(float, re.search(r"RESULT (.*)", output)[1].split())
    if failed:
        sys.exit(f"{failed:.0f} of {requests:.0f} requests failed")
    task.tell("load", requests_per_second=rate, p50_ms=middle, p99_ms=slow, requests=int(requests))


def bodies(folder):
    """Forms with the first test digits as files."""
    for index, pixels in enumerate(task.idx(task.MNIST / "t10k-images-idx3-ubyte.gz")[:DIGITS]):
        head = b'--digit\r\nContent-Disposition: form-data; name="image"; filename="digit.png"\r\nContent-Type: image/png\r\n\r\n'
        Path(folder, f"{index}.body").write_bytes(head + png(pixels) + b"\r\n--digit--\r\n")


def png(pixels):
    """A greyscale PNG of `[row, column]`."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    main()
