"""conv1's filters: known waveforms have known frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.hears import filters
from trainer.network import SoundNet


def test_a_tone_answers_at_its_frequency():
    time = np.arange(64) / 22050
    tone = filters.describe(3, (np.hanning(64) * np.sin(2 * np.pi * 3000 * time)).astype("f4"))
    assert tone.centre == pytest.approx(3000, abs=15)
    # Half the power of a Hann window is 1.44 of the 22050 / 64 Hz between two bins wide.
    assert tone.bandwidth == pytest.approx(1.44 * 22050 / 63, rel=0.05)
    assert tone.low < 3000 < tone.high
    assert tone.response.max() == 0


def test_a_mean_answers_down_to_zero_and_a_click_to_everything():
    mean = filters.describe(0, np.ones(64, np.float32))
    assert (mean.centre, mean.low) == (0, 0)
    click = np.zeros(64, np.float32)
    click[10] = -2
    everything = filters.describe(1, click)
    assert (everything.low, everything.high) == (0, 11025)
    assert filters.describe(2, np.zeros(64, np.float32)).bandwidth == 11025


def test_a_filter_is_what_the_relu_sees_of_it():
    network = SoundNet(5, {"imagenet": ["cat", "dog"]})
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=(64, 1, 32))
    network.get_layer("conv1").kernel.assign(kernel)
    network.get_layer("bn1").gamma.assign(np.full(32, -3.0))
    network.get_layer("bn1").moving_variance.assign(np.full(32, 4.0))
    found = filters.of_network(network)
    assert sorted(one.unit for one in found) == list(range(32))
    assert [one.centre for one in found] == sorted(one.centre for one in found)
    for one in found:
        np.testing.assert_allclose(one.waveform, -1.5 * kernel[:, 0, one.unit], rtol=1e-4)


def test_the_figure_has_each_filter_twice_and_is_the_same_each_time():
    tones = [np.sin(np.arange(64) * step).astype("f4") for step in (0.1, 0.2, 0.4)]
    found = [filters.describe(unit, tone) for unit, tone in enumerate(tones)]
    svg = filters.figure5(found)
    assert svg.count(b'<g id="axes_') == 6
    assert svg == filters.figure5(found)
