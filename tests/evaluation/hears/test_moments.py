"""The greatest moments of each unit, against all of them sorted."""

from __future__ import annotations

import numpy as np

from evaluation.clips import Place
from evaluation.hears.moments import Moments


def test_the_greatest_of_each_clip_are_kept_in_order_and_one_a_clip():
    draw = np.random.default_rng(0)
    clips = [draw.normal(size=(draw.integers(1, 9), 5)).astype(np.float32) for _ in range(40)]
    moments = Moments(units=5, top=4)
    for number, values in enumerate(clips):
        moments.offer(values, Place(number % 3, number))
    for unit in range(5):
        best = sorted(
            ((float(v[:, unit].max()), int(v[:, unit].argmax()), n) for n, v in enumerate(clips)),
            reverse=True,
        )[:4]
        found = [(m.value, m.step, m.place.offset) for m in moments.of(unit)]
        assert found == best
        assert all(m.place.shard == m.place.offset % 3 for m in moments.of(unit))


def test_of_equal_answers_the_earlier_clip_stays():
    moments = Moments(units=1, top=2)
    for number in range(4):
        moments.offer(np.ones((3, 1), np.float32), Place(0, number))
    assert [(m.place.offset, m.step) for m in moments.of(0)] == [(0, 0), (1, 0)]


def test_a_unit_that_nothing_moves_has_no_moments():
    moments = Moments(units=2, top=3)
    moments.offer(np.array([[0.0, 2.0]], np.float32), Place(0, 0))
    assert moments.of(0, above=0) == []
    assert [m.value for m in moments.of(1, above=0)] == [2.0]
    assert len(moments.of(0)) == 1  # of a class the least probability counts too
