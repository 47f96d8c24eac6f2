"""From features to an accuracy, as the authors did it (their `extract_feat.lua` and SVM scripts).

A clip is repeated to more than 10 s and cut to 10 s. A window of 1 s slides over its features by
one frame; the window's values are flattened, negative ones count as 0. Linear SVMs, one against the
rest, say what each window is; a clip's decision values are averaged over its windows. The data
set's own folds are each the test once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from schemas.waveform import SAMPLE_RATE

CLIP_SECONDS = 10
WINDOW_SECONDS = 1
SVM_C = 0.01


def fixed_length(waveform: np.ndarray) -> np.ndarray:
    """A waveform (samples,) repeated and cut to 10 s: (220500,)."""
    return np.resize(waveform, CLIP_SECONDS * SAMPLE_RATE)


def window_frames(frames: int) -> int:
    """Frames of a window for a clip's frames: ceil(1 s / 10 s x frames); 3 of 27 at pool5."""
    return math.ceil(WINDOW_SECONDS * frames / CLIP_SECONDS)


def windows(features: np.ndarray) -> np.ndarray:
    """A clip's windows, flattened: (frames, channels) -> (windows, window_frames x channels).

    Frame after frame, all channels of a frame together.
    """
    width = window_frames(len(features))
    views = np.lib.stride_tricks.sliding_window_view(np.maximum(features, 0), width, axis=0)
    return views.transpose(0, 2, 1).reshape(len(views), -1)


def svm():
    """The classifier: L2-regularised, squared hinge, C = 0.01, bias 1, one against the rest.

    Solved in the primal, which draws no random numbers.
    """
    from sklearn.svm import LinearSVC

    return LinearSVC(
        penalty="l2",
        loss="squared_hinge",
        C=SVM_C,
        multi_class="ovr",
        fit_intercept=True,
        intercept_scaling=1,
        dual=False,
    )


@dataclass(frozen=True)
class FoldResult:
    """One fold as the test.

    Attributes:
        fold: the data set's number of it.
        correct: clips named rightly.
        clips: clips of the fold, those that couldn't be read included (they count as wrong).
    """

    fold: int
    correct: int
    clips: int

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * self.correct / self.clips


def evaluate_fold(
    features: list[np.ndarray | None], labels: list[str], folds: list[int], test_fold: int
) -> FoldResult:
    """Train on all other folds, test on one.

    Args:
        features: per clip float32 (frames, channels), the same frames for all; None where the clip
            couldn't be read: such a clip can't train, and counts as wrong in its test.
        labels, folds: per clip.

    Raises:
        ValueError: the classifier didn't converge, so that its figure isn't the protocol's.
    """
    train = [i for i, f in enumerate(folds) if f != test_fold and features[i] is not None]
    test = [i for i, f in enumerate(folds) if f == test_fold and features[i] is not None]
    rows = {i: windows(features[i]) for i in (*train, *test)}
    classifier = svm()
    classifier.fit(
        np.concatenate([rows[i] for i in train]),
        np.concatenate([[labels[i]] * len(rows[i]) for i in train]),
    )
    # Not by catching the warning: warning filters are shared by the threads that train folds.
    if classifier.n_iter_ >= classifier.max_iter:
        raise ValueError(
            f"the classifier of fold {test_fold} didn't converge in {classifier.max_iter} rounds; "
            f"the features reach {max(rows[i].max() for i in train):.3g}, perhaps out of scale"
        )
    correct = 0
    for i in test:
        decision = classifier.decision_function(rows[i])
        if decision.ndim == 1:  # of two classes scikit-learn gives the second's alone
            decision = np.stack([-decision, decision], axis=1)
        correct += classifier.classes_[decision.mean(axis=0).argmax()] == labels[i]
    return FoldResult(test_fold, int(correct), folds.count(test_fold))
