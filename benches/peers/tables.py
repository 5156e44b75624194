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
PRESETS = ("mlp", "lenet5", "tutorial", "wide", "resnet")

# How our runs differ from the defaults when they race to the test accuracy; the network is theirs to choose.
TO_TARGET = ["--arch", "tutorial", "--batch-size", "64", "--lr", "1e-3"]
TARGET = 0.99
# All others train with the tutorial's settings, written out so that no configuration file changes them.
SETTINGS = """--optimizer adam --lr 1e-3 --schedule constant --weight-decay 0 --label-smoothing 0 --dropout 0
    --validation-split 0.2 --early-stop none""".split()

# An epoch of ours is all 48,000 training samples; one of a peer is this many batches of 64, for about 3 seconds.
EPOCHS, STEPS = 4, 250
# The same for the other presets: epochs of ours, batches of a peer's epoch.
AMOUNTS = {"mlp": (20, 750), "lenet5": (6, 750), "wide": (3, 100), "resnet": (2, 50)}

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
SOONER = Ratio("this ÷ mnist-lab", lambda ours, this: f"{this / ours:.2f}×")
SHARE = Ratio("share", lambda ours, this: f"{this / ours:.1%}")
COST = Ratio("cost", lambda ours, this: f"{1 - this / ours:.1%}")


@dataclass(frozen=True)
class Table:
    """Contestants whose runs alternate, and the unit of their figures."""

    title: str
    unit: str
    ratio: Ratio
    contestants: list
    # Mean and standard deviation, where the rounds differ by more than noise; else median and range.
    by_mean: bool = False
    # Whether each contestant's best case is told apart.
    share_of_best: bool = False


