"""How much of anything one file may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds for one file; beyond any of them it is a MediaError, never cut in silence.

    max_bytes: size of the file
    max_seconds: length of the file, or of the part of it that is asked for
    max_pixels: width x height of one picture as the decoder holds it, margins included; the
        default admits 8K
    max_memory_bytes: what the ffmpeg process may allocate (enforced on Linux)
    timeout_seconds: time spent waiting for ffmpeg, altogether; time in which the caller does
        something else between two results does not count
    idle_seconds: time in which ffmpeg gives nothing at all
    """

    max_bytes: int = 16 * 2**30
    max_seconds: float = 4 * 3600.0
    max_pixels: int = 40_000_000
    max_memory_bytes: int = 4 * 2**30
    timeout_seconds: float = 3600.0
    idle_seconds: float = 120.0
