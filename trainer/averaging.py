"""A running mean of a network's weights, to be judged and kept in place of the last ones."""

from __future__ import annotations

import keras
import tensorflow as tf


def update(mean: keras.Model, model: keras.Model, decay: float, step: tf.Tensor) -> None:
    """Move `mean` towards `model`, the running statistics of batch normalization included.

    Args:
        decay: the share that stays, in the long run; in the first steps (1 + n) / (10 + n) after n
            steps where that is less (as in `tf.train.ExponentialMovingAverage`), so that the
            weights that a network starts with are soon forgotten.
        step: steps done, those of this update included; 1 or more.
    """
    steps = tf.cast(step, tf.float32)
    moves = 1.0 - tf.minimum(decay, (1.0 + steps) / (10.0 + steps))
    for average, weight in zip(mean.weights, model.weights, strict=True):
        average.assign(average + tf.cast(moves, average.dtype) * (weight - average))
