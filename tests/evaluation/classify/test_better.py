"""The better protocol: what it sees of a clip, and how it chooses C."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.classify import better

RNG = np.random.default_rng(0)


def data(clips: int, values: int, noise: float = 1.0) -> tuple[list[np.ndarray], list[str]]:
    labels = [*"abc" * clips][:clips]
    return [
        RNG.normal(0, noise, values) + 2 * np.eye(values)["abc".index(label)] for label in labels
    ], labels


def test_a_clip_is_its_mean_and_its_deviation_over_time():
    frames = np.array([[1, 5], [3, 5]], np.float32)
    np.testing.assert_allclose(better.pool(frames), [2, 5, 1, 0])


def test_whole_folds_are_held_out_to_choose_c():
    names, folds = np.array([*"aabb" * 6]), [1, 2, 3, 4, 5, 6] * 4
    seen = []
    for learn, held_out in better.inner_splits(names, folds):
        kept = {folds[i] for i in held_out}
        assert not kept & {folds[i] for i in learn}
        seen += kept
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]


def test_without_folds_a_part_of_each_class_is_held_out():
    names = np.array([*"aab" * 8])
    for _, held_out in better.inner_splits(names, ["train"] * 24):
        assert sorted(names[held_out]) == [*"aaaabb"]


def test_c_is_chosen_without_the_test(monkeypatch):
    rows, labels = data(60, 8)
    folds = [number // 12 for number in range(60)]
    seen = []
    choose = better.choose_c
    monkeypatch.setattr(
        better, "choose_c", lambda r, n, f, s: seen.append((len(r), set(f))) or choose(r, n, f, s)
    )
    found = better.evaluate_fold(rows, labels, folds, 2, (8,))
    assert seen == [(48, {0, 1, 3, 4})]
    assert found.c in better.CHOICES_OF_C
    assert found.accuracy > 60
    # Other test clips change neither what is learnt nor, so, what is said of the same one.
    other = [row if fold != 2 else -row for row, fold in zip(rows, folds, strict=True)]
    other[24] = rows[24]
    again = better.evaluate_fold(other, labels, folds, 2, (8,))
    assert (again.c, again.said[24]) == (found.c, found.said[24])


def test_of_many_values_only_the_turn_that_the_clips_span_is_computed_with():
    rows, labels = data(12, 40)
    rows, names, tested = np.stack(rows), np.array(labels), RNG.normal(0, 1, (5, 40))
    turned, turned_tested = better._turned(rows, tested)
    assert turned.shape == (12, 12)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-9)
    np.testing.assert_allclose(turned_tested @ turned.T, tested @ rows.T, atol=1e-9)
    wide = np.stack([better._said(rows, names, tested, (c,), (40,))[0] for c in (0.1, 10)])
    assert wide.shape == (2, 5)


def test_of_several_layers_each_counts_alike():
    rows = RNG.normal(5, [1, 10, 100, *[3] * 60], (400, 63))
    scaled, _ = better._standardised(rows, rows, (3, 60))
    lengths = [(scaled[:, part] ** 2).sum(1).mean() for part in (slice(3), slice(3, None))]
    np.testing.assert_allclose(lengths, [0.5, 0.5])


def test_values_that_never_differ_are_no_trouble():
    rows = [np.array([1.0, 7.0]) if label == "a" else np.array([2.0, 7.0]) for label in "ab" * 6]
    found = better.evaluate_fold(rows, [*"ab" * 6], [n // 4 for n in range(12)], 1, (2,))
    assert found.accuracy == 100
    silent = [np.zeros(30)] * 12
    assert (
        better.evaluate_fold(silent, [*"ab" * 6], [n // 4 for n in range(12)], 1, (30,)).accuracy
        == 50
    )


def test_what_can_not_be_read_is_neither_learnt_from_nor_right():
    rows, labels = data(30, 8, noise=0.1)
    rows[0] = rows[1] = None
    folds = [0] * 10 + [1] * 10 + [2] * 10
    found = better.evaluate_fold(rows, labels, folds, 0, (8,))
    assert (found.correct, found.clips) == (8, 10)
    assert better.evaluate_fold(rows, labels, folds, 1, (8,)).correct == 10


def test_one_class_is_nothing_to_tell_apart():
    with pytest.raises(ValueError, match="fold 1: fewer than two classes"):
        better.evaluate_fold([np.ones(3)] * 4, [*"aabb"], [0, 0, 1, 1], 1, (3,))
