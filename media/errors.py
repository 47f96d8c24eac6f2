"""What can be wrong with a file, by name."""

from __future__ import annotations

CAUSES = {
    "not_found": "there is no such file",
    "unreadable": "ffmpeg can't make sense of it, or it is no plain file",
    "no_audio": "nothing to hear in it, or not in the part asked for",
    "no_video": "nothing to see in it (a cover picture is no video), or not in the part asked for",
    "bad_audio": "its sound can't be decoded",
    "bad_video": "its pictures can't be decoded",
    "too_long": "lasts longer than Limits.max_seconds",
    "too_large": "more than Limits.max_bytes, .max_pixels or .max_memory_bytes",
    "killed": "ffmpeg was killed, by somebody or by a system out of memory; the file may be good",
    "timeout": "took longer than Limits.timeout_seconds or .idle_seconds",
}
"""Every cause a MediaError can have, with its meaning."""


class MediaError(Exception):
    """A file that gives no sound or no pictures, and why. Survives pickling.

    cause: one of CAUSES, for ledgers and counters.
    message: for people, with ffmpeg's own last words where it said any.
    """

    def __init__(self, cause: str, message: str):
        if cause not in CAUSES:
            raise ValueError(f"unknown cause {cause!r}; known: {', '.join(CAUSES)}")
        super().__init__(cause, message)
        self.cause = cause
        self.message = message

    def __str__(self) -> str:
        return f"{self.cause}: {self.message}"
