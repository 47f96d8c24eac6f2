"""What the tests of soundnet/ share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import soundnet
from trainer.network import SoundNet


@pytest.fixture(scope="session")
def published(published_weights) -> soundnet.TrainedSoundNet:
    """The published network, ready to hear."""
    return soundnet.load_model(published_weights)


@pytest.fixture(scope="session")
def reference():
    """The independent implementation in `reference.py`."""
    path = Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("soundnet_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lively(depth: int) -> SoundNet:
    """A small-headed network at random whose every number matters: biases, statistics, padding."""
    network = SoundNet(depth, {"imagenet": ["cat", "dog", "car"], "places": ["bar", "park"]})
    rng = np.random.default_rng(depth)
    for variable in network.weights:
        shape = tuple(variable.shape)
        if variable.path.endswith("kernel"):
            values = rng.normal(0, 1.4 / np.sqrt(shape[0] * shape[1]), shape)
        elif variable.path.endswith(("gamma", "moving_variance")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.5, shape)
        variable.assign(values)
    return network


@pytest.fixture(scope="session", params=[8, 5, 18], ids=["8 layers", "5 layers", "18 layers"])
def lively_model(request) -> soundnet.TrainedSoundNet:
    return soundnet.TrainedSoundNet(lively(request.param), "lively")


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory) -> Path:
    """A lively network of 8 layers with small heads, as a `.keras` file."""
    path = tmp_path_factory.mktemp("small") / "small.keras"
    lively(8).save(path)
    return path


@pytest.fixture
def noise():
    """noise(seconds): a waveform of that length, the same each time."""

    def make(seconds: float) -> np.ndarray:
        samples = round(seconds * 22050)
        return np.random.default_rng(1).normal(0, 30, samples).astype(np.float32)

    return make
