"""SoundNet: the networks of the paper, as tables of layers, and a deeper one in the same frame.

Aytar, Vondrick, Torralba: SoundNet: Learning Sound Representations from Unlabeled Video, NIPS 2016,
tables 1 and 2, corrected by the authors' code (github.com/cvondrick/soundnet, `main_train.lua`),
which made the published weights: the tables print stride 1 for the 8-layer pools; it is 8 and 4.

Runs on every backend of Keras.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from trainer.layers import BatchNormalization, Conv1D


@dataclass(frozen=True)
class Layer:
    """A row of an architecture's table: a convolution, or a max pooling where `filters` is None.

    A hidden convolution is conv + bias, batch normalization, ReLU. The last row's filters are the
    classes of the heads, which run side by side without normalization.

    Attributes:
        padding: zeros on each side.
        residual: residual units after the convolution, each of two convolutions of kernel 3 that
            change neither the steps nor the channels. What the row gives is what the last unit
            gives.
    """

    name: str
    filters: int | None
    kernel: int
    stride: int
    padding: int = 0
    residual: int = 0

    @property
    def units(self) -> tuple[tuple[Layer, Layer], ...]:
        """The convolutions of the residual units: `conv5` has `conv5_1a`, `conv5_1b`, ..."""

        def layer(place: str) -> Layer:
            return Layer(f"{self.name}_{place}", self.filters, kernel=3, stride=1, padding=1)

        units = range(1, self.residual + 1)
        return tuple((layer(f"{unit}a"), layer(f"{unit}b")) for unit in units)

    def steps(self, steps_in: int) -> int:
        """Steps out for steps in; Torch's pooling floors too."""
        if not steps_in:
            return 0
        return max(0, (steps_in + 2 * self.padding - self.kernel) // self.stride + 1)

    def steps_in(self, steps: int) -> int:
        """The fewest steps in that give `steps` out."""
        return max(1, (steps - 1) * self.stride + self.kernel - 2 * self.padding)


@dataclass(frozen=True)
class Architecture:
    """A table of layers, and the time of what they compute (all in samples at 22,050 Hz)."""

    table: tuple[Layer, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The layers' names, from the waveform up; the last is that of the heads."""
        return tuple(layer.name for layer in self.table)

    def _up_to(self, name: str) -> tuple[Layer, ...]:
        """The rows up to a layer, the convolutions of residual units among them."""
        if name not in self.names:
            raise ValueError(f"no layer {name!r}; choose one of {', '.join(self.names)}")
        rows: list[Layer] = []
        for row in self.table[: self.names.index(name) + 1]:
            rows += [row, *itertools.chain.from_iterable(row.units)]
        return tuple(rows)

    def hop(self, layer: str) -> int:
        """Samples from one output of a layer to the next."""
        hop = 1
        for row in self._up_to(layer):
            hop *= row.stride
        return hop

    def receptive_field(self, layer: str) -> int:
        """Samples that one output of a layer hears."""
        field, hop = 1, 1
        for row in self._up_to(layer):
            field += (row.kernel - 1) * hop
            hop *= row.stride
        return field

    def output_steps(self, layer: str, samples: int) -> int:
        """Outputs of a layer for a waveform of so many samples; 0 where it is too short."""
        steps = samples
        for row in self._up_to(layer):
            steps = row.steps(steps)
        return steps

    def output_centres(self, layer: str, steps: int) -> np.ndarray:
        """Where the centres of the first `steps` outputs' receptive fields lie: float64 (steps,).

        The first may be negative, and the last past the end: padding lies there.
        """
        start, hop = 0, 1
        for row in self._up_to(layer):
            start -= row.padding * hop
            hop *= row.stride
        return start + (self.receptive_field(layer) - 1) / 2 + hop * np.arange(steps)

    def min_samples(self, layer: str, steps: int = 1) -> int:
        """The shortest waveform that gives `steps` outputs of a layer."""
        if steps < 1:
            raise ValueError(f"at least one step is wanted, not {steps}")
        for row in reversed(self._up_to(layer)):
            steps = row.steps_in(steps)
        return steps


SOUNDNET8 = Architecture(
    (
        Layer("conv1", filters=16, kernel=64, stride=2, padding=32),
        Layer("pool1", filters=None, kernel=8, stride=8),
        Layer("conv2", filters=32, kernel=32, stride=2, padding=16),
        Layer("pool2", filters=None, kernel=8, stride=8),
        Layer("conv3", filters=64, kernel=16, stride=2, padding=8),
        Layer("conv4", filters=128, kernel=8, stride=2, padding=4),
        Layer("conv5", filters=256, kernel=4, stride=2, padding=2),
        Layer("pool5", filters=None, kernel=4, stride=4),
        Layer("conv6", filters=512, kernel=4, stride=2, padding=2),
        Layer("conv7", filters=1024, kernel=4, stride=2, padding=2),
        Layer("conv8", filters=None, kernel=8, stride=2),
    )
)
"""Paper, table 1 (strides of the pools from the code)."""

SOUNDNET5 = Architecture(
    (
        Layer("conv1", filters=32, kernel=64, stride=2, padding=32),
        Layer("pool1", filters=None, kernel=8, stride=8),
        Layer("conv2", filters=64, kernel=32, stride=2, padding=16),
        Layer("pool2", filters=None, kernel=8, stride=8),
        Layer("conv3", filters=128, kernel=16, stride=2, padding=8),
        Layer("pool3", filters=None, kernel=8, stride=8),
        Layer("conv4", filters=256, kernel=8, stride=2, padding=4),
        Layer("conv5", filters=None, kernel=16, stride=12, padding=4),
    )
)
"""Paper, table 2."""

RESIDUAL = ("conv3", "conv4", "conv5", "conv6", "conv7")
"""The rows of SoundNet-18 with a residual unit; below them the steps are too many."""

SOUNDNET18 = Architecture(
    tuple(
        dataclasses.replace(row, residual=1) if row.name in RESIDUAL else row
        for row in SOUNDNET8.table
    )
)
"""Not in the paper: SoundNet-8 with a residual unit (He et al. 2015) after conv3 ... conv7.

The frame is that of SoundNet-8 (names, steps, hops, channels); what an output hears is wider. The
second normalization of a unit starts with gamma 0, so that a fresh network computes what a fresh
SoundNet-8 does (Goyal et al. 2017, section 5.1).
"""

ARCHITECTURES = {8: SOUNDNET8, 5: SOUNDNET5, 18: SOUNDNET18}
"""By depth, the number of convolutions from the waveform to a head."""


def _with_classifier(architecture: Architecture) -> Architecture:
    last = dataclasses.replace(architecture.table[-1], kernel=4, stride=1)
    return Architecture((*architecture.table[:-1], last))


CLASSIFIERS = {8: _with_classifier(SOUNDNET8), 5: SOUNDNET5, 18: _with_classifier(SOUNDNET18)}
"""By depth, the networks that are trained with labels, on 5 s of sound, for which they give one
output: the last row is a convolution of kernel 4 over conv7 (authors' fine-tuning). The 5-layer
network's own last row gives one output for 5 s already.
"""


@keras.saving.register_keras_serializable(package="soundnet")
class SoundNet(keras.Model):
    """A waveform in, per teacher the logits of its classes over time out.

    Call it with float32 (batch, samples), -256..256, 22,050 Hz, mono, of any length from
    `architecture.min_samples(...)` on; it gives, by the name of the head, logits (batch, steps,
    classes), where `architecture.output_centres(...)` says at what time a step is.

    Layers: `conv1`, `bn1`, `relu1`, `pool1` ... and one convolution a head, called as in
    `conv8_imagenet`; in residual units `conv3_1a`, `bn3_1a`, `relu3_1a`, `conv3_1b`, `bn3_1b`,
    `add3_1`, `relu3_1`. Weights start as published: convolutions N(0, 0.01), biases 0, gamma
    N(1, 0.02), beta 0.

    Args:
        depth: 8, 5 or 18; see `ARCHITECTURES`.
        heads: by the name of a teacher its class names, in the order of the outputs.
        classifier: end as in `CLASSIFIERS`, to be trained with labels.
        embeddings: the heads whose outputs are embeddings, not logits.

    Example:

    ```python
    from schemas import classes
    model = SoundNet(8, {"imagenet": classes.load("imagenet1000"),
                         "places": classes.load("places401")})
    logits = model(np.zeros((1, 441_000), "float32"))["places"]  # (1, 4, 401)
    pool5 = model.features(["pool5"])(waveforms)["pool5"]  # (batch, steps, 256)
    ```
    """

    def __init__(
        self,
        depth: int,
        heads: Mapping[str, Sequence[str]],
        classifier: bool = False,
        embeddings: Iterable[str] = (),
        **kwargs,
    ) -> None:
        if depth not in ARCHITECTURES:
            known = " or ".join(str(known) for known in ARCHITECTURES)
            raise ValueError(f"depth is {depth}; {known} is wanted")
        heads = {name: tuple(names) for name, names in heads.items()}
        architecture = (CLASSIFIERS if classifier else ARCHITECTURES)[depth]
        if not heads:
            raise ValueError("a network without heads can't learn; name at least one teacher")
        for name, names in heads.items():
            legal = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)
            if not legal or name in architecture.names:
                raise ValueError(
                    f"{name!r} can't name a head: letters, digits, '.', '_' and '-' are wanted, "
                    "and not a layer's name"
                )
            if not names:
                raise ValueError(f"the head {name!r} has no classes")
        embeddings = frozenset(embeddings)
        if strange := embeddings - set(heads):
            raise ValueError(f"embeddings {', '.join(sorted(strange))} are no heads")
        waveform = keras.Input((None,), name="waveform")  # (batch, samples)
        *rows, last = architecture.table
        activations = hidden_layers(waveform, rows)
        x = _pad(activations[rows[-1].name], last)
        variable_dtype = keras.config.dtype_policy().variable_dtype
        outputs = {
            # In mixed precision too the logits are float32.
            name: _convolution(last, len(names), f"{last.name}_{name}", variable_dtype)(x)
            for name, names in heads.items()
        }
        kwargs.setdefault("name", f"soundnet{depth}")
        super().__init__(inputs=waveform, outputs=outputs, **kwargs)
        self.depth = depth
        self.classifier = classifier
        self._embeddings = embeddings
        self._heads = Untracked(heads)
        self._activations = Untracked(activations | outputs)

    @property
    def architecture(self) -> Architecture:
        """The table of this network's layers."""
        return (CLASSIFIERS if self.classifier else ARCHITECTURES)[self.depth]

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """By the name of a head its class names, in the order of the outputs."""
        return dict(self._heads.items)

    @property
    def embeddings(self) -> frozenset[str]:
        """The heads whose outputs are embeddings; those of all others are logits."""
        return self._embeddings

    def call(self, inputs, training=None, mask=None):
        samples = keras.ops.shape(inputs)[1]
        last = self.architecture.names[-1]
        shortest = self.architecture.min_samples(last)
        if isinstance(samples, int) and samples < shortest:
            raise ValueError(
                f"{samples} samples are too short for {last}, which needs {shortest}; repeat the "
                "waveform with trainer.network.tile_to"
            )
        return super().call(inputs, training=training, mask=mask)

    def features(self, layers: Iterable[str]) -> keras.Model:
        """A network, of the same weights, that gives what the named layers compute.

        Args:
            layers: `conv1` ... `conv7` (after batch normalization and ReLU, the point at which the
                authors' `extract_feat.lua` reads conv7), `pool1` ... `pool5`; a head's name for its
                logits; the last convolution's name (`conv8`) for all heads' logits, one after the
                other.

        Returns:
            A model: waveform (batch, samples) in, by the name of the layer float32 (batch, steps,
            channels) out.

        Raises:
            ValueError: no such layer.
        """
        layers = tuple(layers)
        last = self.architecture.names[-1]
        known = [*self.architecture.names, *self.heads]
        outputs = {}
        for name in layers:
            if name not in known:
                raise ValueError(f"no layer {name!r}; choose among {', '.join(known)}")
            if name == last:
                logits = [self._activations.items[head] for head in self.heads]
                outputs[name] = keras.ops.concatenate(logits, -1) if logits[1:] else logits[0]
            else:
                outputs[name] = self._activations.items[name]
        return keras.Model(self.inputs[0], outputs, name=f"{self.name}_features")

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "depth": self.depth,
            "heads": {name: list(names) for name, names in self.heads.items()},
            "classifier": self.classifier,
            "embeddings": sorted(self.embeddings),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> SoundNet:
        return cls(**config)


class Untracked:
    """Holds a dictionary as it is; Keras would wrap it and track what is in it."""

    def __init__(self, items: dict) -> None:
        self.items = items


def _pad(x, row: Layer):
    if not row.padding:
        return x
    return keras.layers.ZeroPadding1D(row.padding, name=f"pad{row.name[4:]}")(x)


def _convolution(row: Layer, filters: int, name: str, dtype: str | None = None) -> Conv1D:
    return Conv1D(
        filters,
        row.kernel,
        row.stride,
        kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01),
        name=name,
        dtype=dtype,
    )


