"""Layer by layer: the network with the published weights against plain NumPy, on real sounds."""

from __future__ import annotations

import numpy as np
import pytest

import media
from soundnet import weights

SOUNDS = ["videos/0500d23ded62.mp4", "esc10/audio/1-17367-A-10.ogg", "esc10/audio/1-100032-A-0.ogg"]


@pytest.mark.parametrize("sound", SOUNDS)
def test_every_layer_computes_what_the_paper_says(
    published, published_source, reference, data_dir, sound
):
    waveform = np.resize(media.load_waveform(data_dir / sound), 12 * 22050)
    arrays = weights.read_arrays(weights.published_bytes(published_source))
    expected = reference.layers(arrays, waveform, np.float64)
    expected["imagenet"], expected["places"] = expected.pop("conv8"), expected.pop("conv8_2")

    computed = published.activations([waveform], expected)

    for layer, values in expected.items():
        assert computed[layer].shape == values.shape, layer
        error = np.abs(computed[layer] - values).max()
        assert error <= 2e-5 * np.abs(values).max(), (layer, error)


def test_the_reference_has_the_papers_shapes(reference, published_source):
    """Steps for 20 s as the paper's table prints them (conv1 and pool1 as the code has them)."""
    arrays = weights.read_arrays(weights.published_bytes(published_source))
    outputs = reference.layers(arrays, np.zeros(441_000), np.float32)
    steps = {name: len(values) for name, values in outputs.items()}
    assert steps == {
        "conv1": 220_501,
        "pool1": 27_562,
        "conv2": 13_782,
        "pool2": 1_722,
        "conv3": 862,
        "conv4": 432,
        "conv5": 217,
        "pool5": 54,
        "conv6": 28,
        "conv7": 15,
        "conv8": 4,
        "conv8_2": 4,
    }
