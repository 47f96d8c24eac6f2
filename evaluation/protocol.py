"""From features to an accuracy, as the authors did it (their `extract_feat.lua` and SVM scripts).

A clip is repeated and cut to a fixed length (10 s; scenes 30 s). A window (1 s; scenes 5 s) slides
over its features by one frame; the window's values are flattened. Linear SVMs, one against the
rest, say what each window is; a clip's decision values are averaged over its windows. The data
set's own folds are each the test once.

The authors drop negative values. Hidden layers have none, as they end in ReLU. Of conv8, whose
logits may all be negative (those of the published network for 10 s of sound are: -428 to -70),
nothing would be left: its values are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation import svm
from schemas.waveform import SAMPLE_RATE

CLIP_SECONDS = 10
WINDOW_SECONDS = 1
SVM_C = 0.01


@dataclass(frozen=True)
class Lengths:
    """Seconds of a clip and of a window."""

    clip: float = CLIP_SECONDS
    window: float = WINDOW_SECONDS


ESC = Lengths()
SCENES = Lengths(30, 5)


def fixed_length(waveform: np.ndarray, seconds: float = CLIP_SECONDS) -> np.ndarray:
    """A waveform (samples,) repeated and cut to so many seconds; 10 s: (220500,)."""
    return np.resize(waveform, round(seconds * SAMPLE_RATE))


def window_frames(frames: int, lengths: Lengths = ESC) -> int:
    """Frames of a window for a clip's frames: ceil(1 s / 10 s x frames); 3 of 27 at pool5."""
    return math.ceil(lengths.window * frames / lengths.clip)


@dataclass(frozen=True)
class FoldResult:
    """One fold as the test.

    Attributes:
        fold: the data set's name of it.
        correct: clips named rightly.
        clips: clips of the fold, those that couldn't be read included (they count as wrong).
        said: by a clip's place in the data set what it was named; those that could be read.
        c: the SVM's C, where it was chosen.
    """

    fold: int | str
    correct: int
    clips: int
    said: Mapping[int, str] = field(default_factory=dict)
    c: float | None = None

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * self.correct / self.clips


def evaluate_fold(
    features: Sequence[np.ndarray | None],
    labels: Sequence[str],
    folds: Sequence[int | str],
    test_fold: int | str,
    lengths: Lengths = ESC,
) -> FoldResult:
    """Train on all other folds, test on one.

    Args:
        features: per clip float32 (frames, channels), the same frames for all; None where the clip
            couldn't be read: such a clip can't train, and counts as wrong in its test.
        labels, folds: per clip.

    Raises:
        ValueError: the classifier didn't converge, so that its figure isn't the protocol's.
    """
    train, test = split(features, folds, test_fold)
    try:
        clips = np.stack([*train.values()])
        width = window_frames(clips.shape[1], lengths)
        classifier = svm.train(clips, [labels[i] for i in train], width, SVM_C)
    except ValueError as error:
        raise ValueError(f"fold {test_fold}: {error}") from error
    said = {i: classifier.name(values) for i, values in test.items()}
    return result(said, labels, folds, test_fold)


def split(
    features: Sequence[np.ndarray | None], folds: Sequence[int | str], test_fold: int | str
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The clips to learn from, and those to name: their features by their places.

    Both are without what couldn't be read.
    """
    there = {i: values for i, values in enumerate(features) if values is not None}
    return (
        {i: values for i, values in there.items() if folds[i] != test_fold},
        {i: values for i, values in there.items() if folds[i] == test_fold},
    )


def result(
    said: Mapping[int, str],
    labels: Sequence[str],
    folds: Sequence[int | str],
    test_fold: int | str,
    c: float | None = None,
) -> FoldResult:
    """How right it was what was said."""
    correct = sum(name == labels[i] for i, name in said.items())
    return FoldResult(test_fold, correct, folds.count(test_fold), said, c)