def hidden_layers(waveform, rows: Sequence[Layer]) -> dict:
    """By the names of the hidden rows of a table what they compute of (batch, samples)."""
    activations: dict[str, keras.KerasTensor] = {}
    x = keras.ops.expand_dims(waveform, -1)  # (batch, samples, 1)
    for row, following in itertools.zip_longest(rows, rows[1:]):
        if row.filters is not None:
            pool = following if following and following.filters is None else None
            activations |= _hidden(x, row, pool)
            x = activations[pool.name if pool else row.name]
    return activations


def _hidden(x, row: Layer, pool: Layer | None) -> dict:
    """By name what a hidden convolution computes, and the pooling behind it where there is one."""
    number = row.name[4:]
    relu = keras.layers.ReLU(name=f"relu{number}")
    normalized = _normalized(x, row)
    x = relu(normalized)
    for unit, (first, second) in enumerate(row.units, 1):
        inner = _normalized(x, first)
        inner = keras.layers.ReLU(name=f"relu{first.name[4:]}")(inner)
        inner = _normalized(inner, second, keras.initializers.Zeros())
        x = keras.layers.Add(name=f"add{number}_{unit}")([x, inner])
        x = keras.layers.ReLU(name=f"relu{number}_{unit}")(x)
    if pool is None:
        return {row.name: x}
    pooling = keras.layers.MaxPooling1D(pool.kernel, pool.stride, name=pool.name)
    # ReLU and maximum may change places; behind the maximum ReLU has less to do.
    pooled = pooling(x) if row.units else relu(pooling(normalized))
    return {row.name: x, pool.name: pooled}


def _normalized(x, row: Layer, gamma: keras.Initializer | None = None):
    """Convolution and batch normalization."""
    assert row.filters is not None
    x = _convolution(row, row.filters, row.name)(_pad(x, row))
    gamma = gamma or keras.initializers.RandomNormal(1.0, 0.02)
    return BatchNormalization(gamma_initializer=gamma, name=f"bn{row.name[4:]}")(x)


def tile_to(waveform: np.ndarray, samples: int) -> np.ndarray:
    """The rule "tiled": a waveform (samples,) shorter than `samples` is repeated up to that length.

    A longer one is returned as it is. Raises `ValueError` where there is nothing to repeat.
    """
    if not len(waveform):
        raise ValueError("an empty waveform can't be tiled")
    return waveform if len(waveform) >= samples else np.resize(waveform, samples)
