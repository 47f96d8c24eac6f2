"""The networks against every number of the paper's tables and the authors' code."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from trainer.network import (
    ARCHITECTURES,
    CLASSIFIERS,
    RESIDUAL,
    SOUNDNET5,
    SOUNDNET8,
    SOUNDNET18,
    SoundNet,
    tile_to,
)

HEADS = {
    "imagenet": [f"object {i}" for i in range(1000)],
    "places": [f"scene {i}" for i in range(401)],
}
RATE = 22050


@pytest.fixture(scope="module")
def soundnet8() -> SoundNet:
    keras.utils.set_random_seed(0)
    return SoundNet(8, HEADS)


def noise(batch: int, samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 20, (batch, samples)).astype(np.float32)


@pytest.mark.parametrize(
    ("architecture", "steps"),
    [
        (
            SOUNDNET8,
            {
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
            },
        ),
        (
            SOUNDNET5,
            {
                "conv1": 220_501,
                "pool1": 27_562,
                "conv2": 13_782,
                "pool2": 1_722,
                "conv3": 862,
                "pool3": 107,
                "conv4": 54,
                "conv5": 4,
            },
        ),
    ],
)
def test_steps_for_twenty_seconds_are_those_of_the_papers_table(architecture, steps):
    assert {name: architecture.output_steps(name, 441_000) for name in architecture.names} == steps


@pytest.mark.parametrize("depth", [8, 5, 18])
def test_the_table_says_what_the_network_computes(depth):
    network = SoundNet(depth, {"a": ["x", "y"]})
    architecture = ARCHITECTURES[depth]
    features = network.features(architecture.names)
    for samples in (441_000, 450_001):
        for name, values in features(noise(1, samples)).items():
            assert values.shape[1] == architecture.output_steps(name, samples), name


def test_time_of_the_last_convolution():
    assert SOUNDNET8.hop("conv8") == 65_536
    assert SOUNDNET8.receptive_field("conv8") / RATE == pytest.approx(14.5, abs=0.05)
    centres = SOUNDNET8.output_centres("conv8", 4) / RATE
    np.testing.assert_allclose(centres, [4.75, 7.72, 10.69, 13.66], atol=0.01)
    assert SOUNDNET8.min_samples("conv8") == 209_374
    assert SOUNDNET8.min_samples("conv8", steps=4) == 405_982


@pytest.mark.parametrize("architecture", [SOUNDNET8, SOUNDNET5, SOUNDNET18])
def test_min_samples_is_the_inverse_of_output_steps(architecture):
    for name in architecture.names:
        for steps in (1, 2, 5):
            shortest = architecture.min_samples(name, steps)
            assert architecture.output_steps(name, shortest) >= steps
            if shortest > 1:
                assert architecture.output_steps(name, shortest - 1) < steps


@pytest.mark.parametrize(("depth", "layer"), [(8, "pool5"), (18, "conv5")])
def test_an_output_hears_its_receptive_field_and_no_more(depth, layer):
    """Changing samples just outside of an output's field doesn't change it, inside does."""
    whole = SoundNet(depth, {"a": ["x", "y"]})
    wake(whole)
    network, architecture = whole.features([layer]), whole.architecture
    waveform = noise(1, 80_000)
    field, step = architecture.receptive_field(layer), 4
    # A step whose whole field lies within the sound.
    while architecture.output_centres(layer, step + 1)[step] < field / 2:
        step += 1
    centre = architecture.output_centres(layer, step + 1)[step]
    first, last = round(centre - (field - 1) / 2), round(centre + (field - 1) / 2)
    before = np.asarray(network(waveform)[layer])[0, step]
    outside = waveform.copy()
    outside[0, :first] = 0
    outside[0, last + 1 :] = 0
    np.testing.assert_allclose(np.asarray(network(outside)[layer])[0, step], before, rtol=1e-4)
    for edge in (slice(first, first + 2000), slice(last - 1999, last + 1)):
        inside = waveform.copy()
        inside[0, edge] *= -5
        assert np.abs(np.asarray(network(inside)[layer])[0, step] - before).max() > 1e-6


def wake(network: SoundNet) -> None:
    """Residual units start as nothing; give them weights."""
    for layer in network.layers:
        if layer.name.startswith("bn") and layer.name.endswith("b"):
            layer.gamma.assign(np.ones(layer.gamma.shape, "float32"))
        if layer.name.startswith("conv") and layer.name.endswith(("a", "b")):
            layer.kernel.assign(np.random.default_rng(0).normal(0, 0.05, layer.kernel.shape))


def test_the_residual_network_has_the_frame_of_soundnet8_and_starts_as_it():
    """Names, steps and hops are the same; with weights alike so are a fresh network's outputs."""
    assert SOUNDNET18.names == SOUNDNET8.names
    for name in SOUNDNET8.names:
        assert SOUNDNET18.hop(name) == SOUNDNET8.hop(name)
        assert SOUNDNET18.output_steps(name, 441_000) == SOUNDNET8.output_steps(name, 441_000)
    wider = SOUNDNET18.receptive_field("conv8") - SOUNDNET8.receptive_field("conv8")
    assert wider == sum(4 * SOUNDNET8.hop(name) for name in RESIDUAL)
    np.testing.assert_array_equal(
        SOUNDNET18.output_centres("conv8", 4), SOUNDNET8.output_centres("conv8", 4)
    )
    plain, deep = (SoundNet(depth, {"a": ["x", "y"]}) for depth in (8, 18))
    assert sum(isinstance(layer, keras.layers.Conv1D) for layer in deep.layers) == 18
    for layer in plain.layers:
        deep.get_layer(layer.name).set_weights(layer.get_weights())
    waveform = noise(1, 250_000)
    np.testing.assert_array_equal(plain(waveform)["a"], deep(waveform)["a"])
    wake(deep)
    assert np.abs(plain(waveform)["a"] - deep(waveform)["a"]).max() > 1e-3
    features = deep.features(["conv5", "pool5"])(waveform)
    assert features["conv5"].shape[1] == SOUNDNET8.output_steps("conv5", 250_000)
    # A pooled value is one of those that the row gives: after its residual unit.
    pooled, values = np.asarray(features["pool5"][0]), np.asarray(features["conv5"][0])
    np.testing.assert_array_equal(pooled[0], values[:4].max(0))


