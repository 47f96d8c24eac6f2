"""Names for units: the class of a teacher that a unit agrees with, and whether that is chance.

Over label steps, the logarithm of a unit's mean activation (log(1 + a), so that one loud clip
doesn't decide) is held against the probability that the teacher gives a class: Pearson's
correlation. With thousands of units and classes some agree by chance, so the same is worked out for
labels that were moved to other clips; only what that gives to one unit in a hundred at most is
called a name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 256
"""Label steps that are summed up at a time, and among which labels are moved."""

VIDEOS = 3
"""A class is a name only if it is the likeliest in so many videos, and a unit has one only if so
many move it: what happens in one video alone agrees with all else that does."""


@dataclass(frozen=True)
class Name:
    """A class that a unit agrees with.

    Attributes:
        index: of the class, among the teacher's.
        correlation: Pearson's.
    """

    index: int
    correlation: float


class _InVideos:
    """Whether each of several things was there in `VIDEOS` different videos."""

    def __init__(self, number: int) -> None:
        self._videos = np.zeros((number, VIDEOS), np.int64)
        self._count = np.zeros(number, int)

    def add(self, there: np.ndarray, video_id: str) -> None:
        """Take in a clip; `there` is bool (number,)."""
        video = hash(video_id)
        known = (self._videos == video).any(axis=1)
        new = np.flatnonzero(there & ~known & ~self.enough)
        self._videos[new, self._count[new]] = video
        self._count[new] += 1

    @property
    def enough(self) -> np.ndarray:
        """bool (number,)."""
        return self._count == VIDEOS


class Agreement:
    """How the units of several layers agree with the classes of a teacher.

    Memory: 16 bytes a unit and class, however many clips.

    Args:
        units: by layer how many it has.
        classes: of the teacher.
    """

    def __init__(self, units: dict[str, int], classes: int) -> None:
        self.units, self.classes = units, classes
        all_units = sum(units.values())
        self.steps = 0
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._held = 0
        self._a, self._aa = np.zeros(all_units), np.zeros(all_units)
        self._p, self._pp = np.zeros(classes), np.zeros(classes)
        self._ap = np.zeros((2, all_units, classes))  # as it is; with the labels moved
        self._likeliest, self._moved = _InVideos(classes), _InVideos(all_units)

    def add(self, video_id: str, means: dict[str, np.ndarray], probs: np.ndarray) -> None:
        """Take in a clip.

        Args:
            means: by layer float32 (label steps, units), not negative.
            probs: float (label steps, classes).
        """
        probs = probs.astype(np.float64)
        self._likeliest.add(np.bincount(probs.argmax(axis=1), minlength=self.classes) > 0, video_id)
        activations = np.concatenate([means[layer] for layer in self.units], axis=1)
        self._moved.add(activations.max(axis=0) > 0, video_id)
        self._pending.append((np.log1p(activations, dtype=np.float64), probs))
        self._held += len(probs)
        if self._held >= BLOCK:
            self._sum_up()

    def _sum_up(self) -> None:
        if not self._held:
            return
        a, p = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        self._pending, self._held = [], 0
        self.steps += len(a)
        self._a += a.sum(axis=0)
        self._aa += (a * a).sum(axis=0)
        self._p += p.sum(axis=0)
        self._pp += (p * p).sum(axis=0)
        self._ap[0] += a.T @ p
        self._ap[1] += a.T @ np.roll(p, max(1, len(p) // 2), axis=0)

    @property
    def named(self) -> np.ndarray:
        """The classes that may be names: int (n,)."""
        return np.flatnonzero(self._likeliest.enough)

    def names(self, top: int) -> tuple[dict[str, list[list[Name]]], dict[str, float]]:
        """By layer and unit the classes that agree most, and by layer what is still chance.

        Returns:
            Per layer and unit at most `top` names of a positive correlation, the greatest first;
            and per layer the correlation that, with the labels moved, 99 of 100 units don't pass
            (of those that can have a name).
        """
        self._sum_up()
        named = self.named
        if not len(named):
            return {layer: [[]] * units for layer, units in self.units.items()}, {}
        n = self.steps
        spread_a = _spread(n, self._a, self._aa) * self._moved.enough
        spread_p = _spread(n, self._p, self._pp)[named]
        product = np.outer(spread_a, spread_p)
        real, moved = (
            np.divide(
                n * ap[:, named] - np.outer(self._a, self._p[named]),
                product,
                out=np.zeros_like(product),
                where=product > 0,
            )
            for ap in self._ap
        )
        names, chance, at = {}, {}, 0
        for layer, units in self.units.items():
            rows = real[at : at + units]
            order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
            names[layer] = [
                [Name(int(named[i]), float(row[i])) for i in best if row[i] > 0]
                for row, best in zip(rows, order, strict=True)
            ]
            by_chance = moved[at : at + units].max(axis=1)[spread_a[at : at + units] > 0]
            chance[layer] = float(np.quantile(by_chance, 0.99)) if len(by_chance) else 0.0
            at += units
        return names, chance


def _spread(n: int, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """n times the standard deviation, from sums; 0 where it is no more than rounding."""
    spread = n * squares - total**2
    return np.sqrt(np.where(spread > 1e-9 * n * squares, spread, 0))
