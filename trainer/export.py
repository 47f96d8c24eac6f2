"""What a training run leaves for others: a `.keras` file and a SavedModel."""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from trainer.network import SoundNet


def save_keras(model: SoundNet, path: str) -> None:
    """Write a network, its heads' class names inside, whole or not at all (local or gs://)."""
    with tempfile.TemporaryDirectory() as folder:
        local = str(Path(folder) / "model.keras")
        model.save(local)
        tf.io.gfile.copy(local, path + ".part", overwrite=True)
    tf.io.gfile.rename(path + ".part", path, overwrite=True)


def save_saved_model(model: SoundNet, folder: str) -> None:
    """Write a SavedModel for serving: waveforms in, probabilities out. Replaces an older one.

    Its signature `serving_default` takes `waveform` float32 (batch, samples), -256..256, 22,050 Hz,
    of any length but 0 (what is too short for the network is tiled), and gives by the name of each
    head its probabilities (batch, steps, classes), or its embeddings. The class names are in
    `assets.extra/heads.json`.
    """
    shortest = model.architecture.min_samples(model.architecture.names[-1])

    def probabilities(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        samples = tf.shape(waveform)[1]
        tf.debugging.assert_positive(samples, "an empty waveform can't be heard")
        repeats = (shortest + samples - 1) // samples
        tiled = tf.tile(waveform, [1, tf.maximum(repeats, 1)])
        logits = model(tiled[:, : tf.maximum(samples, shortest)], training=False)
        return {
            name: values if name in model.embeddings else tf.nn.softmax(values)
            for name, values in logits.items()
        }

    module = tf.Module()
    # Not the model: Keras's variables and TensorFlow's inside them would both be written.
    module.weights = [weight.value for weight in model.weights]
    signature = tf.TensorSpec([None, None], tf.float32, name="waveform")
    module.serve = tf.function(probabilities, input_signature=[signature], autograph=False)
    part = folder + ".part"
    if tf.io.gfile.exists(part):
        tf.io.gfile.rmtree(part)
    tf.saved_model.save(module, part, signatures={"serving_default": module.serve})
    extra = posixpath.join(part, "assets.extra")
    tf.io.gfile.makedirs(extra)
    with tf.io.gfile.GFile(posixpath.join(extra, "heads.json"), "w") as file:
        file.write(heads_json(model.heads))
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)
    tf.io.gfile.rename(part, folder)


def heads_json(heads: Mapping[str, Sequence[str]]) -> str:
    """By the name of a head its class names, in the order of the outputs."""
    return json.dumps(heads, indent=1, ensure_ascii=False) + "\n"
