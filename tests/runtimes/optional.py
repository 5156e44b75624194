"""Exported files in PyTorch and in Keras 2, which are too large for every run.

    python tests/runtimes/optional.py target/release/mnist-lab torch     # needs torch, safetensors, numpy
    python tests/runtimes/optional.py target/release/mnist-lab keras2    # needs tensorflow-cpu, tf_keras

Trains two small networks, and compares the probabilities of 64 test images with mnist-lab's own.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROGRAM = str(Path(sys.argv[1]).resolve())
DATA = Path(__file__).resolve().parents[2] / "src/data/mnist"
SEQUENCE = "conv4:3x5:s2:p1 bn relu conv6:2x4:p1 relu pool3:s2 dropout0.25 flatten bn dense12 relu dropout dense10"
POOLED = "conv8:3x3:p1 relu pool2 conv8:3x1:s2 bn relu gap dense10"
RESIDUAL = "conv4:3x3:p1 bn relu res(conv4:3x3:p1 bn) relu pool2 res(conv6:3x1:s2 relu conv6:1x2 | conv6:5x5:s2:p1) gap dense10"


def lab(*arguments):
    ran = subprocess.run([PROGRAM, "--json", "-q", *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == 0, f"{arguments}: code {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return [json.loads(line) for line in ran.stdout.splitlines()]


def idx(name, header):
    return np.frombuffer(gzip.open(DATA / name).read(), np.uint8)[header:]


IMAGES = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)[:64].astype(np.float32) / 255
LABELS = idx("t10k-labels-idx1-ubyte.gz", 8)[:64]


def in_torch(file):
    """The modules that the file's metadata names, with its weights."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(file, "pt") as opened:
        modules = opened.metadata()["torch"]
    model = eval(modules, {"torch": torch}).eval()
    model.load_state_dict(load_file(file))
    with torch.no_grad():
        return torch.softmax(model(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2))), 1).numpy()


def in_keras2(file):
    import tf_keras

    assert tf_keras.__version__.startswith("2."), tf_keras.__version__
    model = tf_keras.models.load_model(file)
    found = model.predict(IMAGES, verbose=0)
    assert model.optimizer is not None
    model.fit(IMAGES, LABELS, epochs=1, verbose=0)
    # What Keras 2 saves again is read here, with what training has changed.
    again = file.with_name(f"again-{file.name}")
    model.save(again)
    lab("import", again, "--as", f"again-{file.stem}")
    compare(f"again-{file.stem}", model.predict(IMAGES, verbose=0))
    return found


def compare(session, found):
    expected = np.array([reply["probabilities"] for reply in lab("predict", session, *range(len(IMAGES)))], np.float32)
    difference = float(np.abs(found - expected).max())
    print(f"{session}: largest difference {difference:.1e}")
    assert difference <= 1e-5


def main():
    load, ending, networks = {
        "torch": (in_torch, "safetensors", [SEQUENCE, POOLED]),
        "keras2": (in_keras2, "h5", [SEQUENCE, RESIDUAL]),
    }[sys.argv[2]]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNIST_LAB_SESSIONS"] = folder
        for number, arch in enumerate(networks):
            file = Path(folder) / f"net{number}.{ending}"
            lab("train", "--arch", arch, "--epochs", 1, "--validation-split", 0.8, "--save", file.stem)
            lab("export", file.stem, "-o", file)
            compare(file.stem, load(file))


main()
