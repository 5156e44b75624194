"""The tutorial's server: Flask, Pillow and a Keras model behind `POST /predict`, whose form field is `image`.

    flask_peer.py --arch LAYERS --mode predict|function

`predict` calls `model.predict` for each request, as the tutorial does; `function` calls the model through a compiled
function of fixed shape, as a tuned service would. Both keep connections open, which the development server does not by itself.
"""

import argparse
import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import flask  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from PIL import Image  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402

import task  # noqa: E402
from keras_peer import through  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", required=True, help="the layers, in the grammar of `mnist-lab train --arch`")
    parser.add_argument("--mode", choices=["predict", "function"], default="predict")
    given = parser.parse_args()
    inputs = keras.Input((28, 28, 1))
    model = keras.Model(inputs, through(inputs, task.parse(given.arch), 0.0))
    shape = tf.TensorSpec((1, 28, 28, 1), tf.float32)
    compiled = tf.function(lambda images: model(images, training=False), input_signature=[shape])

    def digit(image):
        pixels = np.asarray(image.convert("L").resize((28, 28)), np.float32).reshape(1, 28, 28, 1) / 255
        logits = model.predict(pixels, verbose=0) if given.mode == "predict" else compiled(pixels).numpy()
        return int(logits.argmax())

    app = flask.Flask(__name__)

    @app.post("/predict")
    def predict():
        return flask.jsonify(digit=digit(Image.open(flask.request.files["image"])))

    digit(Image.new("L", (28, 28)))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = make_server("127.0.0.1", 0, app, threaded=True)
    peer = f"Keras {keras.__version__} on TensorFlow {tf.__version__}, Flask"
    task.tell("listening", addr=f"127.0.0.1:{server.port}", peer=peer)
    server.serve_forever()


if __name__ == "__main__":
    main()
