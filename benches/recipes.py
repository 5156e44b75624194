#!/usr/bin/env python3
"""The test accuracy of each recipe over seeds: the README's tables.

    python3 benches/recipes.py [BINARY …] [--seeds N] [--recipes NAME …] [--data DIR]

BINARY is what starts mnist-lab, `target/release/mnist-lab` if not given. `ensemble` is trained once for every five seeds, and `distilled`
learns from the first two sessions of `best`. The test set is looked at once for each network and ensemble. Prints Markdown. `tutorial` and `quick`
take minutes; eight seeds of `best` an hour and a half on two cores, and three minutes on an H100; an ensemble takes five times as long as
one of `best`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = 5
ORDER = ["tutorial", "quick", "augmented", "best", "ensemble", "distilled"]
parser = argparse.ArgumentParser()
parser.add_argument("--seeds", type=int, default=8)
parser.add_argument("--recipes", nargs="+", choices=ORDER, default=[recipe for recipe in ORDER if recipe != "augmented"])
parser.add_argument("--data", default=None)
parser.add_argument("binary", nargs="*", default=[str(ROOT / "target/release/mnist-lab")])
GIVEN = parser.parse_args()
if "distilled" in GIVEN.recipes and ("best" not in GIVEN.recipes or GIVEN.seeds < 2):
    parser.error("distilled learns from two of best: name that too, and --seeds 2 or more")
if "ensemble" in GIVEN.recipes and GIVEN.seeds < MEMBERS:
    parser.error(f"an ensemble has {MEMBERS} networks: --seeds {MEMBERS} or more")


def last(*flags):
    """The last object that a command writes."""
    data = ["--data", GIVEN.data] if GIVEN.data else []
    # No configuration file changes what is measured.
    command = [*GIVEN.binary, *flags, *data, "--config", os.devnull, "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(flags)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def row(name, accuracies, seconds):
    cells = " | ".join([f"{100 * accuracy:.2f}" for accuracy in accuracies] + [""] * (GIVEN.seeds - len(accuracies)))
    spread = f" ± {100 * statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    middle = f"{statistics.median(seconds):.1f} s" if seconds else ""
    print(f"| `{name}` | {cells} | {100 * statistics.mean(accuracies):.2f}{spread} | {middle} |", flush=True)


def main():
    seeds = range(1, GIVEN.seeds + 1)
    print(f"| recipe | {' | '.join(f'seed {seed}' for seed in seeds)} | mean ± sd | process, median |")
    print(f"|---|{'---|' * len(seeds)}---|---|")
    with tempfile.TemporaryDirectory() as folder:
        keep = ["--sessions", folder]
        for recipe in (recipe for recipe in ORDER if recipe in GIVEN.recipes):
            if recipe == "ensemble":
                accuracies, seconds = [], []
                for seed in seeds[: len(seeds) - MEMBERS + 1 : MEMBERS]:
                    run = ["train", "--recipe", recipe, "--validation-split", "0", "--seed", str(seed), *keep]
                    start = time.monotonic()
                    accuracies.append(last(*run, "--save", f"{recipe}-{seed}")["accuracy"])
                    seconds.append(time.monotonic() - start)
                row(recipe, accuracies, seconds)
                continue
            # What is best is chosen already, and learns from all digits; the tutorial's does both.
            splits = {"best": ["0"], "distilled": ["0"], "tutorial": ["0.2", "0"]}.get(recipe, ["0.2"])
            teacher = ["--teacher", "best-1,best-2"] if recipe == "distilled" else []
            for split in splits:
                name = recipe if split == splits[0] else f"{recipe} --validation-split {split}"
                save = name.replace(" --validation-split ", "-split-")
                run = ["train", "--recipe", recipe, "--validation-split", split, *teacher, *keep]
                runs = [last(*run, "--seed", str(seed), "--save", f"{save}-{seed}") for seed in seeds]
                row(name, [run["test_accuracy"] for run in runs], [run["process_seconds"] for run in runs])


main()
