"""Which label steps of a video count: where sound and pictures are both there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from media.part import Part
from media.pictures import MAX_LAG, Picture, too_late
from media.sound import Sound
from schemas.waveform import SAMPLE_RATE


class Pictures(Protocol):
    """What the cutter asks of the pictures: pictures.Grid, keyframes.KeyFrames."""

    decided: int

    @property
    def first(self) -> float | None: ...
    @property
    def came(self) -> float: ...
    @property
    def reach(self) -> float: ...
    @property
    def shown(self) -> float: ...
    def feed(self, pipe: str, data: bytes) -> None: ...
    def pick(self, step: int, begin: float, end: float) -> Picture | None: ...
    def forget(self, before: int) -> None: ...


@dataclass
class Step:
    """A label step that counts.

    number: 0, 1, ... from the start that was asked for
    begin, end: the part of it that is there, in seconds from that start
    picture: its picture, perhaps still to be decoded
    sound_end: where its sound ends, in samples from that start
    """

    number: int
    begin: float
    end: float
    picture: Picture
    sound_end: int

    @property
    def frame(self) -> np.ndarray:
        """The pixels of its picture, once that is decoded."""
        assert self.picture.pixels is not None
        return self.picture.pixels


@dataclass
class Run:
    """Label steps in a row, and their sound (int16): what makes a segment."""

    steps: list[Step]
    pcm: np.ndarray

    def pieces(self, step_seconds: float) -> Iterator[Run]:
        """What is left of it without the steps whose picture has no pixels."""
        first = self.steps[0].number
        decoded = itertools.groupby(self.steps, key=lambda step: step.picture.pixels is not None)
        for good, group in decoded:
            steps = list(group)
            begin, end = (
                round((number - first) * step_seconds * SAMPLE_RATE)
                for number in (steps[0].number, steps[-1].number + 1)
            )
            if good:
                yield Run(steps, self.pcm[begin:end])


class Cutter:
    """Puts sound and pictures together as they come, and cuts the runs of steps that count.

    Times in here are seconds from the start that was asked for. Label step j reaches from
    j * step_seconds to (j + 1) * step_seconds.
    """

    def __init__(self, pictures: Pictures, part: Part):
        self.pictures, self.steps, self.step_seconds = pictures, part.steps, part.step_seconds
        self.any = False  # whether a run was given
        self.sound = Sound()
        self._step = 0  # the next to decide on
        self._open: list[Step] = []  # steps of the run in the making
        self._best: tuple[int, Run] | None = None  # if no step counts: samples there, run
        self._checked = 0  # samples up to which no sound came too late

    def seconds(self) -> float:
        """How far sound or pictures have come."""
        return max(self.sound.position / SAMPLE_RATE, self.pictures.reach)

    def feed(self, pipe: str, data: bytes) -> None:
        """Take what came on a pipe: "sound" (of sound_output) or one that the pictures know."""
        if pipe == "sound":
            self.sound.feed(data)
        else:
            self.pictures.feed(pipe, data)

    def _sample(self, step: int) -> int:
        return round(step * self.step_seconds * SAMPLE_RATE)

    def runs(self, ended: bool) -> Iterator[Run]:
        """Yield the runs that are complete, at most `steps` each; at the end, what is left.

        Raises MediaError, too_large, if something comes for a step that was decided without it.
        """
        if self.sound.there(self._checked, self._sample(self._step)):
            raise too_late("sound", "pictures")
        self._checked = self.sound.position
        while self._known() or (ended and self._sample(self._step) < self.sound.position):
            step, there = self._look()
            if step and 2 * there >= self._sample(1):
                self._open.append(step)
            else:
                if self._open:
                    yield self._close()
                if step and not self.any and there > (self._best[0] if self._best else 0):
                    self._best = there, self._run([step])
            self._step += 1
            self.pictures.decided = self._step
            if len(self._open) == self.steps:
                yield self._close()
            self._forget()
        if ended and self._open:
            yield self._close()
        if ended and self._best and not self.any:
            self.any = True
            yield self._best[1]

    def _known(self) -> bool:
        """Whether all has come that can belong to the next step."""
        end = (self._step + 1) * self.step_seconds
        heard, seen = self.sound.position / SAMPLE_RATE, self.pictures.came
        return (
            (self.sound.position >= self._sample(self._step + 1) or seen > end + MAX_LAG)
            and (seen >= end or heard > end + MAX_LAG)
        )  # fmt: skip

    def _look(self) -> tuple[Step | None, int]:
        """The next step, and the number of its samples at which there are sound and pictures."""
        if self.pictures.first is None:
            return None, 0
        begin, end = self._sample(self._step), self._sample(self._step + 1)
        spans = self.sound.there(
            max(begin, round(self.pictures.first * SAMPLE_RATE)),
            min(end, round(self.pictures.shown * SAMPLE_RATE)),
        )
        if not spans:
            return None, 0
        low, high = spans[0][0] / SAMPLE_RATE, spans[-1][1] / SAMPLE_RATE
        picture = self.pictures.pick(self._step, low, high)
        if picture is None:
            return None, 0
        sound_end = self.sound.there(begin, end)[-1][1]
        step = Step(self._step, low, high, picture, sound_end)
        return step, sum(high - low for low, high in spans)

    def _run(self, steps: list[Step]) -> Run:
        return Run(steps, self.sound.window(self._sample(steps[0].number), steps[-1].sound_end))

    def _close(self) -> Run:
        run = self._run(self._open)
        self.any, self._open = True, []
        return run

    def _forget(self) -> None:
        kept = self._open[0].number if self._open else self._step
        self.sound.forget(self._sample(kept))
        self.pictures.forget(self._step)
