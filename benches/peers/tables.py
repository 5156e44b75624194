"""What is measured: the contestants of each table, their commands, and how a figure is read from what they write."""

import json
import os
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

OURS, OURS_AVX2 = "mnist-lab", "mnist-lab, AVX2"
NAMES = ("train", "batch", "presets", "augment", "infer", "latency", "accuracy", "tui", "memory", "requests", "waiting")
PRESETS = ("mlp", "lenet5", "tutorial", "wide", "resnet")

# What our run is given when it races to the test accuracy: a learning rate that rises and falls over two epochs, and, as
# nothing is chosen on a validation set, all training digits.
TO_TARGET, EPOCHS_TO_TARGET = ["--recipe", "quick", "--validation-split", "0"], 2
TARGET = 0.99
# All others train with the tutorial's settings, written out so that no configuration file changes them.
SETTINGS = """--optimizer adam --lr 1e-3 --schedule constant --weight-decay 0 --label-smoothing 0 --dropout 0
    --validation-split 0.2 --early-stop none""".split()
COMMON = ["--config", os.devnull, "--seed", "{seed}"]

# An epoch of ours is all 48,000 training samples; one of a peer is this many batches of 64, for about 3 seconds.
EPOCHS, STEPS = 4, 250
# Epochs of ours and batches of a peer's epoch for the other presets, which are faster or slower.
AMOUNTS = {"mlp": (20, 750), "lenet5": (6, 750), "wide": (3, 100), "resnet": (2, 50)}
# Passes over the test images after the warm-up.
PASSES = 10

