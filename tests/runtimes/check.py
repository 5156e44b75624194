"""Exported files in the runtimes they are for, and Keras's own files in mnist-lab.

    python tests/runtimes/check.py target/release/mnist-lab

Trains small networks with everything in them that the formats treat differently, exports each in every format, and compares
the probabilities of 64 test images with mnist-lab's own. Needs the packages in requirements.txt.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

PROGRAM = str(Path(sys.argv[1]).resolve())
DATA = Path(__file__).resolve().parents[2] / "src/data/mnist"
NETWORKS = {
    "plain": "conv4:3x5:s2:p1 bn relu conv6:2x4:p1 relu pool3:s2 dropout0.25 flatten bn dense12 relu dropout dense10",
    "residual": "conv4:3x3:p1 bn relu res(conv4:3x3:p1 bn relu conv4:3x3:p1 bn) relu pool2 "
    "res(conv6:3x1:s2 relu conv6:1x2 | conv6:5x5:s2:p1) relu gap bn dense10",
    "vectors": "pool2 bn flatten res(dense196 relu | dense196) relu res(dense196) dense10",
    "nested": "conv3:5x5:s2 relu res(res(conv3:3x3:p1 | conv3:1x1) relu) pool2 conv10:1x1 gap",
    "dropped": "conv4:3x3 res(dropout0.25 bn relu conv4:3x3:p1) relu pool2 flatten dense32 res(dropout relu dense32) dense10",
}
IMAGES = 64
AGREEING = 1000
TOLERANCE = 1e-5


def idx(name):
    return np.frombuffer(gzip.open(DATA / name).read(), np.uint8)


TEST = idx("t10k-images-idx3-ubyte.gz")[16:].reshape(-1, 28, 28, 1).astype(np.float32) / 255
TEST_LABELS = idx("t10k-labels-idx1-ubyte.gz")[8:]
TRAIN = idx("train-images-idx3-ubyte.gz")[16:].reshape(-1, 28, 28, 1)
TRAIN_LABELS = idx("train-labels-idx1-ubyte.gz")[8:]


def lab(*arguments, code=0):
    ran = subprocess.run([PROGRAM, "--json", "-q", *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == code, f"{arguments}: code {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return [json.loads(line) for line in ran.stdout.splitlines()] if code == 0 else ran.stderr


def probabilities(session, count=IMAGES):
    return np.array([reply["probabilities"] for reply in lab("predict", session, *range(count))], np.float32)


def close(what, found, expected, tolerance=TOLERANCE):
    difference = float(np.abs(np.asarray(found) - expected).max())
    print(f"{what:<34} largest difference {difference:.1e}")
    assert difference <= tolerance, what


def check_keras(name, file, expected):
    """Loads compiled, gives the same, and goes on training."""
    model = keras.saving.load_model(file)
    close(f"{name} {file.suffix} in Keras", model.predict(TEST[:IMAGES], verbose=0), expected)
    assert model.compiled and model.optimizer is not None, f"{file} is not compiled"
    model.fit(TRAIN[:256].astype(np.float32) / 255, TRAIN_LABELS[:256], epochs=1, verbose=0)
    # What Keras saves again, with weights that training has changed, is what Keras itself says of it.
    for suffix in [".h5", ".keras"]:
        again = file.with_name(f"again-{name}{file.suffix}{suffix}")
        model.save(again)
        session = f"again-{name}{file.suffix}{suffix}"
        lab("import", again, "--as", session)
        close(f"{name} {file.suffix} → Keras {suffix} → ours", probabilities(session), model.predict(TEST[:IMAGES], verbose=0))


def check_onnx(name, file, expected):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    card = json.loads({entry.key: entry.value for entry in model.metadata_props}["mnist_lab"])
    assert len(card["classes"]) == 10 and card["test_accuracy"] > 0
    run = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    images = TEST[:IMAGES].transpose(0, 3, 1, 2)
    close(f"{name} in onnxruntime", run.run(None, {"image": images})[0], expected)
    close(f"{name} in onnxruntime, one image", run.run(None, {"image": images[:1]})[0], expected[:1])


def litert(file, images):
    """What LiteRT makes of images, all at once; integers as the real numbers that they stand for."""
    interpreter = Interpreter(model_path=str(file))
    what, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(what["index"], images.shape)
    interpreter.allocate_tensors()
    scale, zero = what["quantization"]
    if what["dtype"] == np.int8:
        images = np.clip(np.round(images / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(what["index"], images)
    interpreter.invoke()
    found = interpreter.get_tensor(result["index"])
    scale, zero = result["quantization"]
    return (found.astype(np.float32) - zero) * scale if found.dtype == np.int8 else found


def check_tflite(name, folder, expected):
    file = folder / f"{name}.tflite"
    lab("export", name, "-o", file)
    close(f"{name} in LiteRT", litert(file, TEST[:IMAGES]), expected)
    close(f"{name} in LiteRT, one image", litert(file, TEST[:1]), expected[:1])
    assert b'"test_accuracy"' in file.read_bytes()
    for quantization in ["f16", "dynamic", "int8"]:
        file = folder / f"{name}-{quantization}.tflite"
        said = lab("export", name, "-o", file, "--quantize", quantization)[0]
        there = float(np.mean(litert(file, TEST).argmax(1) == TEST_LABELS))
        print(
            f"{name} as {quantization}: test accuracy {said['test_accuracy']:.4f} before, "
            f"{said['quantized_test_accuracy']:.4f} said, {there:.4f} in LiteRT, {said['bytes']} bytes"
        )
        assert abs(there - said["quantized_test_accuracy"]) <= 0.005, "what is said of quantisation is not so"


def check_int8(folder):
    """The tutorial's network in eight bits chooses as it does whole."""
    lab("train", "--recipe", "quick", "--save", "tutorial")
    whole = probabilities("tutorial", AGREEING)
    for quantization in ["none", "f16", "dynamic", "int8"]:
        file = folder / f"tutorial-{quantization}.tflite"
        said = lab("export", "tutorial", "-o", file, "--quantize", quantization)[0]
        found = litert(file, TEST)
        agreement = float(np.mean(found[:AGREEING].argmax(1) == whole.argmax(1)))
        there = float(np.mean(found.argmax(1) == TEST_LABELS))
        print(
            f"tutorial as {quantization}: agreement {agreement:.4f} on {AGREEING}, accuracy {said['test_accuracy']:.4f} whole, "
            f"{said.get('quantized_test_accuracy', said['test_accuracy']):.4f} said, {there:.4f} in LiteRT, {said['bytes']} bytes"
        )
        assert agreement >= 0.995