@pytest.mark.parametrize("depth", [8, 5, 18])
def test_a_classifier_gives_one_output_for_five_seconds(depth, tmp_path):
    network = SoundNet(depth, {"labels": ["x", "y"]}, classifier=True)
    assert network.architecture is CLASSIFIERS[depth]
    assert network(noise(2, 5 * RATE))["labels"].shape == (2, 1, 2)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.classifier
    np.testing.assert_array_equal(
        loaded(noise(1, 8 * RATE))["labels"], network(noise(1, 8 * RATE))["labels"]
    )


def parameters(network) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def test_parameter_counts(soundnet8):
    assert parameters(soundnet8) == 14_352_713
    heads = [soundnet8.get_layer(f"conv8_{name}") for name in HEADS]
    assert sum(parameters(head) for head in heads) == 11_478_393
    assert parameters(SoundNet(5, HEADS)) == 6_202_137


def test_weights_start_as_published(soundnet8):
    """Authors' `main_train.lua`, weights_init: N(0, 0.01), 0, N(1, 0.02), 0."""
    kernels, gammas = [], []
    for layer in soundnet8.layers:
        if isinstance(layer, keras.layers.Conv1D):
            kernels.append(np.asarray(layer.kernel))
            assert not np.any(layer.bias)
            assert kernels[-1].std() == pytest.approx(0.01, rel=0.1), layer.name
        elif isinstance(layer, keras.layers.BatchNormalization):
            gammas.append(np.asarray(layer.gamma))
            assert not np.any(layer.beta)
            assert layer.epsilon == 1e-5
            assert layer.momentum == 0.9
    gammas = np.concatenate(gammas)
    assert gammas.mean() == pytest.approx(1.0, abs=0.002)
    assert gammas.std() == pytest.approx(0.02, rel=0.1)
    all_kernels = np.concatenate([kernel.ravel() for kernel in kernels])
    assert all_kernels.mean() == pytest.approx(0, abs=1e-4)
    assert all_kernels.std() == pytest.approx(0.01, rel=0.01)
    # Layers of one shape don't start alike.
    assert len({kernel.ravel()[0] for kernel in kernels}) == len(kernels)


