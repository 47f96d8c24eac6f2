"""The SVM on windows, against LIBLINEAR on the same windows written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from evaluation import svm

RNG = np.random.default_rng(5)
LABELS = [*"abcabcabcabc"]
CLIPS = RNG.gamma(0.5, 2, (12, 9, 4)).astype(np.float32)
for place, label in enumerate(LABELS):
    CLIPS[place, 2:6, "abc".index(label)] += 3


def written_out(clips: np.ndarray, width: int) -> np.ndarray:
    """(clips, windows, values): each window as a row, frame after frame."""
    views = np.lib.stride_tricks.sliding_window_view(clips, width, axis=1)
    return views.transpose(0, 1, 3, 2).reshape(*views.shape[:2], -1)


@pytest.mark.parametrize("c", [0.01, 1])
@pytest.mark.parametrize("width", [1, 3, 9])
def test_it_finds_what_liblinear_finds(width, c, monkeypatch):
    monkeypatch.setattr(svm, "TOLERANCE", 1e-8)
    rows = written_out(CLIPS, width)
    theirs = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000)
    theirs.fit(rows.reshape(-1, rows.shape[2]), np.repeat(LABELS, rows.shape[1]))
    ours = svm.train(CLIPS, LABELS, width, c)
    assert ours.classes == tuple(theirs.classes_)
    np.testing.assert_allclose(ours.weights.reshape(-1, 3).T, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.bias, theirs.intercept_, atol=1e-5)
    mean = theirs.decision_function(rows[4]).mean(0)
    np.testing.assert_allclose(ours.decision(CLIPS[4]), mean, atol=1e-4)


def test_it_minimises_the_papers_objective(monkeypatch):
    """Per class 1/2 |(w, b)|^2 + C sum max(0, 1 - y f(x))^2: its gradient is 0 at the solution."""
    monkeypatch.setattr(svm, "TOLERANCE", 1e-8)
    found = svm.train(CLIPS, LABELS, 3, 0.01)
    rows = written_out(CLIPS, 3).reshape(-1, 12).astype(float)
    ones = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)  # bias 1
    for number in range(3):
        w = np.append(found.weights[..., number].ravel(), found.bias[number])
        y = np.where(np.repeat(LABELS, 7) == found.classes[number], 1, -1)
        slack = np.maximum(0, 1 - y * (ones @ w))
        np.testing.assert_allclose(w - 2 * 0.01 * ((slack * y) @ ones), 0, atol=1e-6)


def test_clips_are_taken_some_at_a_time_with_the_same_result(monkeypatch):
    whole = svm.train(CLIPS, LABELS, 3, 0.01)
    monkeypatch.setattr(svm, "BLOCK_BYTES", 1)  # a clip at a time
    parts = svm.train(CLIPS, LABELS, 3, 0.01)
    np.testing.assert_allclose(parts.weights, whole.weights, atol=1e-6)


def test_the_same_clips_give_the_same_classifier():
    first, second = (svm.train(CLIPS, LABELS, 3, 0.01) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_two_classes_are_told_apart_as_many_are():
    two = [place for place, label in enumerate(LABELS) if label != "c"]
    found = svm.train(CLIPS[two], [LABELS[i] for i in two], 3, 0.01)
    assert [found.name(CLIPS[i]) for i in two] == [LABELS[i] for i in two]


def test_one_class_is_nothing_to_tell_apart():
    with pytest.raises(ValueError, match="clips of 1 classes to learn from"):
        svm.train(CLIPS, ["a"] * 12, 3, 0.01)


def test_one_that_does_not_converge_is_none(monkeypatch):
    monkeypatch.setattr(svm, "MAX_ROUNDS", 1)
    with pytest.raises(ValueError, match="didn't converge in 1 rounds; the features reach"):
        svm.train(CLIPS, LABELS, 3, 0.01)
