"""Keras on TensorFlow as the tutorial writes it: `fit` on arrays in memory."""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers as kl  # noqa: E402

import task  # noqa: E402


def through(x, layers, dropout):
    """What comes out of these layers for the tensor `x`."""
    previous = ""
    for layer, after in zip(layers, [*layers[1:], {"kind": ""}]):
        # As in the tutorial, the rectifier is the activation of the layer before it.
        activation = "relu" if after["kind"] == "relu" else None
        match layer["kind"]:
            case "conv":
                same = layer["stride"] == 1 and all(k == 2 * layer["padding"] + 1 for k in layer["kernel"])
                if layer["padding"] and not same:
                    x = kl.ZeroPadding2D(layer["padding"])(x)
                how = {"strides": layer["stride"], "padding": "same" if same else "valid", "activation": activation}
                x = kl.Conv2D(layer["filters"], layer["kernel"], **how)(x)
            case "pool":
                x = kl.MaxPooling2D(layer["size"], layer["stride"])(x)
            case "relu" if previous not in ("conv", "dense"):
                x = kl.Activation("relu")(x)
            case "bn":
                x = kl.BatchNormalization()(x)
            case "dropout":
                rate = dropout if layer["rate"] is None else layer["rate"]
                x = kl.Dropout(rate)(x) if rate else x
            case "flatten":
                x = kl.Flatten()(x)
            case "dense":
                x = kl.Dense(layer["units"], activation)(x)
            case "gap":
                x = kl.GlobalAveragePooling2D()(x)
            case "res":
                x = kl.Add()([through(x, layer[way], dropout) for way in ("body", "shortcut")])
        previous = layer["kind"]
    return x


class Clock(keras.callbacks.Callback):
    """Times the training pass: until the validation or, without one, the end of the epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.began, self.seconds = time.perf_counter(), None

    def on_test_begin(self, logs=None):
        self.seconds = time.perf_counter() - self.began

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = self.seconds or time.perf_counter() - self.began


def main():
    parser = task.flags(__doc__)
    parser.add_argument("--steps-per-execution", type=int, default=1)
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    keras.utils.set_random_seed(given.seed)

    images, labels = task.digits("train")
    images, test_images = images[..., None], task.digits("t10k")[0][..., None]
    test_labels = task.digits("t10k")[1]
    validation = (images[task.TRAINING :], labels[task.TRAINING :]) if given.target else None
    count = min(task.TRAINING, (given.steps or task.TRAINING) * given.batch_size)
    images, labels = images[:count], labels[:count]

    inputs = keras.Input((28, 28, 1))
    model = keras.Model(inputs, through(inputs, task.parse(given.arch), given.dropout))
    model.compile(
        optimizer=keras.optimizers.Adam(given.lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=given.steps_per_execution,
    )
    clock = Clock()

    def epoch():
        model.fit(images, labels, given.batch_size, verbose=0, callbacks=[clock], validation_data=validation)
        return count, clock.seconds

    def test():
        return model.evaluate(test_images, test_labels, batch_size=1000, verbose=0)[1]

    peer = f"Keras {keras.__version__} on TensorFlow {tf.__version__}"
    parameters = sum(int(tf.size(weight)) for weight in model.trainable_weights)
    task.run(given, peer, parameters, epoch, test)


if __name__ == "__main__":
    main()
