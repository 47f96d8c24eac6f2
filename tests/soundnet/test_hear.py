"""SoundNet by HEAR's interface: what its validator checks, and what it doesn't."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import media
from soundnet import hear

DOG = "esc10/audio/1-100032-A-0.ogg"
FIRST = {"conv4": -273.5, "pool5": 2286.5}
"""By layer of the 8-layer network the centre of what its first step hears, in samples."""


@pytest.fixture(scope="module")
def model(published_weights) -> hear.HearModel:
    return hear.load_model(str(published_weights))


@pytest.fixture(scope="module")
def dog(data_dir) -> np.ndarray:
    """A real sound of 5 s as HEAR gives it, float32 (samples,), -1..1."""
    return media.load_waveform(data_dir / DOG) / 256


def sounds(seconds: float, count: int = 1) -> tf.Tensor:
    rng = np.random.default_rng(7)
    return tf.constant(rng.uniform(-1, 1, (count, round(seconds * 22050))), tf.float32)


def test_the_model_says_what_it_takes_and_gives(model, lively_model):
    assert isinstance(model, tf.Module)
    assert model.sample_rate == 22050
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (256, 128)
    other = hear.HearModel(lively_model, timestamp_layer="places")
    assert (other.scene_embedding_size, other.timestamp_embedding_size) == (256, 2)
    with pytest.raises(ValueError, match="no layer 'pool9'; choose among conv1"):
        hear.HearModel(lively_model, "pool9")


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, 23), (4.0, 87), (20.0, 432)])
def test_timestamps_are_exact_and_regular(model, seconds, steps):
    values, times = hear.get_timestamp_embeddings(sounds(seconds, 2), model)
    assert (values.dtype, times.dtype) == (tf.float32, tf.float64)
    assert values.shape == (2, steps, model.timestamp_embedding_size)
    expected = (FIRST["conv4"] + 1024 * np.arange(steps)) / 22050 * 1000
    np.testing.assert_allclose(times, [expected, expected], rtol=1e-12)
    scenes = hear.get_scene_embeddings(sounds(seconds, 2), model)
    assert scenes.dtype == tf.float32
    assert scenes.shape == (2, model.scene_embedding_size)


def test_steps_are_at_most_50_ms_apart(model, lively_model):
    for one in (model, hear.HearModel(lively_model)):
        _, times = hear.get_timestamp_embeddings(sounds(1), one)
        assert 20 < np.diff(times).max() <= 50


def test_a_sound_too_short_for_a_step_is_repeated_and_has_one_in_its_middle(published):
    model = hear.HearModel(published, timestamp_layer="pool5")
    short = sounds(0.1, 3)
    values, times = hear.get_timestamp_embeddings(short, model)
    assert values.shape == (3, 1, 256)
    np.testing.assert_array_equal(times, np.full((3, 1), 50.0))
    repeated = tf.constant(np.resize(short[0], (1, 4574)))
    values_of_repeated, times = hear.get_timestamp_embeddings(repeated, model)
    np.testing.assert_array_equal(values[0], values_of_repeated[0])
    assert float(times[0, 0]) == pytest.approx(FIRST["pool5"] / 22.05, rel=1e-12)


def test_a_sound_has_one_embedding_whatever_its_batch(model, dog):
    noise = sounds(len(dog) / 22050).numpy()[0]
    for embeddings in (
        hear.get_scene_embeddings,
        lambda audio, model: hear.get_timestamp_embeddings(audio, model)[0],
    ):
        alone = embeddings(tf.constant(dog[None]), model)[0]
        among = embeddings(tf.constant(np.stack([noise, dog, -dog, np.zeros_like(dog)])), model)[1]
        np.testing.assert_array_equal(alone, among)


def test_it_is_what_the_package_says_of_the_file(model, published, data_dir, dog):
    embedding = published.embed(data_dir / DOG)
    scenes = hear.get_scene_embeddings(tf.constant(dog[None]), model)
    np.testing.assert_array_equal(scenes, embedding.mean()[None])
    steps = hear.HearModel(published, timestamp_layer="pool5")
    values, times = hear.get_timestamp_embeddings(tf.constant(dog[None]), steps)
    np.testing.assert_array_equal(values, embedding.values[None])
    np.testing.assert_array_equal(times, embedding.times[None] * 1000)


def test_silence_has_an_embedding_too(model):
    silence = tf.zeros((1, 22050))
    assert np.isfinite(hear.get_scene_embeddings(silence, model)).all()
    assert np.isfinite(hear.get_timestamp_embeddings(silence, model)[0]).all()


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (np.zeros(22050, np.float32), r"one sound is audio\[None\]"),
        (np.zeros((2, 0), np.float32), "shape \\(2, 0\\)"),
        (np.zeros((0, 22050), np.float32), "shape \\(0, 22050\\)"),
        (np.zeros((1, 22050), np.int16), "floats"),
        (np.full((1, 22050), 256, np.float32), "divide by full scale"),
        (np.full((1, 22050), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_such_audio_is_refused(model, audio, words):
    with pytest.raises(ValueError, match=words):
        hear.get_scene_embeddings(tf.constant(audio), model)
    with pytest.raises(ValueError, match=words):
        hear.get_timestamp_embeddings(tf.constant(audio), model)
