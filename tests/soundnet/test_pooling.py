"""Steps pooled over windows, and over the whole sound."""

from __future__ import annotations

import numpy as np
import pytest

from soundnet import Embedding, Windows, pool

RATE = 22050
HOP, FIRST = 8192, 2286.5
"""Samples: those of pool5."""


def embedding(samples: int) -> Embedding:
    """Of a layer like pool5, its values counting the steps."""
    steps = max(1, (samples - 4574) // HOP + 1)
    centres = FIRST + HOP * np.arange(steps)
    return Embedding(
        times=centres / RATE,
        hop_seconds=HOP / RATE,
        hears_seconds=17438 / RATE,
        duration=samples / RATE,
        tiled=False,
        layer="pool5",
        values=np.stack([np.arange(steps), -np.arange(steps)], axis=1).astype(np.float32),
    )


def openl3_frames(samples: int, window: int, hop: int, centred: bool) -> int:
    """How many frames OpenL3 0.4.2 makes, as its `core.py` has it."""
    length = samples + (window // 2 if centred else 0)
    length = max(length, window)
    length += -(length - window) % hop
    return 1 + (length - window) // hop


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("samples", [1, 4000, RATE, RATE + 1, 221_101, 10 * RATE, 1_234_567])
@pytest.mark.parametrize(("window", "hop"), [(1.0, 0.1), (0.5, 0.5), (2.0, 0.333), (1.0, 3.0)])
def test_windows_are_those_of_openl3(samples, window, hop, centred):
    windows = Windows(window, hop, centred)
    pooled = pool(embedding(samples), "mean", windows)
    count = openl3_frames(samples, round(window * RATE), round(hop * RATE), centred)
    first = 0 if centred else round(window * RATE)  # half samples
    expected = first + 2 * round(hop * RATE) * np.arange(count)
    np.testing.assert_array_equal(pooled.centre_half_samples, expected)
    np.testing.assert_array_equal(pooled.times, expected / 44100)
    assert pooled.hop_seconds == round(hop * RATE) / RATE


def test_times_do_not_drift_in_three_hours():
    pooled = pool(embedding(3 * 3600 * RATE), "max", Windows(1, 0.1, centred=True))
    assert pooled.times[-1] == (len(pooled.times) - 1) / 10
    steps = embedding(3 * 3600 * RATE)
    assert steps.centre_half_samples[-1] == 2 * FIRST + 2 * HOP * (len(steps.times) - 1)


@pytest.mark.parametrize("centred", [False, True])
def test_a_window_has_the_steps_whose_centres_lie_in_it(centred):
    sound = embedding(10 * RATE)
    pooled = pool(sound, "mean", Windows(1, 0.1, centred))
    for time, value in zip(pooled.times, pooled.values, strict=True):
        inside = (time - 0.5 <= sound.times) & (sound.times < time + 0.5)
        if not inside.any():  # at the ends: the nearest
            inside[np.abs(sound.times - time).argmin()] = True
        np.testing.assert_array_equal(value, sound.values[inside].mean(axis=0, dtype=float))


def test_a_step_at_a_windows_start_belongs_to_it_and_one_at_its_end_does_not():
    sound = embedding(10 * RATE)
    windows = Windows(2 * HOP / RATE, HOP / RATE)
    at = Embedding(**{**vars(sound), "times": (sound.centre_half_samples - 2 * FIRST) / 44100})
    pooled = pool(at, "mean", windows)  # steps at 0, HOP, 2 HOP ...
    np.testing.assert_array_equal(pooled.values[:3, 0], [0.5, 1.5, 2.5])


def test_kinds_of_pooling():
    sound = embedding(10 * RATE)
    steps = sound.values[:, 0]
    (mean,) = pool(sound).values
    (largest,) = pool(sound, "max").values
    (both,) = pool(sound, "mean+std").values
    np.testing.assert_allclose(mean, [steps.mean(), -steps.mean()])
    np.testing.assert_array_equal(mean, sound.mean())
    np.testing.assert_array_equal(largest, [steps.max(), 0])
    np.testing.assert_allclose(both, [*mean, steps.std(), steps.std()], rtol=1e-6)
    whole = pool(sound)
    assert whole.times == [5.0]
    assert whole.values.dtype == np.float32
    with pytest.raises(ValueError, match="no pooling 'median'; choose one of mean, max, mean"):
        pool(sound, "median")


def test_windows_that_would_miss_steps_are_refused():
    with pytest.raises(ValueError, match=r"shorter than the 0\.372 s from one step of pool5"):
        pool(embedding(RATE), "mean", Windows(0.3, 0.1))
    for wrong in ((0, 1), (1, 0), (-1, 1), (1, float("nan"))):
        with pytest.raises(ValueError, match="1 sample at least is wanted"):
            Windows(*wrong)
