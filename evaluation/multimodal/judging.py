"""Linear SVMs on what is heard and seen, each video tested once, and how sure the figures are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from evaluation.errors import DatasetError
from evaluation.machine import cores
from evaluation.multimodal.videos import Video

COSTS = tuple(10.0**power for power in range(-2, 3))
"""The SVM's C is chosen among these by cross-validation on the training videos alone."""

INNER = 3
"""Folds of that, or fewer where the smallest class has fewer."""


@dataclass(frozen=True)
class Senses:
    """What a classifier gets of a video.

    Attributes:
        layer: what is heard; "" for nothing.
        vision: what is seen; "" for nothing.
    """

    layer: str = ""
    vision: str = ""

    @property
    def name(self) -> str:
        return " + ".join(part for part in (self.layer, self.vision) if part)

    @property
    def kind(self) -> str:
        """`sound`, `vision` or `both`, as the paper's table has it."""
        return "both" if self.layer and self.vision else "sound" if self.layer else "vision"

    def blocks(self, videos: list[Video]) -> list[np.ndarray]:
        """(videos, values) of each sense."""
        blocks = [np.stack([v.heard[self.layer] for v in videos])] if self.layer else []
        return blocks + ([np.stack([v.seen[self.vision] for v in videos])] if self.vision else [])


@dataclass(frozen=True)
class Judgement:
    """What the classifiers of one kind said.

    Attributes:
        answers: the label given to each video, by those that hadn't learnt from it.
        costs: C of each fold.
    """

    senses: Senses
    answers: list[str]
    costs: list[float]


def enough(videos: list[Video], folds: int) -> tuple[list[Video], dict[str, int]]:
    """The videos whose label has at least one for each fold, and how many the other labels have.

    Raises:
        DatasetError: fewer than two such labels.
    """
    counts = Counter(video.label.label for video in videos)
    small = {label: number for label, number in sorted(counts.items()) if number < folds}
    kept = [video for video in videos if video.label.label not in small]
    if len(counts) - len(small) < 2:
        raise DatasetError(
            f"{len(counts) - len(small)} of {len(counts)} labels have {folds} videos or more, one "
            f"for each fold, and at least 2 are wanted (largest: "
            f"{', '.join(f'{label} {number}' for label, number in counts.most_common(5))}); label "
            "more videos, or join labels"
        )
    return kept, small


def judge(
    videos: list[Video],
    every: list[Senses],
    folds: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Judgement]:
    """Cross-validate: videos are dealt to folds, the same for all senses, each label evenly.

    Args:
        advance: called after each fold of each of `every`.
    """
    from sklearn.model_selection import StratifiedKFold

    labels = np.array([video.label.label for video in videos])
    dealt = list(
        StratifiedKFold(folds, shuffle=True, random_state=0).split(np.zeros(len(labels)), labels)
    )

    def one(work: tuple[Senses, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, float]:
        senses, (train, test) = work
        found = _fold(senses.blocks(videos), labels, train, test)
        advance()
        return found

    with ThreadPoolExecutor(cores()) as threads:
        work = [(senses, parts) for senses in every for parts in dealt]
        found = list(threads.map(one, work))
    judgements = []
    for number, senses in enumerate(every):
        answers = np.empty(len(labels), object)
        mine = found[number * folds : (number + 1) * folds]
        for (_, test), (said, _) in zip(dealt, mine, strict=True):
            answers[test] = said
        judgements.append(Judgement(senses, answers.tolist(), [cost for _, cost in mine]))
    return judgements


def _fold(
    blocks: list[np.ndarray], labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, float]:
    """What is said of the test videos, and the C that was chosen.

    Each sense is standardised by the training videos and divided by the root of its number of
    values, so that the one with more values doesn't drown the other.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import LinearSVC

    scaled = []
    for block in blocks:
        mean, spread = block[train].mean(axis=0), block[train].std(axis=0)
        usable = spread > 0
        values = (block[:, usable] - mean[usable]) / spread[usable]
        scaled.append(values / np.sqrt(max(1, usable.sum())))
    values = np.concatenate(scaled, axis=1)
    if len(train) < values.shape[1]:
        # The weights lie in the span of the training videos; in its axes the same SVM is faster.
        axes = np.linalg.svd(values[train], full_matrices=False)[2]
        values = values @ axes.T
    inner = min(INNER, Counter(labels[train].tolist()).most_common()[-1][1])
    search = GridSearchCV(
        LinearSVC(dual=False),  # in the primal, which draws no random numbers
        {"C": COSTS},
        cv=StratifiedKFold(inner, shuffle=True, random_state=0),
    )
    search.fit(values[train], labels[train])
    return search.predict(values[test]), search.best_params_["C"]


def interval(correct: int, number: int) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy, percent (Wilson)."""
    from scipy.stats import binomtest

    found = binomtest(correct, number).proportion_ci(0.95, method="wilson")
    return 100 * found.low, 100 * found.high


def by_chance(better: int, worse: int) -> float:
    """How probable so unequal counts are if neither is better: McNemar's exact test, two sides.

    Args:
        better, worse: videos that the one names rightly and the other wrongly, and the reverse.
    """
    from scipy.stats import binomtest

    return binomtest(better, better + worse).pvalue if better + worse else 1.0