AVX2 = {"MNIST_LAB_SIMD": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# Freed pages are kept: on a virtual machine a page fault is dear.
JEMALLOC = {
    "LD_PRELOAD": "libjemalloc.so.2",
    "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0",
}


@dataclass(frozen=True)
class Contestant:
    """A command and its figure. In the command `{seed}` is the round and `{wide}` the layers of the preset `wide`."""

    name: str
    read: Callable
    command: list
    environment: dict = field(default_factory=dict)
    stdin: str = ""
    # The row, in a table where the contestants are the columns.
    case: str = ""
    # The contestant whose figure stands beside this one's.
    against: str = OURS


@dataclass(frozen=True)
class Ratio:
    """How a figure compares with that of mnist-lab, and the heading over it."""

    heading: str
    text: Callable


FASTER = Ratio("mnist-lab ÷ this", lambda ours, this: f"{ours / this:.2f}×")
LESS = Ratio("this ÷ mnist-lab", lambda ours, this: f"{this / ours:.2f}×")
SHARE = Ratio("share", lambda ours, this: f"{100 * this / ours:.1f} %")
COST = Ratio("cost", lambda ours, this: f"{100 - 100 * this / ours:.1f} %")


@dataclass(frozen=True)
class Table:
    """Contestants whose runs alternate, and the unit of their figures."""

    title: str
    unit: str
    ratio: Ratio
    contestants: list
    # Mean and standard deviation, where the rounds differ by more than noise; else median and range.
    by_mean: bool = False
    # Whether each figure is also given as a share of the contestant's best.
    share_of_best: bool = False


@dataclass(frozen=True)
class Lineup:
    """Who runs in each table: a method for a table. `quick` makes everything short, to see that it works."""

    binary: str
    work: Path
    quick: bool

    def train(self):
        fast_keras = self.keras("--steps-per-execution", "10" if self.quick else "50")
        return Table("Training, `tutorial`, batch 64", "samples/s", FASTER, [
            Contestant(OURS, rate, self.ours()),
            Contestant(OURS_AVX2, rate, self.ours(), AVX2),
            Contestant("mnist-lab, one thread", rate, self.ours("--threads", "1")),
            Contestant("PyTorch", rate, self.torch()),
            Contestant("PyTorch, jemalloc", rate, self.torch(), JEMALLOC),
            Contestant("PyTorch, jemalloc, AVX2", rate, self.torch(), JEMALLOC | AVX2, against=OURS_AVX2),
            Contestant("Keras", rate, self.keras()),
            Contestant("Keras, 50 steps per execution", rate, fast_keras),
            Contestant("Keras, 50 steps per execution, AVX2", rate, fast_keras, AVX2, against=OURS_AVX2),
        ])

    def batch(self):
        def of(size):
            flags = ["--batch-size", size]
            steps = max(2, self.steps * 64 // int(size))
            return [
                Contestant(OURS, rate, self.ours(*flags), case=size),
                Contestant("PyTorch", rate, self.torch(*flags, steps=steps), case=size),
                Contestant("Keras", rate, self.keras(*flags, steps=steps), case=size),
            ]

        rows = [contestant for size in ("32", "64", "128", "256", "512", "1024") for contestant in of(size)]
        return Table("Training, `tutorial`, by batch size", "samples/s", FASTER, rows, share_of_best=True)

    def presets(self):
        def of(preset, epochs, steps):
            torch = self.torch(arch=f"{{{preset}}}", steps=steps)
            return [
                Contestant(OURS, rate, self.ours("--arch", preset, epochs=epochs), case=preset),
                Contestant("PyTorch", rate, torch, case=preset),
                Contestant("PyTorch, jemalloc", rate, torch, JEMALLOC, case=preset),
            ]

        amounts = dict.fromkeys(AMOUNTS, (2, 5)) if self.quick else AMOUNTS
        rows = [contestant for preset, amount in amounts.items() for contestant in of(preset, *amount)]
        return Table("Training, batch 64, by network", "samples/s", FASTER, rows)

    def augment(self):
        return Table("Training with augmentation, `tutorial`, batch 64", "samples/s", SHARE, [
            Contestant(OURS, rate, self.ours()),
            Contestant("with the tutorial's augmentation", rate, self.ours("--augment", "tutorial")),
        ])

    def infer(self):
        # The trained session that comes with the source; the first evaluation is the warm-up.
        demo = [self.binary, "repl", "demo", "--json", "--sessions", str(ROOT / "sessions"), "--config", os.devnull]
        eager, script = (self.torch("--infer", how, epochs=PASSES) for how in ("eager", "script"))
        return Table("The 10,000 test images, `tutorial` (PyTorch in batches of 64)", "images/s", FASTER, [
            Contestant(OURS, images, demo, stdin="eval\n" * (1 + PASSES)),
            Contestant("PyTorch", images, eager),
            Contestant("TorchScript", images, script),
            Contestant("TorchScript, jemalloc", images, script, JEMALLOC),
        ])

    def latency(self):
        bench = ["cargo", "bench", "-q", "--manifest-path", str(ROOT / "Cargo.toml"), "--bench", "steps", "--"]
        one = ["--batch-size", "1", "--infer"]
        eager, script = (self.torch(*one, how, epochs=PASSES) for how in ("eager", "script"))
        return Table("One image, `tutorial`", "µs", LESS, [
            Contestant(OURS, divan_median, [*bench, "predict_one::tutorial"]),
            Contestant("PyTorch", latency, eager),
            Contestant("TorchScript", latency, script),
            Contestant("TorchScript, jemalloc", latency, script, JEMALLOC),
        ])

    def accuracy(self):
        target = 0.9 if self.quick else TARGET
        flags = ["--target", str(target)]
        race = ["--target-test-accuracy", str(target)]
        ours = self.ours(*race, epochs=EPOCHS_TO_TARGET, settings=TO_TARGET)
        torch, keras = (peer(*flags, epochs=40, steps=None) for peer in (self.torch, self.keras))
        return Table(f"From start to {100 * target:.0f} % on the test set", "s", LESS, [
            Contestant(OURS, seconds_to_target, ours),
            Contestant("PyTorch, jemalloc", seconds_to_target, torch, JEMALLOC),
            Contestant("Keras", seconds_to_target, keras),
        ], by_mean=True)

    def tui(self):
        # Both save after each epoch.
        save = ["--sessions", str(self.work / "sessions")]
        screen = ["python3", str(HERE / "screen.py"), self.binary, str(self.epochs), *SETTINGS, *COMMON]
        return Table("What the dashboard costs, `tutorial`, batch 64", "samples/s", COST, [
            Contestant(OURS, rate, self.ours(save=save)),
            Contestant("in the dashboard, 120×40", rate, screen),
        ])

    def memory(self):
        short = {"epochs": 2, "steps": min(100, self.steps)}
        return Table("Peak memory of training, `tutorial`, batch 64", "MiB", LESS, [
            Contestant(OURS, peak, self.ours(epochs=2)),
            Contestant("PyTorch", peak, self.torch(**short)),
            Contestant("Keras", peak, self.keras(**short)),
        ])

    def requests(self):
        return Table("Digits over HTTP, 16 clients", "requests/s", FASTER, self.servers("requests_per_second"))

    def waiting(self):
        return Table("Digits over HTTP, 16 clients, slowest hundredth", "ms", LESS, self.servers("p99_ms"))

    def servers(self, figure):
        """The same PNGs by turns to each server; `figure` of what the load generator tells."""
        def served(name, *command):
            python = str(self.work / "venv-tf/bin/python")
            load = [python, str(HERE / "load.py"), "--seconds", "2" if self.quick else "10", "--", *command]
            return Contestant(name, lambda run: events(run, "load")[-1][figure], load)

        sessions = ["--sessions", str(ROOT / "sessions"), "--config", os.devnull]
        flask = [str(self.work / "venv-tf/bin/python"), str(HERE / "flask_peer.py"), "--arch", "{tutorial}"]
        return [
            served(OURS, self.binary, "serve", "demo", "--addr", "127.0.0.1:0", "--json", *sessions),
            served("Flask, model.predict", *flask, "--mode", "predict"),
            served("Flask, compiled function", *flask, "--mode", "function"),
        ]

    def ours(self, *flags, epochs=None, settings=SETTINGS, save=("--no-save",)):
        epochs = ["--epochs", str(epochs or self.epochs)]
        return [self.binary, "train", "--json", *save, *settings, *epochs, *COMMON, *flags]

    def torch(self, *flags, **given):
        return self.peer("venv-torch", "torch_peer.py", *flags, **given)

    def keras(self, *flags, **given):
        return self.peer("venv-tf", "keras_peer.py", *flags, **given)

    def peer(self, environment, script, *flags, arch="{tutorial}", epochs=None, steps=0):
        """`steps` is None for whole epochs."""
        limit = [] if steps is None else ["--steps", str(steps or self.steps)]
        always = ["--arch", arch, "--epochs", str(epochs or self.epochs), "--seed", "{seed}"]
        return [str(self.work / environment / "bin/python"), str(HERE / script), *always, *limit, *flags]

    @property
    def epochs(self):
        return 2 if self.quick else EPOCHS

    @property
    def steps(self):
        return 20 if self.quick else STEPS


def tables(*given):
    """All tables by name."""
    lineup = Lineup(*given)
    return {name: getattr(lineup, name)() for name in NAMES}


def events(run, kind):
    """The lines of JSON of this kind."""
    lines = [json.loads(line) for line in run.output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == kind]


def rate(run):
    """Samples a second in the epochs after the first, which is the warm-up."""
    epochs = events(run, "epoch")[1:]
    samples = sum(epoch["samples_per_second"] * epoch["seconds"] for epoch in epochs)
    return samples / sum(epoch["seconds"] for epoch in epochs)


def images(run):
    return statistics.median(line["images_per_second"] for line in events(run, "evaluated")[1:])


def latency(run):
    return statistics.median(line["p50_us"] for line in events(run, "latency")[1:])


def divan_median(run):
    """Microseconds in the third column of divan's table."""
    found = re.search(r"tutorial +\S+ \S+ +│ \S+ \S+ +│ (\S+) (\S+)", run.output)
    if not found:
        raise ValueError("no such line in divan's table")
    return float(found[1]) * {"ns": 1e-3, "µs": 1, "ms": 1e3}[found[2]]


def seconds_to_target(run):
    if events(run, "finished")[-1]["reason"] != "target":
        raise ValueError("did not reach the accuracy")
    return run.seconds


def peak(run):
    return run.peak_mib
