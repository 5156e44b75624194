#!/usr/bin/env python3
"""All that is claimed of a GPU, measured in one go: the checks of `doctor`, the race to 99 %, and training beside PyTorch.

    python3 benches/gpu.py [--rounds N] [BINARY …]

BINARY, `target/release/mnist-lab` if not given, is what starts a mnist-lab that was built with `--features cuda`. PyTorch (with CUDA)
is measured by turns with it if this Python has it. Prints Markdown; about four minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("binary", nargs="*", default=[str(ROOT / "target/release/mnist-lab")])
GIVEN = parser.parse_args()
OURS = GIVEN.binary
ARCH = "conv32:3x3 relu pool2 conv64:3x3 relu pool2 conv64:3x3 relu flatten dense64 relu dropout dense10"
SEEDS = range(1, 11)
EPOCHS = 4
# No configuration file changes what is measured.
COMMON = ["--device", "cuda", "--config", os.devnull]


def events(command):
    """The objects that a command writes, one a line."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def train(*flags):
    return events([*OURS, "train", *COMMON, "--no-save", "--json", *flags])


def rate(found):
    """Samples a second of the epochs but the first, which warms up."""
    return statistics.median(event["samples_per_second"] for event in found if event["event"] == "epoch" and event["epoch"] > 1)


def spread(values, form="{:,.0f}"):
    """Median and range."""
    low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} ({low}–{high})"


def main():
    card = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True
    ).stdout.strip()
    print(f"{card}, {os.cpu_count()} CPU cores\n", flush=True)

    races = [train("--recipe", "quick", "--validation-split", "0", "--seed", str(seed))[-1] for seed in SEEDS]
    again = train("--recipe", "quick", "--validation-split", "0", "--seed", str(SEEDS[0]))[-1]
    same = all(again[key] == races[0][key] for key in ("test_loss", "test_accuracy"))
    accuracies = [100 * race["test_accuracy"] for race in races]
    print(f"`quick`, {len(races)} seeds: test accuracy {statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f} %, "
          f"at least {min(accuracies):.2f} %; training and test {spread([race['seconds'] for race in races], '{:.2f}')} s, "
          f"whole process {spread([race['process_seconds'] for race in races], '{:.2f}')} s; the first seed once more gave "
          f"{'the same to the bit' if same else 'ANOTHER RESULT'}\n", flush=True)

    torch = [sys.executable, "benches/peers/torch_peer.py", "--device", "cuda", "--arch", ARCH, "--epochs", str(EPOCHS)]
    try:
        peers = {"PyTorch": [], "PyTorch, CUDA graphs": ["--graph"]} if __import__("torch").cuda.is_available() else {}
    except ImportError:
        peers = {}
    print("| samples a second | batch | median (range) | mnist-lab ÷ this |\n|---|---|---|---|")
    for batch in ["64", "1024"]:
        rates = {"mnist-lab": []} | {name: [] for name in peers}
        for _ in range(GIVEN.rounds):
            rates["mnist-lab"].append(rate(train("--epochs", str(EPOCHS), "--batch-size", batch)))
            for name, flags in peers.items():
                rates[name].append(rate(events([*torch, "--batch-size", batch, *flags])))
        for name, found in rates.items():
            ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["mnist-lab"], found))
            print(f"| {name} | {batch} | {spread(found)} | {'' if name == 'mnist-lab' else f'{ratio:.1f}×'} |", flush=True)
    for name, flags in {"`wide`": ["--arch", "wide"], "`resnet`": ["--arch", "resnet"], "augmented": ["--augment", "tutorial"],
                        "operations of dfdx": ["--kernels", "composed"]}.items():
        print(f"| mnist-lab, {name} | 64 | {rate(train('--epochs', '2', *flags)):,.0f} | |", flush=True)

    print("\n```text", flush=True)
    check = subprocess.run([*OURS, "doctor", *COMMON], cwd=ROOT, capture_output=True, text=True)
    print(check.stdout[check.stdout.find("difference") :] + check.stderr + "```")
    sys.exit(check.returncode)


if __name__ == "__main__":
    main()
