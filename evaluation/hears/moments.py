"""The moments that move each unit of a layer most, kept while the clips go by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.clips import Place

_ENTRY = np.dtype([("value", "f4"), ("step", "i4"), ("shard", "i4"), ("offset", "i8")])


@dataclass(frozen=True)
class Moment:
    """A unit's answer to a clip, where it is greatest.

    Attributes:
        value: the activation; of a class its probability.
        step: the layer's output that it is.
        place: the clip's record.
    """

    value: float
    step: int
    place: Place


class Moments:
    """Of each unit of a layer the `top` greatest answers, at most one a clip.

    Of equal answers the earlier one stays. Memory: 20 bytes a unit and moment, however many clips.
    """

    def __init__(self, units: int, top: int) -> None:
        self._best = np.zeros((units, top), _ENTRY)
        self._best["value"] = -np.inf

    def offer(self, values: np.ndarray, place: Place) -> None:
        """Consider a clip.

        Args:
            values: float32 (steps, units), at least one step.
        """
        steps = values.argmax(axis=0)
        greatest = values[steps, np.arange(values.shape[1])]
        better = np.flatnonzero(greatest > self._best["value"][:, -1])
        new = np.empty((len(better), 1), _ENTRY)
        new["value"][:, 0], new["step"][:, 0] = greatest[better], steps[better]
        new["shard"], new["offset"] = place.shard, place.offset
        held = np.concatenate([self._best[better], new], axis=1)
        order = np.argsort(-held["value"], axis=1, kind="stable")[:, :-1]
        self._best[better] = np.take_along_axis(held, order, axis=1)

    def of(self, unit: int, above: float = -np.inf) -> list[Moment]:
        """A unit's moments, the greatest first.

        Args:
            above: leave out those that aren't greater; 0 for what a ReLU didn't let through.
        """
        return [
            Moment(value, step, Place(shard, offset))
            for value, step, shard, offset in self._best[unit].tolist()
            if value > above
        ]
