"""What peers are given and give back: the digits, the grammar of networks, the flags, and lines of JSON like ours."""

import argparse
import gzip
import json
import os
import re
from pathlib import Path

import numpy as np

MNIST = Path(__file__).resolve().parents[2] / "src/data/mnist"
# The tutorial's validation split: the last fifth of the training set only measures.
TRAINING = 48_000


def flags(description):
    """The parser of the flags that all peers take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--arch", required=True, help="the layers, in the grammar of `mnist-lab train --arch`")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, help="ends each epoch after so many batches")
    parser.add_argument("--target", type=float, help="stops after the epoch with this accuracy on the test set")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.0, help="for dropout layers without a rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser


def digits(split):
    """Images `[sample, row, column]`, 0 to 1, and labels of `train` (60,000) or `t10k` (10,000)."""
    images, labels = (idx(MNIST / f"{split}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    return images.astype(np.float32) / 255, labels.astype(np.int64)


def idx(path):
    """The bytes of a gzipped IDX file, in its shape."""
    raw = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
    rank = int(raw[3])
    return raw[4 + 4 * rank :].reshape(raw[4 : 4 + 4 * rank].view(">u4").astype(int))


def parse(arch):
    """The layers of a text as dicts with `kind` and what it takes; `res` has two lists of layers."""
    tokens = re.findall(r"[()|]|[^\s,()|]+", arch)

    def layers():
        found = []
        while tokens and tokens[0] not in ")|":
            found.append(residual() if tokens[0] == "res" else layer(tokens.pop(0)))
        return found

    def residual():
        del tokens[:2]
        body, shortcut = layers(), []
        if tokens.pop(0) == "|":
            shortcut = layers()
            tokens.pop(0)
        return {"kind": "res", "body": body, "shortcut": shortcut}

    return layers()


def layer(item):
    """One layer, such as `conv32:3x5:s2:p1` or `dropout0.3`."""
    head, *options = item.split(":")
    kind, amount = re.fullmatch(r"([a-z]+)([\d.]*)", head).groups()
    made = {"kind": kind}
    if kind == "conv":
        kernel = tuple(map(int, options.pop(0).split("x")))
        made |= {"filters": int(amount), "kernel": kernel, "stride": 1, "padding": 0}
    elif kind == "pool":
        made |= {"size": int(amount), "stride": int(amount)}
    elif kind == "dense":
        made |= {"units": int(amount)}
    elif kind == "dropout":
        made |= {"rate": float(amount) if amount else None}
    elif kind not in ("relu", "bn", "flatten", "gap"):
        raise ValueError(f"`{item}` is no layer")
    names = {"s": "stride", "p": "padding"}
    return made | {names[option[0]]: int(option[1:]) for option in options}


def tell(event, **fields):
    """Writes one line of JSON."""
    print(json.dumps({"event": event, **fields}), flush=True)


def run(given, peer, parameters, epoch, test):
    """Trains epoch after epoch and tells of it: `epoch()` gives its samples and seconds, `test()` the accuracy."""
    tell("started", peer=peer, arch=given.arch, parameters=parameters, threads=given.threads)
    reason, accuracy = "completed", None
    for number in range(1, given.epochs + 1):
        samples, seconds = epoch()
        tell("epoch", epoch=number, seconds=seconds, samples_per_second=samples / seconds)
        if given.target:
            accuracy = test()
            if accuracy >= given.target:
                reason = "target"
                break
    tell("finished", reason=reason, epochs=number, test_accuracy=accuracy or test())