def test_outputs_and_class_names(soundnet8):
    outputs = soundnet8(noise(2, 441_000))
    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        "imagenet": (2, 4, 1000),
        "places": (2, 4, 401),
    }
    assert soundnet8.heads["places"][400] == "scene 400"


def test_features_are_those_of_the_whole_network(soundnet8):
    waveform = noise(1, 250_000)
    features = soundnet8.features(["pool5", "conv7", "conv8", "places"])(waveform)
    assert features["pool5"].shape[-1] == 256
    assert features["conv7"].shape[-1] == 1024
    assert np.min(features["conv7"]) == 0  # after ReLU
    logits = soundnet8(waveform)
    joined = np.concatenate([logits["imagenet"], logits["places"]], -1)
    np.testing.assert_array_equal(features["conv8"], joined)
    np.testing.assert_array_equal(features["places"], logits["places"])
    with pytest.raises(ValueError, match="no layer 'conv9'; choose among conv1, pool1"):
        soundnet8.features(["conv9"])


def test_a_shorter_clip_in_a_batch_changes_nothing_of_the_others(soundnet8):
    waveform = noise(3, 220_500)
    together = soundnet8(waveform)["places"]
    alone = soundnet8(waveform[1:2])["places"]
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_too_short_a_waveform_is_refused_with_advice(soundnet8):
    with pytest.raises(ValueError, match=r"209373 samples are too short.*209374.*tile_to"):
        soundnet8(noise(1, 209_373))
    assert soundnet8(noise(1, 209_374))["places"].shape == (1, 1, 401)


@pytest.mark.parametrize(
    ("depth", "heads", "message"),
    [
        (7, HEADS, "depth is 7; 8 or 5 or 18 is wanted"),
        (8, {}, "without heads"),
        (8, {"a/b": ["x"]}, "can't name a head"),
        (8, {"conv8": ["x"]}, "can't name a head"),
        (8, {"a": []}, "has no classes"),
        (8, {"a": ["x"]}, "embeddings b are no heads"),
    ],
)
def test_networks_that_cannot_be(depth, heads, message):
    with pytest.raises(ValueError, match=message):
        SoundNet(depth, heads, embeddings=["b"] if "embeddings" in message else [])


@pytest.mark.parametrize("depth", [8, 5, 18])
def test_a_keras_file_brings_back_the_network_and_its_class_names(depth, tmp_path):
    network = SoundNet(depth, {"animals": ["dog", "Katze", "鳥"], "b": ["x"]})
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, SoundNet)
    assert loaded.depth == depth
    assert loaded.heads == {"animals": ("dog", "Katze", "鳥"), "b": ("x",)}
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in network.weights]
    waveform = noise(1, 230_000)
    np.testing.assert_array_equal(loaded(waveform)["animals"], network(waveform)["animals"])


def test_tiled_repeats_from_the_start():
    assert tile_to(np.array([1, 2, 3]), 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert tile_to(np.arange(5), 3).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="empty"):
        tile_to(np.zeros(0), 3)


JAX_SCRIPT = """
import sys, numpy as np, keras
from trainer import losses
from trainer.network import SoundNet
assert keras.backend.backend() == "jax"
assert "tensorflow" not in sys.modules
model = SoundNet(8, {"a": ["x", "y", "z"]})
waveform = np.random.default_rng(0).normal(0, 20, (2, 441_000)).astype("float32")
assert model(waveform)["a"].shape == (2, 4, 3)
targets = {"a": np.tile(np.float32([1, 0, 0]), (2, 4, 1))}
class Distill(keras.Model):
    def call(self, x, training=None): return model(x, training=training)
    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return losses.distillation_loss(y, y_pred)[0]
trainer = Distill()
trainer.student = model
trainer.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
first = trainer.train_on_batch(waveform, targets)
later = [trainer.train_on_batch(waveform, targets) for _ in range(4)][-1]
assert later < first, (first, later)
assert "tensorflow" not in sys.modules
"""


def test_a_step_of_training_on_the_jax_backend_without_tensorflow():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax isn't installed; it is no dependency")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", JAX_SCRIPT], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
