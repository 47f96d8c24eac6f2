"""How far a student is from its teachers.

Published scaling (authors' `main_train.lua`): for each label step and teacher Torch's
`DistKLDivCriterion` averages KL(teacher || student) over the clips of the batch AND over the
teacher's classes; these terms (4 steps x 2 teachers) are averaged and multiplied by lambda = 250.
So a teacher of 401 classes weighs about 2.5 times as much as one of 1000. One-hot targets and
uniform predictions give 250 * (ln 1000 / 1000 + ln 401 / 401) / 2 = 2.73.

A teacher of embeddings teaches by the angle between its vector and the student's, or by their
squared distance; that is not in the paper, and is scaled alike: the mean over clips and label
steps, divided by the number of values.

Runs on every backend of Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import keras
from keras import ops

LAMBDA = 250.0
"""The authors' `lambda`."""

_SMALLEST = 1e-30


def kl(targets, logits):
    """KL(teacher || student) in nats: (..., classes), probabilities and logits, to (...)."""
    targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
    # A class that the teacher rules out counts nothing: 0 * log(0) = 0.
    log_targets = ops.log(ops.maximum(targets, _SMALLEST))
    return ops.sum(targets * (log_targets - ops.log_softmax(logits, axis=-1)), axis=-1)


def l2(targets, logits):
    """Squared distance of the distributions, the paper's ablation: (..., classes) to (...)."""
    targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
    return ops.sum(ops.square(targets - ops.softmax(logits, axis=-1)), axis=-1)


def cosine(targets, values):
    """Similarity of two embeddings, -1 to 1: (..., values) to (...)."""
    targets, values = ops.cast(targets, "float32"), ops.cast(values, "float32")
    return -keras.losses.cosine_similarity(targets, values)


def cosine_distance(targets, values):
    """0 where two embeddings point the same way, to 2: (..., values) to (...)."""
    return 1.0 - cosine(targets, values)


def squared_distance(targets, values):
    """Of two embeddings as they are: (..., values) to (...)."""
    targets, values = ops.cast(targets, "float32"), ops.cast(values, "float32")
    return ops.sum(ops.square(targets - values), axis=-1)


LOSSES: dict[str, Callable] = {"kl": kl, "l2": l2}
"""Of teachers of distributions."""

EMBEDDING_LOSSES: dict[str, Callable] = {"cosine": cosine_distance, "l2": squared_distance}
"""Of teachers of embeddings."""


def distillation_loss(
    targets: Mapping,
    logits: Mapping,
    loss: str = "kl",
    scale: float = LAMBDA,
    embedders: Collection[str] = (),
    embedding_loss: str = "cosine",
):
    """The published loss of a batch.

    Args:
        targets: by teacher, probabilities (batch, label steps, classes), or embeddings.
        logits: by teacher, the student's, of the same shapes.
        loss: one of `LOSSES`.
        scale: lambda.
        embedders: the teachers whose targets are embeddings.
        embedding_loss: one of `EMBEDDING_LOSSES`, for these.

    Returns:
        The loss, and by teacher its term; the loss is the terms' mean.

    Raises:
        ValueError: targets and logits differ in teachers or shapes.
    """
    if set(targets) != set(logits):
        raise ValueError(f"teachers {sorted(targets)} can't teach heads {sorted(logits)}")
    terms = {}
    for name, probs in targets.items():
        # Broadcasting would hide a wrong number of steps.
        if tuple(probs.shape[1:]) != tuple(logits[name].shape[1:]):
            raise ValueError(
                f"{name}: labels of shape {tuple(probs.shape)} for outputs of shape "
                f"{tuple(logits[name].shape)}"
            )
        away = EMBEDDING_LOSSES[embedding_loss] if name in embedders else LOSSES[loss]
        terms[name] = scale * ops.mean(away(probs, logits[name])) / probs.shape[-1]
    return sum(terms.values()) / len(terms), terms


def agreement(targets, logits, k: int):
    """Is the teacher's first choice among the student's first `k`? float32 0 or 1, (...)."""
    classes = logits.shape[-1]
    first = ops.reshape(ops.argmax(targets, axis=-1), (-1,))
    hits = ops.in_top_k(first, ops.reshape(logits, (-1, classes)), min(k, classes))
    return ops.cast(ops.reshape(hits, ops.shape(logits)[:-1]), "float32")
