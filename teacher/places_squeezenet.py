"""SqueezeNet-Places365: 365 scenes, 909,741 parameters, BatchNorm folded.

The network of urbste/squeezenet_places365 as a Keras file, with the mean image of Places365. Both
are known by their sha256; nothing is read of a file that is another.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from teacher.spec import TeacherError

if TYPE_CHECKING:
    import keras

ENVIRONMENT = "SOUNDNET_PLACES_WEIGHTS"
NETWORK, MEAN = "places365_squeezenet.keras", "places365CNN_mean.binaryproto"
SHA256 = {
    NETWORK: "6f5dc4d645df7e05a98ea363f17da3e51f508d41b1e845bef666cba6a586f4a2",
    MEAN: "b14536a69d62eb63c11f175205060b1cbb601b64bc5c6730222554b2e28f6fd7",
}
SIZE = 224

MEAN_SHAPE = (3, 256, 256)
# Caffe's BlobProto up to its values: num 1, channels 3, height 256, width 256, 786,432 bytes of
# packed floats. The file has one known sha256, so there is nothing else to parse.
MEAN_HEADER = bytes.fromhex("0801 1003 188002 208002 2a808030")


def find(weights: str | None) -> tuple[Path, Path]:
    """The network's file and the mean image's, from a folder, the network's file, or None for the
    folder that the environment variable SOUNDNET_PLACES_WEIGHTS names.

    Raises:
        TeacherError: not given or not there; the message says what to give.
    """
    give = f"give weights=FOLDER or set {ENVIRONMENT} to a folder with {NETWORK} and {MEAN}"
    given = weights or os.environ.get(ENVIRONMENT)
    if not given:
        raise TeacherError(f"squeezenet_places365 needs its weights: {give}")
    path = Path(given)
    network = path / NETWORK if path.is_dir() else path
    mean = network.parent / MEAN
    for file in (network, mean):
        if not file.is_file():
            raise TeacherError(f"squeezenet_places365 needs {file}, which is not there; {give}")
    return network, mean


def read(weights: str | None) -> tuple[Path, np.ndarray]:
    """The network's file, and the mean image, float32 (256, 256, 3), BGR.

    Raises:
        TeacherError: not there, or not the known files.
    """
    network, mean = find(weights)
    try:
        data, blob = network.read_bytes(), mean.read_bytes()
    except OSError as error:
        raise TeacherError(f"the weights of squeezenet_places365 can't be read: {error}") from error
    _check(data, network, SHA256[NETWORK])
    _check(blob, mean, SHA256[MEAN])
    return network, read_mean(blob)


def load(network: Path) -> keras.Model:
    """The network (N, 224, 224, 3) -> probabilities (N, 365), from the file that `read` gave."""
    import keras

    model = keras.saving.load_model(network, compile=False, safe_mode=True)
    # TensorFlow's global mean over 365 channels sums a picture in an order that depends on its
    # place in the batch; its average pooling doesn't.
    scores = model.get_layer("global_average_pooling2d").input
    mean_scores = keras.layers.AveragePooling2D(scores.shape[1:3])(scores)
    probs = keras.layers.Softmax()(keras.layers.Flatten()(mean_scores))
    return keras.Model(model.inputs, probs)


def read_mean(blob: bytes) -> np.ndarray:
    """The mean image, float32 (256, 256, 3), BGR, of `places365CNN_mean.binaryproto`.

    Raises:
        TeacherError: not a blob of that shape.
    """
    values = blob.removeprefix(MEAN_HEADER)
    if len(blob) - len(values) != len(MEAN_HEADER) or len(values) != 4 * np.prod(MEAN_SHAPE):
        raise TeacherError(f"{len(blob)} bytes that are not a Caffe blob of {MEAN_SHAPE}")
    return np.ascontiguousarray(np.frombuffer(values, "<f4").reshape(MEAN_SHAPE).transpose(1, 2, 0))


def _check(data: bytes, file: Path, wanted: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise TeacherError(
            f"{file} has sha256 {found}, not {wanted} of the known file; it was not read. Get the "
            "file again; a network of your own is given as places=/path/net.keras,classes=places365"
            ",preprocessing=..."
        )
