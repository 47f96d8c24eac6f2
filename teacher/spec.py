"""Teachers as the command line names them, and as worker processes receive them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

DEFAULTS = {"imagenet": "efficientnet_lite0", "places": "squeezenet_places365"}
"""The networks of the usual teachers."""

KERAS_APPLICATIONS = {
    "caffe": ["ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"],
    "tf": [
        *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "NASNetLarge"),
        *("NASNetMobile", "ResNet50V2", "ResNet101V2", "ResNet152V2", "Xception"),
    ],
    "torch": ["DenseNet121", "DenseNet169", "DenseNet201"],
    "raw": [
        *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
        *(f"EfficientNetB{number}" for number in range(8)),
        *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
        *("MobileNetV3Small", "MobileNetV3Large"),
    ],
}
"""The classifiers of keras.applications, by the scaling that each was trained with."""

FILE_PREPROCESSING = ("efficientnet_lite", *KERAS_APPLICATIONS)
"""The kinds of preprocessing that a network from a file can ask for."""

OUTPUTS = ("probs", "logits", "embedding")

SPEC_HELP = f"""\
A teacher is NAME or NAME=NETWORK[,key=value...]. NAME names the student's head as well.

  imagenet   1000 objects: efficientnet_lite0, whose weights are installed with the pipeline
  places     365 scenes: squeezenet_places365; needs weights=FOLDER, or the environment variable
             SOUNDNET_PLACES_WEIGHTS, with places365_squeezenet.keras and
             places365CNN_mean.binaryproto in the folder

NETWORK is one of
  efficientnet_lite0     [weights=FILE.pth] [outputs=embedding]
  squeezenet_places365   [weights=FOLDER or FILE.keras] [outputs=embedding]
  a classifier of keras.applications (VGG16, ResNet50, MobileNetV2, ...); its ImageNet weights are
                         downloaded by Keras, or
                         [weights=FILE.h5] [classes=LIST, for weights with other classes]
                         [outputs=embedding]
  a path to a .keras file or a SavedModel folder (a program: give only one that you trust)
                         classes=LIST preprocessing={"|".join(FILE_PREPROCESSING)}
                         [size=PIXELS] [outputs=probs|logits|embedding]

With outputs=embedding a teacher gives what the last layer with weights of its network hears (the
penultimate layer), averaged over the picture, in place of a distribution; of a file it takes a
.keras file, and no classes.

LIST is imagenet1000, places365, places401, or a text file with one class name a line.

Examples: imagenet
          places=squeezenet_places365,weights=weights/places
          imagenet=VGG16
          birds=birds.keras,classes=birds.txt,preprocessing=tf,size=224
          looks=efficientnet_lite0,outputs=embedding
"""


class TeacherError(ValueError):
    """A teacher can't be had or used; the message says what to do."""


@dataclass(frozen=True)
class TeacherSpec:
    """All that a worker process needs to load a teacher; see `SPEC_HELP`.

    Attributes:
        name: what the teacher and the student's head are called (`imagenet`, `places`).
        network: a name of `network_names()`, or a path.
        weights: file or folder of the weights; None where the network brings its own.
        classes: a list of `schemas.classes`, or a text file; None for the network's own.
        preprocessing: one of `FILE_PREPROCESSING`, for a network from a file.
        size: side of the network's input in pixels; None where the network says so itself.
        outputs: "probs" or, of a network from a file, "logits"; "embedding" for its penultimate
            layer.
    """

    name: str
    network: str
    weights: str | None = None
    classes: str | None = None
    preprocessing: str | None = None
    size: int | None = None
    outputs: str = "probs"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise TeacherError(
                f"{self.name!r} can't name a teacher: letters, digits and _ are wanted"
            )
        if self.network in network_names():
            allowed = {"weights"}
            if self.network not in DEFAULTS.values():
                allowed.add("classes")
            if self.outputs == "embedding":
                allowed.add("outputs")
        elif self.is_file:
            allowed = {"preprocessing", "size", "outputs"}
            if self.outputs != "embedding":
                allowed.add("classes")
        else:
            raise TeacherError(
                f"teacher {self.name}: no network {self.network!r}. There are "
                f"{', '.join(network_names())}; or give the path of a .keras file or of a "
                "SavedModel folder (with a / in it)"
            )
        given = {key for key in _KEYS if getattr(self, key) not in (None, _KEYS[key])}
        if given - allowed:
            raise TeacherError(
                f"teacher {self.name}: {self.network} takes no {', '.join(sorted(given - allowed))}"
                f"; it takes {', '.join(sorted(allowed))}"
            )
        named = self.classes or self.outputs == "embedding"
        if self.is_file and not (named and self.preprocessing):
            raise TeacherError(
                f"teacher {self.name}: a network from a file needs classes=LIST and "
                f"preprocessing={'|'.join(FILE_PREPROCESSING)}"
            )
        if self.preprocessing not in (None, *FILE_PREPROCESSING):
            raise TeacherError(
                f"teacher {self.name}: no preprocessing {self.preprocessing!r}; choose one of "
                f"{', '.join(FILE_PREPROCESSING)}"
            )
        if self.outputs not in OUTPUTS:
            raise TeacherError(f"teacher {self.name}: outputs are {', '.join(OUTPUTS)}")
        if self.size is not None and not 1 <= self.size <= 4096:
            raise TeacherError(f"teacher {self.name}: size {self.size} is not in 1 to 4096 pixels")

    @property
    def is_file(self) -> bool:
        """Whether the network is a path."""
        return self.network not in network_names() and (
            "/" in self.network or self.network.endswith(".keras")
        )


_KEYS = {
    "weights": None,
    "classes": None,
    "preprocessing": None,
    "size": None,
    "outputs": TeacherSpec.outputs,
}
"""The keys of the grammar, with the values that stand for "not given"."""


def network_names() -> list[str]:
    """The networks that can be had by name."""
    return [*DEFAULTS.values(), *(n for names in KERAS_APPLICATIONS.values() for n in names)]


def parse_spec(text: str) -> TeacherSpec:
    """Read NAME or NAME=NETWORK[,key=value...]; see `SPEC_HELP`.

    Raises:
        TeacherError: not of that form; the message says what there is to choose from.
    """
    head, *options = text.split(",")
    name, _, network = (part.strip() for part in head.partition("="))
    if not network:
        if name not in DEFAULTS:
            raise TeacherError(
                f"no teacher {text!r}. There are {', '.join(DEFAULTS)}; any other is given as "
                "NAME=NETWORK[,key=value...]"
            )
        network = DEFAULTS[name]
    fields: dict[str, Any] = {}
    for option in options:
        key, equals, value = (part.strip() for part in option.partition("="))
        if key not in _KEYS or not equals or not value or key in fields:
            raise TeacherError(
                f"teacher {name}: {option!r} is not one of {'=, '.join(_KEYS)}= with a value, each "
                "once (a path can't have a comma)"
            )
        if key == "size" and not (value.isascii() and value.isdigit()):
            raise TeacherError(f"teacher {name}: size={value} is not a number of pixels")
        fields[key] = int(value) if key == "size" else value
    return TeacherSpec(name, network, **fields)
