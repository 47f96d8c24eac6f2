"""SoundNet for HEAR, the Holistic Evaluation of Audio Representations (Turian et al. 2022).

This module is what its tools ask for (https://hearbenchmark.com/hear-api.html): give them the name
`soundnet.hear` and, where it isn't the published network that is meant, a `.keras` file.

```python
from soundnet import hear
model = hear.load_model()
scenes = hear.get_scene_embeddings(audio, model)             # (sounds, 256)
steps, times = hear.get_timestamp_embeddings(audio, model)   # (sounds, steps, 128), milliseconds
```

Sounds go through the network one at a time, so that what is said of one doesn't depend on its
batch.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import soundnet
from schemas.waveform import SAMPLE_RATE
from soundnet.weights import PUBLISHED

LAYERS = {8: ("pool5", "conv4"), 5: ("conv4", "conv3"), 18: ("pool5", "conv4")}
"""By the network's depth the layers for scenes and for timestamps.

For scenes pool5, the paper's choice, and of 5 layers the one of the same steps and channels. But
that has a step every 372 ms; HEAR wants one every 50 ms or less, to find where a sound begins, so
timestamps are those of the highest layer that has (46 ms; of 5 layers 23 ms).
"""


class HearModel(tf.Module):
    """A trained network as HEAR's tools know it; `load_model` makes one.

    Attributes:
        sample_rate: of the sound that it takes, 22,050 Hz.
        scene_embedding_size, timestamp_embedding_size: channels of the two layers.
        network: the `soundnet.TrainedSoundNet`.
        layer, timestamp_layer: what the two kinds of embeddings are taken from.
    """

    def __init__(
        self, network: soundnet.TrainedSoundNet, layer: str = "", timestamp_layer: str = ""
    ) -> None:
        super().__init__()
        scenes, timestamps = LAYERS[network.network.depth]
        self.network = network
        self.layer = layer or scenes
        self.timestamp_layer = timestamp_layer or timestamps
        self.sample_rate = SAMPLE_RATE
        self.scene_embedding_size = _channels(network, self.layer)
        self.timestamp_embedding_size = _channels(network, self.timestamp_layer)


def load_model(model_file_path: str = "", layer: str = "", timestamp_layer: str = "") -> HearModel:
    """A network that HEAR's tools can use.

    Args:
        model_file_path: a `.keras` file that training wrote, or whatever else
            `soundnet.load_model` takes; "" for the published weights.
        layer: what scene embeddings are taken from, one of `soundnet.TrainedSoundNet.layers`; ""
            for that of `LAYERS`.
        timestamp_layer: the same for timestamps.

    Raises:
        soundnet.WeightsError: no such weights; the message says how to get them.
        ValueError: no such layer.
    """
    return HearModel(soundnet.load_model(model_file_path or PUBLISHED), layer, timestamp_layer)


def get_scene_embeddings(audio: tf.Tensor, model: HearModel) -> tf.Tensor:
    """One vector a sound: the mean of the layer's steps.

    Args:
        audio: float (sounds, samples), -1..1, 22,050 Hz; a sound too short for a step is repeated
            (`trainer.network.tile_to`).

    Returns:
        float32 (sounds, model.scene_embedding_size).

    Raises:
        ValueError: it isn't such sound.
    """
    found = [model.network.embed(s, SAMPLE_RATE, layer=model.layer) for s in _sounds(audio)]
    return tf.constant(np.stack([embedding.mean() for embedding in found]))


def get_timestamp_embeddings(audio: tf.Tensor, model: HearModel) -> tuple[tf.Tensor, tf.Tensor]:
    """A vector for each step of each sound, and when it is.

    A time is the exact centre of what the step hears, in milliseconds; the steps are those of the
    network, at regular intervals. The first of a layer with padding may lie up to half of what it
    hears before 0, and the last may lie past the end. A sound that is too short for a step is
    repeated and has one, in its middle.

    Args:
        audio: as in `get_scene_embeddings`.

    Returns:
        float32 (sounds, steps, model.timestamp_embedding_size) and float64 (sounds, steps).

    Raises:
        ValueError: it isn't such sound.
    """
    found = [
        model.network.embed(s, SAMPLE_RATE, layer=model.timestamp_layer) for s in _sounds(audio)
    ]
    return (
        tf.constant(np.stack([embedding.values for embedding in found])),
        tf.constant(np.stack([embedding.times * 1000 for embedding in found])),
    )


def _sounds(audio: tf.Tensor) -> np.ndarray:
    sounds = np.asarray(audio)
    if sounds.ndim != 2 or 0 in sounds.shape or sounds.dtype.kind != "f":
        raise ValueError(
            f"audio of shape {sounds.shape} and type {sounds.dtype}; floats (sounds, samples) are "
            f"wanted, mono, -1..1, {SAMPLE_RATE} Hz; one sound is audio[None]"
        )
    return sounds


def _channels(network: soundnet.TrainedSoundNet, layer: str) -> int:
    return network.network.features([layer]).output[layer].shape[-1]
