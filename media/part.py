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
    def early(self) -> float:
        """Seconds before the start at which reading starts."""
        return min(self.start, EARLY)

    def open(self, **options) -> ffmpeg.nodes.FilterableStream:
        """The input of ffmpeg-python, read from `early` seconds before the start.

        What lies before the start is kept ("noaccurate"): the picture shown at the start is one of
        those, and in containers without an index a key frame must first come.
        """
        if self.start:
            options |= {"ss": f"{self.start - self.early:.6f}", "noaccurate_seek": None}
        return process.open_file(self.path, self.limits, **options)
