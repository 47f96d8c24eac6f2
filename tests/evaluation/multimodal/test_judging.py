"""SVMs on made-up senses: what each of them knows, and what both do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from evaluation.clips import Place
from evaluation.errors import DatasetError
from evaluation.multimodal import judging, maps
from evaluation.multimodal.judging import Senses
from evaluation.multimodal.labels import Label
from evaluation.multimodal.videos import CLASSES, Video

LABELS = ("quiet dog", "loud dog", "quiet cat", "loud cat")


def videos(number: int, noise: float = 0.1) -> list[Video]:
    """Videos whose loudness is heard alone, and whose animal is seen alone."""
    draw = np.random.default_rng(0)
    made = []
    for at in range(number):
        label = LABELS[at % 4]
        heard = np.append("loud" in label, draw.normal(size=20)) + draw.normal(0, noise, 21)
        seen = np.append("dog" in label, draw.normal(size=5)) + draw.normal(0, noise, 6)
        # conv8 says nothing, and one of its values is always the same.
        made.append(
            Video(
                f"{at:03d}",
                Label(label, label.split()[1]),
                Place(0, at),
                {"conv7": 9 * heard, "conv8": np.append(draw.normal(size=3), 1.0)},
                {CLASSES: np.abs(seen)},
            )
        )
    return made


def right(judgement, of) -> float:
    answers = zip(judgement.answers, of, strict=True)
    return float(np.mean([answer == video.label.label for answer, video in answers]))


def test_each_sense_knows_its_half_and_both_know_all():
    made = videos(120)
    every = [Senses("conv7"), Senses("conv8"), Senses("", CLASSES), Senses("conv7", CLASSES)]
    sound, nothing, vision, both = judging.judge(made, every, folds=5)
    assert 0.35 < right(sound, made) < 0.7
    assert right(nothing, made) < 0.45
    assert 0.35 < right(vision, made) < 0.7
    assert right(both, made) > 0.9
    assert [len(one.costs) for one in (sound, vision, both)] == [5, 5, 5]
    assert {"loud" in answer for answer in sound.answers} == {True, False}
    hears = zip(sound.answers, made, strict=True)
    assert (
        np.mean([("loud" in said) == ("loud" in video.label.label) for said, video in hears]) > 0.9
    )
    assert judging.judge(made, every[:1], folds=5)[0] == sound  # nothing is random


def test_the_axes_of_the_training_videos_change_no_answer():
    """The SVM in their span is the SVM itself: held against scikit-learn's on all values."""
    from sklearn.svm import LinearSVC

    made = videos(60)
    noise = np.random.default_rng(1).normal(size=(60, 100))  # more values than videos
    blocks = [np.append(np.stack([video.heard["conv7"] for video in made]), noise, axis=1)]
    labels = np.array([video.label.label for video in made])
    train, test = np.arange(60)[12:], np.arange(12)
    said, cost = judging._fold(blocks, labels, train, test)
    mean, spread = blocks[0][train].mean(axis=0), blocks[0][train].std(axis=0)
    values = (blocks[0] - mean) / spread / np.sqrt(121)
    svm = LinearSVC(dual=False, C=cost, tol=1e-8).fit(values[train], labels[train])
    assert svm.predict(values[test]).tolist() == said.tolist()


def test_small_labels_are_left_out_and_told():
    made = videos(40)[:22]  # 6, 6, 5, 5
    kept, small = judging.enough(made, folds=6)
    assert small == {"loud cat": 5, "quiet cat": 5}
    assert len(kept) == 12
    with pytest.raises(DatasetError, match=r"0 of 4 labels have 7 videos or more.*loud dog 6"):
        judging.enough(made, folds=7)


@pytest.mark.parametrize(
    ("correct", "number", "low", "high"),
    [(50, 100, 40.4, 59.6), (0, 10, 0, 27.8), (8, 8, 67.6, 100)],
)
def test_the_interval_is_wilsons(correct, number, low, high):
    assert judging.interval(correct, number) == pytest.approx((low, high), abs=0.1)


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(0, 0, 1), (5, 5, 1), (6, 0, 2 / 64), (9, 1, 22 / 1024)]
)
def test_mcnemars_test_is_exact(better, worse, p):
    assert judging.by_chance(better, worse) == pytest.approx(p)


def test_a_videos_clips_are_averaged_by_what_each_has():
    video = Video("a", Label("x", "x"), Place(0, 0))
    video.add({"conv7": np.array([1.0])}, {CLASSES: np.array([0.2, 0.8])}, steps=1)
    video.add({"conv7": np.array([3.0])}, {CLASSES: np.array([0.8, 0.2])}, steps=3)
    assert video.heard["conv7"] == pytest.approx([2.0])
    np.testing.assert_allclose(video.seen[CLASSES], [0.65, 0.35])


@pytest.mark.slow
def test_maps_keep_what_is_alike_together_and_are_the_same_each_time():
    made = videos(24, noise=0.01)
    for video in made:
        video.seen[CLASSES] = np.array([0.99, 0.01] if "dog" in video.label.label else [0.01, 0.99])
        video.seen[CLASSES] += 1e-3 * int(video.video_id)
    places = maps.seen(made, CLASSES)
    assert places.shape == (24, 2)
    assert np.abs(places).max() == pytest.approx(1)
    dogs = np.array(["dog" in video.label.label for video in made])
    apart = np.linalg.norm(places[dogs].mean(axis=0) - places[~dogs].mean(axis=0))
    assert apart > 2 * max(places[dogs].std(), places[~dogs].std()) or apart > 0.8
    np.testing.assert_array_equal(places, maps.seen(made, CLASSES))
    groups = [video.label.group for video in made]
    svg = maps.figure4({"seen": places, "heard": places}, groups)
    assert svg == maps.figure4({"seen": places, "heard": places}, groups)
    assert svg.count(b"<use") >= 48


def test_the_largest_groups_have_colours_of_their_own():
    groups = [f"g{n}" for n in range(14) for _ in range(20 - n)]
    colours = maps.colours(groups)
    assert list(colours)[:2] == ["g0", "g1"]
    assert len(set(list(colours.values())[:9])) == 9
    assert all(a == b for a, b in pairwise(list(colours.values())[9:]))
