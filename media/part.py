"""What is asked of a video: the part of it, and how it is cut."""

from __future__ import annotations

import os
from dataclasses import dataclass

import ffmpeg

from media import process
from media.limits import Limits

EARLY = 10.0
"""Seconds before `start` at which reading starts: about as far apart as key frames lie."""


@dataclass(frozen=True)
class Part:
    """The part start..end of a video, in seconds of its own time; end None: all that follows.

    steps: label steps of step_seconds in a segment
    """

    path: str | os.PathLike
    start: float
    end: float | None
    steps: int
    step_seconds: float
    channels: str
    limits: Limits

    @property
    def seconds(self) -> float | None:
        """Its length, if an end was asked for."""
        return None if self.end is None else self.end - self.start

    @property
    def clip_seconds(self) -> float:
        """Length of a segment."""
        return self.steps * self.step_seconds

    @property
    def early(self) -> float:
        """Seconds before the start at which reading starts."""
        return min(self.start, EARLY)

    def open(self, at: float | None = None, **options) -> ffmpeg.nodes.FilterableStream:
        """The input of ffmpeg-python, read from so many seconds from the start; early by default.

        What lies before that is kept ("noaccurate"): the picture shown at the start is one of
        those, and in containers without an index a key frame must first come.
        """
        begin = self.start + (-self.early if at is None else at)
        if self.start if at is None else begin > 0:
            options |= {"ss": f"{begin:.6f}", "noaccurate_seek": None}
        return process.open_file(self.path, self.limits, **options)
