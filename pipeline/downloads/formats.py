"""Which of the forms in which a site offers a video is downloaded: the smallest that is enough."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

LINES = 240
RULE = f"the smallest with sound and {LINES} lines"
"""The rule in words; it changes when the rule does."""


def smallest(context: dict) -> Iterator[dict]:
    """A format selector for yt-dlp: the fewest bytes with sound and at least 240 lines.

    Sound and pictures may come apart: the smallest pair then, as one format whose
    `requested_formats` yt-dlp joins. Lines are those of the short side. Where no format has as
    many: the best of unknown size (an address that names a file has only one), else the one with
    the most lines, else sound or pictures alone, which the extraction will refuse by name.
    """
    formats = context["formats"]  # the best is the last
    singles = [fmt for fmt in formats if _has(fmt, "vcodec") and _has(fmt, "acodec")]
    mute = [fmt for fmt in formats if _has(fmt, "vcodec") and not _has(fmt, "acodec")]
    sounds = [fmt for fmt in formats if _has(fmt, "acodec") and not _has(fmt, "vcodec")]
    pairs = itertools.product(mute, [min(sounds, key=_cost)] if sounds else [])
    choices = [*map(_pair, pairs), *singles]
    if enough := [choice for choice in choices if (_lines(choice) or 0) >= LINES]:
        yield min(enough, key=_cost)
    elif unknown := [choice for choice in choices if _lines(choice) is None]:
        yield unknown[-1]
    elif choices:
        most = max(_lines(choice) or 0 for choice in choices)
        yield min((choice for choice in choices if _lines(choice) == most), key=_cost)
    elif alone := mute or sounds:
        yield min(alone, key=_cost)


def _has(fmt: dict, codec: str) -> bool:
    return fmt.get(codec) != "none"  # one that is not told is there


def _lines(fmt: dict) -> int | None:
    return min(filter(None, (fmt.get("height"), fmt.get("width"))), default=None)


def _cost(fmt: dict) -> tuple:
    """What to keep small: first a language that is not the video's own, then bytes, and where
    those are not told, the bit rate."""
    parts = fmt.get("requested_formats") or [fmt]
    strange = [-(part.get("language_preference") or -1) for part in parts]
    for number, names in enumerate((("filesize", "filesize_approx"), ("tbr", "vbr", "abr"))):
        known = [next(filter(None, map(part.get, names)), None) for part in parts]
        if None not in known:
            return (max(strange), number, sum(known))
    return (max(strange), 2, _lines(fmt) or 0)


def _pair(parts: tuple[dict, dict]) -> dict:
    pictures, sound = parts
    return {
        "format_id": f"{pictures['format_id']}+{sound['format_id']}",
        "ext": "mkv",  # holds whatever there is
        "protocol": f"{pictures['protocol']}+{sound['protocol']}",
        "requested_formats": [pictures, sound],
        "height": pictures.get("height"),
        "width": pictures.get("width"),
    }