def check_safetensors(name, file, expected):
    """Names, shapes and values by the safetensors package; without its metadata it is what PyTorch would save."""
    with safe_open(file, "numpy") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata["mnist_lab"])["arch"]
    tensors = load_file(file)
    if name == "plain":
        assert tensors["0.weight"].shape == (4, 1, 3, 5) and tensors["1.running_mean"].shape == (4,)
        kernel = keras.saving.load_model(file.with_suffix(".h5")).layers[1].kernel
        close("plain .safetensors kernel", tensors["0.weight"], np.transpose(kernel, (3, 2, 0, 1)), 0)
    # Batch norms with PyTorch's ε that do what ours do.
    for variance in [key for key in tensors if key.endswith("running_var")]:
        scale = variance.replace("running_var", "weight")
        tensors[scale] = tensors[scale] * np.sqrt((tensors[variance] + 1e-5) / (tensors[variance] + 1e-3))
    bare = file.with_name(f"bare-{name}.safetensors")
    save_file(tensors, bare)
    stderr = lab("import", bare, "--as", f"bare-{name}", code=3)
    assert "--arch" in stderr, stderr
    lab("import", bare, "--as", f"bare-{name}", "--arch", NETWORKS[name])
    close(f"{name} .safetensors, weights alone", probabilities(f"bare-{name}"), expected)


