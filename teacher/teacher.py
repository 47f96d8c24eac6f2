"""A loaded teacher: frames in, class distributions or embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.dataset_info import TeacherInfo
from teacher.networks import Network, open_network
from teacher.spec import DEFAULTS, TeacherError, TeacherSpec

BATCH = 16
"""Frames that a network is given at a time, always; the last ones are padded.

One shape means one order of every sum, so that an answer doesn't depend on what is beside it. A
network whose answer depends even so on a frame's place in the batch is given one at a time.
"""

SUM_TOLERANCE = 1e-3


class Teacher:
    """A vision network that says what pictures show.

    Attributes:
        info: what a data set says of the teacher.
        preprocess: RGB pictures, each uint8 (H, W, 3) of any size -> float32 (N, size, size, 3).
        batch: frames that the network is given at a time.
    """

    def __init__(self, spec: TeacherSpec, network: Network, batch: int = BATCH) -> None:
        import tensorflow as tf

        self.preprocess = network.preprocessing
        self.info = _info(spec, network)
        self.batch = batch
        self._outputs = network.outputs
        size = network.preprocessing.size
        model = network.build()

        def forward(frames: tf.Tensor) -> tf.Tensor:
            outputs = model(frames, training=False)
            if isinstance(outputs, dict):  # a SavedModel's
                (outputs,) = outputs.values()
            return tf.cast(outputs, tf.float32)

        self._forward = tf.function(
            forward, input_signature=[tf.TensorSpec((batch, size, size, 3), tf.float32)]
        )

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs; of an embedding a name for each value."""
        return self.info.classes

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """What the network says of preprocessed frames.

        Args:
            batch: float32 (N, size, size, 3), as `preprocess` gives it.

        Returns:
            float32 (N, classes), each row a distribution, or an embedding.

        Raises:
            TeacherError: a batch of another shape, or the outputs aren't distributions (of an
                embedding: finite).
        """
        size = self.preprocess.size
        if batch.ndim != 4 or batch.shape[1:] != (size, size, 3) or batch.dtype != np.float32:
            raise TeacherError(
                f"teacher {self.info.name} wants float32 (N, {size}, {size}, 3), not {batch.dtype} "
                f"{batch.shape}; use preprocess"
            )
        probs = np.empty((len(batch), len(self.classes)), np.float32)
        for start in range(0, len(batch), self.batch):
            part = batch[start : start + self.batch]
            padding = [(0, self.batch - len(part)), (0, 0), (0, 0), (0, 0)]
            outputs = self._forward(np.pad(part, padding)).numpy()[: len(part)]
            probs[start : start + self.batch] = self._checked(outputs)
        return probs

    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """What the network says of RGB pictures, float32 (N, classes)."""
        return self.predict(self.preprocess(frames))

    def _checked(self, outputs: np.ndarray) -> np.ndarray:
        where = f"teacher {self.info.name} ({self.info.network})"
        if outputs.ndim != 2 or outputs.shape[1] != len(self.classes):
            raise TeacherError(
                f"{where} gives {outputs.shape[1:]} outputs a picture and its class list has "
                f"{len(self.classes)} names; give classes=LIST that it was trained with"
            )
        if not np.isfinite(outputs).all():
            raise TeacherError(f"{where} gives outputs that aren't finite; its weights are broken")
        if self._outputs == "embedding":
            return outputs
        sums = outputs.sum(axis=1)
        distributions = outputs.min() >= 0 and np.abs(sums - 1).max() <= SUM_TOLERANCE
        if self._outputs == "logits":
            if distributions:
                raise TeacherError(f"{where} gives probabilities already; leave out outputs=logits")
            powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        if not distributions:
            raise TeacherError(
                f"{where} gives outputs from {outputs.min():.3g} to {outputs.max():.3g} that sum "
                f"to {sums.min():.3g} to {sums.max():.3g}, not probabilities; a network from a "
                "file whose last layer has no softmax is given with outputs=logits"
            )
        return outputs


def load(spec: TeacherSpec) -> Teacher:
    """Load a teacher and ask it about a picture of noise, so that a wrong class list, size or kind
    of outputs shows at once.

    Raises:
        TeacherError: weights missing or not the known ones, classes that don't match the outputs,
            outputs that aren't what the spec says; the message says what to do.
    """
    network = open_network(spec)
    teacher = Teacher(spec, network)
    noise = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    try:
        answers = teacher.predict(np.repeat(teacher.preprocess([noise]), BATCH, axis=0))
    except TeacherError:
        raise
    except Exception as error:
        raise TeacherError(
            f"teacher {spec.name}: {spec.network} doesn't take pictures of "
            f"{teacher.preprocess.size} pixels ({type(error).__name__}: {error})"
        ) from error
    if (answers != answers[0]).any():
        return Teacher(spec, network, batch=1)
    return teacher


def describe(spec: TeacherSpec) -> TeacherInfo:
    """What a data set says of a teacher.

    The teachers that this room knows have their weights checked by their hash, which takes no time;
    others are loaded, so that whatever is wrong with one shows before a run begins.

    Raises:
        TeacherError: as `load`.
    """
    if spec.network in DEFAULTS.values():
        return _info(spec, open_network(spec))
    return load(spec).info


def _info(spec: TeacherSpec, network: Network) -> TeacherInfo:
    return TeacherInfo(
        name=spec.name,
        # Not the whole path: it says nothing on another machine.
        network=Path(spec.network).name,
        classes=network.classes,
        preprocessing=network.preprocessing.words,
        sha256=network.sha256,
        target="embedding" if spec.outputs == "embedding" else "distribution",
    )
