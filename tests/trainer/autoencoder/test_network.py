"""The autoencoder: its shapes, its times, its file."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.autoencoder.network import Autoencoder, Upsampling
from trainer.load import load
from trainer.network import SOUNDNET8, SoundNet


@pytest.fixture(scope="module", params=["conv4", "pool5"])
def network(request) -> Autoencoder:
    keras.utils.set_random_seed(0)
    return Autoencoder(request.param)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).normal(0, 30, (2, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [4574, 4590, 30_011])
def test_what_comes_out_is_as_long_as_what_went_in(network, samples):
    assert network(noise(samples)).shape == (2, samples)


def test_the_papers_has_eight_layers():
    network = Autoencoder()
    steps = [w.shape for w in network.weights if w.path.endswith("kernel")]
    assert steps == [
        *((64, 1, 16), (32, 16, 32), (16, 32, 64), (8, 64, 128)),
        *((8, 64, 128), (16, 32, 64), (32, 16, 32), (64, 1, 16)),
    ]


def test_the_encoder_is_soundnets(network):
    """With the same weights both compute the same."""
    soundnet = SoundNet(8, {"a": "xy"})
    for layer in network.layers:
        if layer.weights and not layer.name.startswith("up"):
            soundnet.get_layer(layer.name).set_weights(layer.get_weights())
    layers = network.architecture.names
    assert layers == SOUNDNET8.names[: len(layers)]
    waveform = noise(22_050)
    ours, theirs = network.features(layers)(waveform), soundnet.features(layers)(waveform)
    for layer in layers:
        np.testing.assert_array_equal(ours[layer], theirs[layer])


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(64, 16, 32), (16, 2, 8), (8, 8, 2)])
def test_a_step_is_told_where_it_was_heard(kernel, stride, padding):
    """What step n says goes to the places from n * stride - padding on, which are those that a
    convolution of that stride and padding (with the pooling behind it) heard for it."""
    undone = np.zeros((1, 20 * stride, 1), np.float32)
    up = Upsampling(1, kernel, stride, padding)
    steps = np.zeros((1, 20, 1), np.float32)
    steps[0, 7] = 1
    places = np.flatnonzero(np.asarray(up(steps, undone))[0, :, 0])
    assert places.min() == 7 * stride - padding
    assert places.max() == 7 * stride - padding + kernel - 1


def test_its_file_comes_back_and_is_not_taken_for_another(network, tmp_path):
    path = tmp_path / "model.keras"
    network.save(path)
    back = load(path, Autoencoder)
    assert back.bottleneck == network.bottleneck
    np.testing.assert_array_equal(back(noise(5000)), network(noise(5000)))
    with pytest.raises(ValueError, match="'soundnet>Autoencoder', not this project's SoundNet"):
        load(path)


def test_layers_that_it_has_not(network):
    with pytest.raises(ValueError, match="no layer 'conv7'; choose among conv1, pool1"):
        network.features(["conv7"])
    with pytest.raises(ValueError, match="'conv7'; choose one of conv4, conv5, pool5"):
        Autoencoder("conv7")
