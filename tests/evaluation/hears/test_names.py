"""Names of units: what was planted is found, and chance is told apart from it."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.hears import names
from evaluation.hears.names import Agreement


def heard(videos: int, follows: dict[int, int], units: int = 30, classes: int = 12, seed: int = 0):
    """An agreement over videos of 4 label steps; `follows` says which unit follows which class."""
    draw = np.random.default_rng(seed)
    agreement = Agreement({"conv6": units, "conv7": 2}, classes)
    activations, probabilities = [], []
    for video in range(videos):
        probs = draw.dirichlet([0.1] * classes, 4)
        means = draw.exponential(size=(4, units))
        for unit, class_ in follows.items():
            means[:, unit] = 3 * probs[:, class_] + draw.exponential(0.1, 4)
        other = np.stack([means[:, 0], np.zeros(4)], axis=1)  # the last unit is never moved
        agreement.add(f"video {video}", {"conv6": means, "conv7": other}, probs.astype(np.float16))
        activations.append(means)
        probabilities.append(probs.astype(np.float16))
    return agreement, np.concatenate(activations), np.concatenate(probabilities)


def test_a_unit_that_follows_a_class_is_named_by_it():
    agreement, *_ = heard(200, {3: 7, 11: 2})
    found, chance = agreement.names(top=3)
    for unit, class_ in ((3, 7), (11, 2)):
        best = found["conv6"][unit][0]
        assert best.index == class_
        assert best.correlation > 0.8 > chance["conv6"]
    others = [unit[0].correlation for n, unit in enumerate(found["conv6"]) if n not in (3, 11)]
    assert np.mean(np.array(others) > chance["conv6"]) < 0.15
    assert found["conv7"][0] == found["conv6"][0]  # each layer has its own units' names
    assert found["conv7"][1] == []


def test_the_correlation_is_pearsons_of_the_logarithm():
    agreement, activations, probabilities = heard(150, {0: 1})
    found, _ = agreement.names(top=1)
    assert agreement.steps == 600 > 2 * names.BLOCK
    for unit in range(5):
        best = found["conv6"][unit][0]
        expected = np.corrcoef(np.log1p(activations[:, unit]), probabilities[:, best.index])[0, 1]
        assert best.correlation == pytest.approx(expected, abs=1e-6)


def test_a_class_of_two_videos_is_no_name():
    agreement = Agreement({"conv7": 1}, 2)
    for video in range(6):
        rare = 0.9 if video < 2 else 0.1
        means = {"conv7": np.array([[rare], [rare]], np.float32)}
        agreement.add(f"{video}", means, np.array([[rare, 1 - rare]] * 2))
    assert agreement.named.tolist() == [1]
    assert all(name.index != 0 for name in agreement.names(top=2)[0]["conv7"][0])


def test_a_unit_of_two_videos_has_no_name():
    agreement = Agreement({"conv7": 1}, 2)
    for video in range(8):
        class_ = video % 2
        moved = 1.0 if video in (0, 2) else 0.0
        agreement.add(f"{video}", {"conv7": np.full((3, 1), moved)}, np.eye(2)[[class_] * 3])
    assert agreement.named.tolist() == [0, 1]
    assert agreement.names(top=2) == ({"conv7": [[]]}, {"conv7": 0.0})


def test_without_a_class_that_may_be_one_there_are_no_names():
    agreement = Agreement({"conv7": 2}, 3)
    agreement.add("a", {"conv7": np.ones((1, 2))}, np.eye(3)[:1])
    assert agreement.names(top=3) == ({"conv7": [[], []]}, {})