def tables(binary, work, quick):
    """All tables by name. `quick` makes everything short, to see that it works."""
    epochs, steps, target = (2, 20, 0.9) if quick else (EPOCHS, STEPS, TARGET)
    config = ["--config", os.devnull, "--seed", "{seed}"]

    def train(*flags, epochs=epochs, settings=SETTINGS, save=("--no-save",)):
        return [binary, "train", "--json", *save, *settings, "--epochs", str(epochs), *config, *flags]

    def peer(environment, script, *flags, epochs=epochs, steps=steps):
        limit = ["--steps", str(steps)] if steps else []
        python = str(work / environment / "bin/python")
        return [python, str(HERE / script), "--epochs", str(epochs), *limit, "--seed", "{seed}", *flags]

    def torch(*flags, arch="{tutorial}", **amounts):
        return peer("venv-torch", "torch_peer.py", "--arch", arch, *flags, **amounts)

    def keras(*flags, **amounts):
        return peer("venv-tf", "keras_peer.py", "--arch", "{tutorial}", *flags, **amounts)

    fast_keras = keras("--steps-per-execution", str(min(50, steps)))
    training = [
        Contestant(OURS, rate, train()),
        Contestant(OURS_AVX2, rate, train(), AVX2),
        Contestant("mnist-lab, one thread", rate, train("--threads", "1")),
        Contestant("PyTorch", rate, torch()),
        Contestant("PyTorch, jemalloc", rate, torch(), JEMALLOC),
        Contestant("PyTorch, jemalloc, AVX2", rate, torch(), JEMALLOC | AVX2, against=OURS_AVX2),
        Contestant("Keras", rate, keras()),
        Contestant("Keras, 50 steps per execution", rate, fast_keras),
        Contestant("Keras, 50 steps per execution, AVX2", rate, fast_keras, AVX2, against=OURS_AVX2),
    ]

    def batch(size):
        flags = ["--batch-size", str(size)]
        amount = max(1, 64 * steps // size)
        return [
            Contestant(OURS, rate, train(*flags), case=str(size)),
            Contestant("PyTorch", rate, torch(*flags, steps=amount), case=str(size)),
            Contestant("Keras", rate, keras(*flags, steps=amount), case=str(size)),
        ]

    def preset(name):
        our_epochs, their_steps = (2, 5) if quick else AMOUNTS[name]
        command = torch(arch=f"{{{name}}}", steps=their_steps)
        return [
            Contestant(OURS, rate, train("--arch", name, epochs=our_epochs), case=name),
            Contestant("PyTorch", rate, command, case=name),
            Contestant("PyTorch, jemalloc", rate, command, JEMALLOC, case=name),
        ]

    augmentation = [
        Contestant(OURS, rate, train()),
        Contestant("with the tutorial's augmentation", rate, train("--augment", "tutorial")),
    ]
    passes = 2 if quick else 10
    # The trained session that comes with the source; the first evaluation is the warm-up.
    demo = [binary, "repl", "demo", "--json", "--sessions", str(ROOT / "sessions"), "--config", os.devnull]
    inference = [
        Contestant(OURS, images, demo, stdin="eval\n" * (1 + passes)),
        Contestant("PyTorch", images, torch("--infer", "eager", epochs=passes)),
        Contestant("TorchScript", images, torch("--infer", "script", epochs=passes)),
        Contestant("TorchScript, jemalloc", images, torch("--infer", "script", epochs=passes), JEMALLOC),
    ]
    bench = ["cargo", "bench", "-q", "--manifest-path", str(ROOT / "Cargo.toml"), "--bench", "steps", "--"]
    one = ["--batch-size", "1", "--infer"]
    latency = [
        Contestant(OURS, divan_median, [*bench, "predict_one::tutorial"]),
        Contestant("PyTorch", median_latency, torch(*one, "eager", epochs=passes)),
        Contestant("TorchScript", median_latency, torch(*one, "script", epochs=passes)),
        Contestant("TorchScript, jemalloc", median_latency, torch(*one, "script", epochs=passes), JEMALLOC),
    ]

    until = {"epochs": 40, "steps": None}
    goal = ["--target", str(target)]
    race = train("--target-test-accuracy", str(target), epochs=40, settings=TO_TARGET)
    accuracy = [
        Contestant(OURS, seconds_to_target, race),
        Contestant("PyTorch", seconds_to_target, torch(*goal, **until)),
        Contestant("PyTorch, jemalloc", seconds_to_target, torch(*goal, **until), JEMALLOC),
        Contestant("Keras", seconds_to_target, keras(*goal, **until)),
    ]

    # Both save after each epoch.
    sessions = ["--save", "headless", "--sessions", str(work / "sessions")]
    lab = ["python3", str(HERE / "screen.py"), binary, str(epochs), *SETTINGS, *config]
    screen = [
        Contestant(OURS, rate, train(save=sessions)),
        Contestant("in the dashboard, 120×40", rate, lab),
    ]

    def peak(run):
        return run.peak_mib

    short = {"epochs": 2, "steps": min(100, steps)}
    memory = [
        Contestant(OURS, peak, train(epochs=2)),
        Contestant("PyTorch", peak, torch(**short)),
        Contestant("Keras", peak, keras(**short)),
    ]

    batches = [contestant for size in (32, 64, 128, 256, 512, 1024) for contestant in batch(size)]
    presets = [contestant for name in AMOUNTS for contestant in preset(name)]
    speed = "samples/s"
    return {
        "train": Table("Training, `tutorial`, batch 64", speed, FASTER, training),
        "batch": Table("Training, `tutorial`, by batch size", speed, FASTER, batches, share_of_best=True),
        "presets": Table("Training, batch 64, by network", speed, FASTER, presets),
        "augment": Table("Training with augmentation, `tutorial`, batch 64", speed, SHARE, augmentation),
        "infer": Table("The 10,000 test images, `tutorial`; PyTorch by 64", "images/s", FASTER, inference),
        "latency": Table("One image, `tutorial`", "µs", SOONER, latency),
        "accuracy": Table(f"From start to {target:.0%} on the test set", "s", SOONER, accuracy, by_mean=True),
        "tui": Table("What the dashboard costs, `tutorial`, batch 64", speed, COST, screen),
        "memory": Table("Peak memory of training, `tutorial`, batch 64", "MiB", SOONER, memory),
    }


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


def median_latency(run):
    return statistics.median(line["p50_us"] for line in events(run, "latency")[1:])


def divan_median(run):
    """Microseconds in the third column of divan's table."""
    amount, unit = re.search(r"tutorial +\S+ \S+ +│ \S+ \S+ +│ (\S+) (\S+)", run.output).groups()
    return float(amount) * {"ns": 1e-3, "µs": 1, "ms": 1e3}[unit]


def seconds_to_target(run):
    if events(run, "finished")[-1]["reason"] != "target":
        raise ValueError("did not reach the accuracy")
    return run.seconds
