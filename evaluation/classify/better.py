"""A better way from features to an accuracy than the published one.

A clip is the mean and the standard deviation over time of what a layer says, or of what several
say, one after the other. Each value is brought to mean 0 and deviation 1 on the clips to learn
from; of several layers each counts alike, however many values it has. The C of the linear SVM is
chosen by cross-validation among these clips alone, whole folds held out in turn (without folds a
part of each class), and never by the fold that is the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from evaluation import protocol
from evaluation.protocol import FoldResult

CHOICES_OF_C = (0.01, 0.1, 1.0, 10.0)
"""For vectors of about length 1. Of equally good ones the smallest is taken."""

MAX_ITER = 10_000

INNER_SPLITS = 4
"""Times that a part of the training clips is held out to choose C, at most."""


def pool(features: np.ndarray) -> np.ndarray:
    """A clip's frames (frames, channels) as mean and standard deviation: (2 x channels,)."""
    return np.concatenate([features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)])


def evaluate_fold(
    pooled: list[np.ndarray | None],
    labels: list[str],
    folds: list[int | str],
    test_fold: int | str,
    sizes: tuple[int, ...],
) -> FoldResult:
    """Choose C and train on all other folds, test on one.

    Args:
        pooled: per clip (values,); None where it couldn't be read, see `protocol.evaluate_fold`.
        sizes: of these values, how many are of each layer.
        labels, folds: per clip.

    Raises:
        ValueError: fewer than two classes to learn from.
    """
    train, test = protocol.split(pooled, folds, test_fold)
    names = np.array([labels[i] for i in train])
    if len(set(names)) < 2:
        raise ValueError(f"fold {test_fold}: fewer than two classes are left to learn from")
    rows = np.stack([*train.values()])
    c = choose_c(rows, names, [folds[i] for i in train], sizes)
    said = {}
    if test:
        tested = np.stack([*test.values()])
        said = dict(zip(test, map(str, _said(rows, names, tested, (c,), sizes)[0]), strict=True))
    return protocol.result(said, labels, folds, test_fold, c)


def choose_c(
    rows: np.ndarray, names: np.ndarray, folds: list[int | str], sizes: tuple[int, ...]
) -> float:
    """The C of `CHOICES_OF_C` that names most clips rightly that are held out in turn.

    Args:
        rows: (clips, values), to learn from.
        names: (clips,), their classes.
    """
    right = np.zeros(len(CHOICES_OF_C), int)
    for learn, held_out in inner_splits(names, folds):
        if len(set(names[learn])) < 2:
            continue  # nothing to tell apart is left
        said = _said(rows[learn], names[learn], rows[held_out], CHOICES_OF_C, sizes)
        right += [int((of == names[held_out]).sum()) for of in said]
    return CHOICES_OF_C[int(right.argmax())]


def inner_splits(
    names: np.ndarray, folds: list[int | str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places to learn from and those held out: whole folds, where there are two."""
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    places = np.zeros(len(names))
    if (number := len(set(folds))) > 1:
        return GroupKFold(min(INNER_SPLITS, number)).split(places, names, list(map(str, folds)))
    fewest = min(Counter(names).values())
    ways = StratifiedKFold(max(2, min(INNER_SPLITS, fewest)), shuffle=True, random_state=0)
    return ways.split(places, names)


def _said(
    rows: np.ndarray,
    names: np.ndarray,
    tested: np.ndarray,
    choices: tuple[float, ...],
    sizes: tuple[int, ...],
) -> list[np.ndarray]:
    """What classifiers of each C, trained on rows (clips, values), name the tested ones."""
    from sklearn.svm import LinearSVC

    rows, tested = _standardised(rows, tested, sizes)
    rows, tested = _turned(rows, tested)
    return [
        LinearSVC(C=c, dual=True, max_iter=MAX_ITER, random_state=0)
        .fit(rows, names)
        .predict(tested)
        for c in choices
    ]


def _standardised(
    rows: np.ndarray, tested: np.ndarray, sizes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Both by the rows' mean and deviation; a row's length is about 1, each layer's part alike."""
    mean, deviation = rows.mean(0), rows.std(0)
    scale = np.where(deviation > 0, deviation, 1) * np.sqrt(len(sizes) * np.repeat(sizes, sizes))
    return (rows - mean) / scale, (tested - mean) / scale


def _turned(rows: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in the space that the rows span: as few values as there are rows, the same SVM.

    (Its weights lie in that space; what is at right angles to it is no part of any product.)
    """
    if rows.shape[1] <= len(rows):
        return rows, tested
    squares, turns = np.linalg.eigh(rows @ rows.T)
    if squares[-1] <= 0:  # nothing but zeros
        return rows, tested
    kept = squares > squares[-1] * 1e-12
    axes = rows.T @ (turns[:, kept] / np.sqrt(squares[kept]))
    return rows @ axes, tested @ axes
