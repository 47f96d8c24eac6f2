"""The published protocol, number by number."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation import protocol, svm
from trainer.network import SOUNDNET8


def test_a_clip_is_repeated_and_cut_to_ten_seconds():
    five = np.arange(5 * 22050 - 3)
    ten = protocol.fixed_length(five)
    assert len(ten) == 220_500
    np.testing.assert_array_equal(ten[: len(five)], five)
    np.testing.assert_array_equal(ten[len(five) : 2 * len(five)], five)
    np.testing.assert_array_equal(ten[-6:], [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(protocol.fixed_length(np.arange(500_000)), np.arange(220_500))


@pytest.mark.parametrize(
    ("layer", "frames", "window"),
    [
        *(("conv4", 216, 22), ("conv5", 109, 11), ("pool5", 27, 3)),
        *(("conv6", 14, 2), ("conv7", 8, 1), ("conv8", 1, 1)),
    ],
)
def test_a_window_is_a_tenth_of_the_frames_rounded_up(layer, frames, window):
    assert SOUNDNET8.output_steps(layer, 220_500) == frames
    assert protocol.window_frames(frames) == window


@pytest.mark.parametrize(("frames", "window"), [(1, 1), (10, 1), (11, 2), (30, 3), (70, 7)])
def test_whole_tenths_are_not_rounded_up(frames, window):
    assert protocol.window_frames(frames) == window


def test_scenes_are_whole_with_windows_of_five_seconds():
    frames = SOUNDNET8.output_steps("pool5", len(protocol.fixed_length(np.zeros(9), 30)))
    assert frames == 81
    assert protocol.window_frames(frames, protocol.SCENES) == 14
    assert 14 * 256 == 3584


def clips_of(*classes: int, frames: int = 10) -> list[np.ndarray]:
    """Per clip frames that say one of three classes, with a little noise."""
    rng = np.random.default_rng(3)
    return [rng.uniform(0, 0.1, (frames, 3)) + 5 * np.eye(3)[c] for c in classes]


def test_a_clips_decision_values_are_averaged_not_its_votes():
    features = clips_of(0, 1, 2, 0, 1, 2)
    loud = np.tile(5 * np.eye(3)[1], (10, 1))
    loud[:2] = 60 * np.eye(3)[0]  # two windows shout "a", eight say "b"
    labels, folds = ["a", "b", "c", "a", "b", "c", "a"], [1, 1, 1, 2, 2, 2, 3]
    result = protocol.evaluate_fold([*features, loud], labels, folds, 3)
    assert (result.correct, result.clips, result.accuracy) == (1, 1, 100)


def test_two_classes_are_told_apart_as_many_are():
    result = protocol.evaluate_fold(clips_of(0, 1, 0, 1), list("abab"), [1, 1, 2, 2], 2)
    assert (result.correct, result.clips) == (2, 2)
    assert result.said == {2: "a", 3: "b"}


def test_the_tested_fold_is_not_learnt_from():
    features = clips_of(0, 1, 2, 0, 1, 2)
    labels = ["a", "b", "c", "b", "c", "a"]  # fold 2 is labelled wrongly on purpose
    result = protocol.evaluate_fold(features, labels, [1, 1, 1, 2, 2, 2], 2)
    assert result.correct == 0
    assert result.said == {3: "a", 4: "b", 5: "c"}


def test_a_part_may_be_the_test_by_name():
    folds = ["train"] * 3 + ["test"] * 3
    result = protocol.evaluate_fold(clips_of(0, 1, 2, 0, 1, 2), list("abcabc"), folds, "test")
    assert (result.fold, result.accuracy) == ("test", 100)


def test_a_classifier_that_does_not_converge_gives_no_figure(monkeypatch):
    monkeypatch.setattr(svm, "MAX_ROUNDS", 1)
    with pytest.raises(ValueError, match="fold 2: .*didn't converge in 1 rounds.*reach 5"):
        protocol.evaluate_fold(clips_of(0, 1, 2, 0, 1, 2), list("abcabc"), [1, 1, 1, 2, 2, 2], 2)


def test_an_unreadable_clip_counts_as_wrong():
    features = [*clips_of(0, 1, 2, 0, 1), None]
    result = protocol.evaluate_fold(features, list("abcabc"), [1, 1, 1, 2, 2, 2], 2)
    assert (result.correct, result.clips) == (2, 3)
    features = [None, *clips_of(0, 1, 2, 0, 1, 2)]
    result = protocol.evaluate_fold(features, list("aabcabc"), [1, 1, 1, 1, 2, 2, 2], 2)
    assert (result.correct, result.clips) == (3, 3)
