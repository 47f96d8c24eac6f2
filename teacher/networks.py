"""Where the networks come from: two with known weights, keras.applications, and files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas import SchemaError, classes
from teacher import efficientnet_lite, places_squeezenet
from teacher.preprocess import Preprocessing
from teacher.spec import KERAS_APPLICATIONS, TeacherError, TeacherSpec


@dataclass(frozen=True)
class Network:
    """A network with what belongs to it.

    Attributes:
        build: gives the network itself, batch (N, size, size, 3) -> (N, classes). Those whose
            weights are known are not built before that is called.
        classes: class names in the order of the outputs; of an embedding a name for each value.
        sha256: of the weights' file; of a folder, of its files' names and hashes; of weights that
            Keras downloaded, of their arrays in the network's order.
        outputs: what they are, one of `teacher.spec.OUTPUTS`.
    """

    build: Callable[[], Callable]
    classes: list[str]
    preprocessing: Preprocessing
    sha256: str
    outputs: str = "probs"


def open_network(spec: TeacherSpec) -> Network:
    """The network that a spec names, with its weights.

    Raises:
        TeacherError: weights or class list missing, unknown or of another shape, or there is no
            penultimate layer; the message says what to do.
    """
    network = _open(spec)
    return _embedding(spec, network) if spec.outputs == "embedding" else network


def _open(spec: TeacherSpec) -> Network:
    if spec.network == "efficientnet_lite0":
        return _efficientnet_lite0(spec)
    if spec.network == "squeezenet_places365":
        return _squeezenet_places365(spec)
    if spec.is_file:
        return _file(spec)
    return _keras_application(spec)


def _embedding(spec: TeacherSpec, network: Network) -> Network:
    """The network up to what its last layer with weights hears, averaged over the picture."""
    import keras

    model = network.build()
    if not isinstance(model, keras.Model):
        raise TeacherError(
            f"teacher {spec.name}: the layers of a SavedModel can't be told apart; give the "
            ".keras file for outputs=embedding"
        )
    with _explained(f"teacher {spec.name}: {spec.network} has no layer before its last one"):
        values = [layer for layer in model.layers if layer.weights][-1].input
        if any(values is given for given in model.inputs):
            raise ValueError("the last layer with weights hears the picture itself")
        if len(values.shape) == 4:
            # Not a global mean: its order of sums depends on a picture's place in the batch.
            values = keras.layers.AveragePooling2D(values.shape[1:3])(values)
        values = keras.layers.Flatten()(values)
        cut = keras.Model(model.inputs, values)
        names = [f"value {number}" for number in range(values.shape[-1])]
    return dataclasses.replace(network, build=lambda: cut, classes=names, outputs="embedding")


def _efficientnet_lite0(spec: TeacherSpec) -> Network:
    path = Path(spec.weights) if spec.weights else efficientnet_lite.installed_weights()
    data = efficientnet_lite.read(path)
    return Network(
        lambda: efficientnet_lite.load(data),
        classes.load("imagenet1000"),
        Preprocessing("efficientnet_lite", efficientnet_lite.SIZE),
        efficientnet_lite.SHA256,
    )


def _squeezenet_places365(spec: TeacherSpec) -> Network:
    path, mean = places_squeezenet.read(spec.weights)
    return Network(
        lambda: places_squeezenet.load(path),
        classes.load("places365"),
        Preprocessing("places365_squeezenet", places_squeezenet.SIZE, mean),
        places_squeezenet.SHA256[places_squeezenet.NETWORK],
    )


def _keras_application(spec: TeacherSpec) -> Network:
    import keras

    names = _class_names(spec.classes or "imagenet1000")
    build = getattr(keras.applications, spec.network)
    if spec.weights:
        digest = _sha256(Path(spec.weights))
        with _explained(
            f"{spec.weights} doesn't fit {spec.network} with {len(names)} classes; give "
            "weights=FILE.h5 of the whole network, head included, and classes=LIST of its classes"
        ):
            model = build(weights=None, classes=len(names))
            model.load_weights(spec.weights)
    else:
        if len(names) != 1000:
            raise TeacherError(
                f"{spec.network}'s ImageNet weights know 1000 classes and {spec.classes} names "
                f"{len(names)}; give weights=FILE.h5 of a network trained on these"
            )
        with _explained(
            f"Keras couldn't get the ImageNet weights of {spec.network}; check the connection, "
            "or give weights=FILE.h5"
        ):
            model = build(weights="imagenet")
        digest = _sha256_of_arrays(model.get_weights())
    kind = next(kind for kind, members in KERAS_APPLICATIONS.items() if spec.network in members)
    return Network(lambda: model, names, Preprocessing(kind, model.input_shape[1]), digest)


def _file(spec: TeacherSpec) -> Network:
    names = _class_names(spec.classes) if spec.classes else []
    path = Path(spec.network)
    digest = _sha256(path)
    import keras

    with _explained(f"{path} can't be loaded as a .keras file or a SavedModel folder"):
        if path.is_dir():
            model = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")
            size = None
        else:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
            size = _input_size(model.input_shape)
    if size and spec.size and size != spec.size:
        raise TeacherError(f"{path} wants pictures of {size} pixels; size={spec.size} doesn't fit")
    side = size or spec.size
    if not side:
        raise TeacherError(f"{path} doesn't say the size of its pictures; give size=PIXELS")
    assert spec.preprocessing is not None  # TeacherSpec wants it of a file
    return Network(
        lambda: model,
        names,
        Preprocessing(spec.preprocessing, side),
        digest,
        outputs=spec.outputs,
    )


def _input_size(shape: object) -> int | None:
    """The side of (N, size, size, 3); None where any will do."""
    if isinstance(shape, tuple) and len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3:
        return shape[1]
    raise ValueError(f"its input is {shape}; square RGB pictures (N, size, size, 3) are wanted")


def _class_names(given: str) -> list[str]:
    try:
        return classes.load(given) if given in classes.LISTS else classes.read(given)
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        raise TeacherError(
            f"classes={given}: {error}. There are {', '.join(classes.LISTS)}, or a text file with "
            "one class name a line"
        ) from error


def _sha256(path: Path) -> str:
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            lines = [f"{_sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TeacherError(f"{path} can't be read: {error}") from error


def _sha256_of_arrays(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Whatever Keras raises, as a `TeacherError` that starts with what to do."""
    try:
        yield
    except Exception as error:
        raise TeacherError(f"{what} ({type(error).__name__}: {error})") from error
