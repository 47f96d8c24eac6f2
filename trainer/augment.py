"""From a whole clip and its labels to what the network hears and is to say.

Published: the whole clip, and the label steps one by one for the outputs, though an output of
SoundNet-8 doesn't listen where its label step lies (the centres of 20 s are at 4.75, 7.72, 10.69
and 13.66 s, those of the label steps at 2.5, 7.5, 12.5 and 17.5 s). Everything else here is beyond
the paper, and a setting:

`--align`     an output is told what the teachers saw around the moment at which it listens: their
              words, weighted by how long each label step lies within half a step of that moment.
              That is the same as interpolating linearly between the label steps' centres
`--crop`      a piece of the clip from a random place, sound and labels alike; of n outputs each
              speaks for an n-th of the piece, or is aligned
`--shift`, `--gain-db`   the clip turned round by whole label steps; its volume changed
`--mix`       each clip of a batch mixed with another, and their labels with the same shares (mixup,
              Zhang et al. 2018)

What is random is drawn from the seed and the place in the stream alone, so that a run that was
stopped hears what it would have heard.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from schemas.dataset_info import DatasetInfo
from trainer.config import Config
from trainer.network import ARCHITECTURES, Architecture

GAIN, CROP, MIX = 1, 2, 3
"""What is drawn gets a seed of its own; the shift has the bare one."""


def clip_samples(info: DatasetInfo) -> int:
    """Samples of a full clip (441,000)."""
    return round(info.clip_seconds * info.sample_rate)


def crop_samples(config: Config, info: DatasetInfo) -> int:
    """Samples that the network hears of a training clip."""
    return round(config.crop * info.sample_rate) if config.crop else clip_samples(info)


def stretches(
    architecture: Architecture, samples: int, step_samples: int, align: bool
) -> np.ndarray:
    """The stretch of a waveform that each output of the network speaks for.

    Returns:
        float64 (outputs, 2), first sample and the one after the last: with `align` a label step's
        length around the centre of what the output hears (what would lie outside is cut off), else
        one part after the other, all alike.
    """
    last = architecture.names[-1]
    outputs = architecture.output_steps(last, samples)
    if not align:
        edges = np.linspace(0, samples, outputs + 1)
        return np.stack([edges[:-1], edges[1:]], axis=1)
    centres = np.clip(architecture.output_centres(last, outputs), 0, samples)
    half = step_samples / 2
    return np.clip(np.stack([centres - half, centres + half], axis=1), 0, samples)


def shares(stretches, offset, steps: int, step_samples: int):
    """How much of each label step is in each stretch: float32 (outputs, steps), rows sum to 1.

    Args:
        stretches: float64 (outputs, 2), from the beginning of the piece.
        offset: where the piece begins in the clip, in samples.
    """
    stretches = tf.constant(stretches, tf.float64) + tf.cast(offset, tf.float64)
    starts = tf.range(steps, dtype=tf.float64) * step_samples
    overlap = tf.minimum(stretches[:, 1:], starts + step_samples)
    overlap = tf.maximum(overlap - tf.maximum(stretches[:, :1], starts), 0)
    return tf.cast(overlap / tf.reduce_sum(overlap, 1, keepdims=True), tf.float32)


def whole_clip(features: dict, config: Config, info: DatasetInfo) -> dict:
    """A clip as validation has it: all of it, its labels aligned where that is asked for."""
    if not config.align:
        return features
    return {**features, "probs": _told(features["probs"], 0, clip_samples(info), config, info)}


def training_clip(features: dict, index: tf.Tensor, config: Config, info: DatasetInfo) -> dict:
    """A clip as training has it.

    Args:
        features: `waveform` float32 (samples of a full clip,) and `probs`, by teacher float32
            (label steps, classes).
        index: the clip's number in the stream, int64.

    Returns:
        `waveform` and `probs`, by teacher float32 (outputs, classes).
    """
    waveform, probs = features["waveform"], features["probs"]
    seed = tf.stack([tf.constant(config.seed, tf.int64), index])
    if config.shift:
        steps = info.steps_per_clip
        shift = tf.random.stateless_uniform([], seed, 0, steps, tf.int32)
        waveform = tf.roll(waveform, shift * (clip_samples(info) // steps), 0)
        probs = {name: tf.roll(values, shift, 0) for name, values in probs.items()}
    if config.gain_db:
        draw = tf.random.experimental.stateless_fold_in(seed, GAIN)
        decibels = tf.random.stateless_uniform([], draw, -config.gain_db, config.gain_db)
        waveform = waveform * 10.0 ** (decibels / 20.0)
    if config.crop:
        samples = crop_samples(config, info)
        draw = tf.random.experimental.stateless_fold_in(seed, CROP)
        most = clip_samples(info) - samples
        offset = tf.random.stateless_uniform([], draw, 0, most + 1, tf.int32)
        waveform = tf.ensure_shape(waveform[offset : offset + samples], [samples])
        probs = _told(probs, offset, samples, config, info)
    elif config.align:
        probs = _told(probs, 0, clip_samples(info), config, info)
    return {"waveform": waveform, "probs": probs}


def _told(probs: dict, offset, samples: int, config: Config, info: DatasetInfo) -> dict:
    """What the outputs for a piece of a clip are told: by teacher (outputs, classes)."""
    step_samples = round(info.step_seconds * info.sample_rate)
    places = stretches(ARCHITECTURES[config.depth], samples, step_samples, config.align)
    weights = shares(places, offset, info.steps_per_clip, step_samples)
    return {name: tf.linalg.matmul(weights, values) for name, values in probs.items()}


def mix(batch: dict, number: tf.Tensor, config: Config) -> dict:
    """Each clip mixed with another of the batch, sound and labels alike.

    A clip keeps the share l ~ Beta(a, a), a = `--mix`; the rest is the clip that lies a random
    distance, the same for the whole batch, further on.

    Args:
        batch: `waveform` (batch, samples), `probs` by teacher (batch, outputs, classes).
        number: the batch's, from the run's beginning, int64.
    """
    seed = tf.stack([tf.constant(config.seed, tf.int64), number])
    seed = tf.random.experimental.stateless_fold_in(seed, MIX)
    clips = tf.shape(batch["waveform"])[0]
    distance = tf.random.stateless_uniform([], seed, 1, clips, tf.int32)
    shape = tf.stack([2, clips])
    # Beta(a, a) as two gammas; of a small `a` both may underflow, and the clip stays as it is.
    first, second = tf.unstack(tf.random.stateless_gamma(shape, seed, config.mix, dtype=tf.float64))
    share = tf.cast(tf.math.divide_no_nan(second, first + second), tf.float32)

    def mixed(values: tf.Tensor) -> tf.Tensor:
        weight = tf.reshape(
            share, tf.concat([[clips], tf.ones(values.shape.rank - 1, tf.int32)], 0)
        )
        return values + weight * (tf.roll(values, distance, 0) - values)

    return {
        "waveform": mixed(batch["waveform"]),
        "probs": {name: mixed(values) for name, values in batch["probs"].items()},
    }
