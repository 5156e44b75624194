"""Trains in the dashboard, in a pseudo-terminal of 120×40, and then prints the epochs as `mnist-lab train --json` does.

screen.py BINARY EPOCHS [FLAGS of `mnist-lab lab`]
"""

import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
from pathlib import Path


def train(command, session, epochs):
    """Runs the dashboard until it has saved so many epochs; what it draws is read at once and thrown away."""
    child, terminal = pty.fork()
    if child == 0:
        termios.tcsetwinsize(0, (40, 120))
        os.execvpe(command[0], command, os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"})
    opening, saves = b"", set()
    while True:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                drawn = os.read(terminal, 1 << 16)
            except OSError:  # The program has closed its end.
                break
            if b"ready" not in opening:
                opening += drawn
                if b"ready" in opening:
                    os.write(terminal, b" ")
        # The session is written anew after each epoch.
        if len(saves) < epochs and session.exists():
            saves.add(session.stat().st_mtime_ns)
            if len(saves) == epochs:
                os.write(terminal, b"q")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    binary, epochs, *flags = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        lab = [binary, "lab", "--sessions", folder, "--epochs", epochs, *flags]
        code = train(lab, Path(folder) / "run-1.mlab", int(epochs))
        if code != 0:
            sys.exit(f"the lab ended with exit code {code}")
        shown = subprocess.check_output([binary, "sessions", "show", "run-1", "--sessions", folder, "--json"])
    for epoch in json.loads(shown)["epochs"]:
        print(json.dumps(epoch))


if __name__ == "__main__":
    main()