def check_network(name, folder):
    lab("train", "--arch", NETWORKS[name], "--epochs", 1, "--validation-split", 0.8, "--lr", "3e-3", "--save", name)
    expected = probabilities(name)
    whole = lab("sessions", "show", name)[0]
    for format in ["h5", "keras", "safetensors"]:
        file = folder / f"{name}.{format}"
        lab("export", name, "--to", format, "-o", file)
        imported = lab("import", file, "--as", f"{name}-{format}")[0]
        again = lab("sessions", "show", f"{name}-{format}")[0]
        assert (again["weights"], again["arch"]) == (whole["weights"], whole["arch"]), f"{file} loses something"
        assert imported["arch"] == whole["arch"]
        if format != "safetensors":
            check_keras(name, file, expected)
    check_safetensors(name, folder / f"{name}.safetensors", expected)
    lab("export", name, "--to", "onnx", "-o", folder / f"{name}.onnx")
    check_onnx(name, folder / f"{name}.onnx", expected)
    check_tflite(name, folder, expected)


def kernels(model):
    """The weights of convolutions and dense layers, in order."""
    return [np.asarray(weight) for weight in model.weights if len(weight.shape) > 1]


def check_trained_by_keras(folder):
    """The tutorial's network, trained by Keras, has here the accuracy that Keras measures."""
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(32, (3, 5), activation="relu", use_bias=False),
        layers.BatchNormalization(epsilon=2e-3),
        layers.Flatten(),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(TRAIN[:12000].astype(np.float32) / 255, TRAIN_LABELS[:12000], epochs=1, verbose=0)
    accuracy = float(np.mean(model.predict(TEST, verbose=0, batch_size=500).argmax(1) == TEST_LABELS))
    for suffix in [".h5", ".keras"]:
        file = folder / f"trained{suffix}"
        model.save(file)
        imported = lab("import", file, "--as", f"trained{suffix}")[0]
        print(f"trained by Keras, {suffix}: {accuracy:.4f} there, {imported['test_accuracy']:.4f} here")
        assert round(imported["test_accuracy"], 4) == round(accuracy, 4)
        assert "dropout" in imported["arch"].split(), "one rate of dropout follows the setting"
        back = folder / f"back{suffix}"
        lab("export", f"trained{suffix}", "-o", back)
        again = keras.saving.load_model(back)
        images = TEST[:IMAGES]
        close(f"Keras {suffix} → ours → Keras", again.predict(images, verbose=0), model.predict(images, verbose=0), 1e-6)
        for before, after in zip(kernels(model), kernels(again), strict=True):
            assert np.array_equal(before, after), f"a kernel of {suffix} changed on the way"
        lab("train", "--resume", f"trained{suffix}", "--epochs", 1, "--save", f"tuned{suffix}")


def check_refusals(folder):
    """What can't be said here is refused with the layer and the reason."""
    layers = keras.layers
    for said, middle in {
        "leaky_re_lu": [layers.LeakyReLU(name="leaky_re_lu")],
        "uneven": [layers.ZeroPadding2D(((1, 0), (0, 0)), name="uneven"), layers.Conv2D(2, 3)],
        "strided": [layers.Conv2D(2, 3, strides=2, padding="same", name="strided")],
        "tangent": [layers.Conv2D(2, 3, activation="tanh", name="tangent")],
        "average": [layers.AveragePooling2D(2, name="average")],
        "dilated": [layers.Conv2D(2, 3, dilation_rate=(2, 1), name="dilated")],
        "cropped": [layers.RandomCrop(28, 28, name="cropped")],
    }.items():
        model = keras.Sequential([keras.Input((28, 28, 1)), *middle, layers.Flatten(), layers.Dense(10)])
        for suffix in [".h5", ".keras"]:
            file = folder / f"{said}{suffix}"
            model.save(file)
            stderr = lab("import", file, "--as", "refused", code=3)
            assert f"`{said}`" in stderr, stderr


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        os.environ["MNIST_LAB_SESSIONS"] = str(folder / "sessions")
        for name in NETWORKS:
            check_network(name, folder)
        check_int8(folder)
        check_trained_by_keras(folder)
        check_refusals(folder)
    print("all runtimes agree")


main()
