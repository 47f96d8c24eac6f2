"""What a file holds, as ffmpeg's own report of its input says it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import ffmpeg

from media import process
from media.errors import MediaError
from media.limits import Limits


@dataclass(frozen=True)
class Stream:
    """One stream of a file. What does not apply to its kind, or is not known, is None.

    index: ffmpeg's number of the stream in the file
    kind: "video", "audio", "subtitle", "data" or "attachment"
    codec: ffmpeg's name of the codec ("h264", "aac"); "none" where ffmpeg knows none
    width, height: pixels as coded, before rotation and sample aspect ratio
    rotation: degrees, counter-clockwise, by which a player turns the picture
    frame_rate: average frames a second
    sample_rate: samples a second
    channels: number of channels
    attached_picture: a still that belongs to the file (cover art), not a video
    """

    index: int
    kind: str
    codec: str
    width: int | None = None
    height: int | None = None
    rotation: float = 0.0
    frame_rate: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    attached_picture: bool = False


@dataclass(frozen=True)
class Probe:
    """What a file holds.

    format: ffmpeg's name of the container ("mov,mp4,m4a,3gp,3g2,mj2")
    duration_seconds: length by the header; None where it states none
    streams: in the file's order
    """

    format: str
    duration_seconds: float | None
    streams: tuple[Stream, ...]

    def first(self, kind: str) -> Stream | None:
        """The stream that `extract` and `load_waveform` use: the first of its kind."""
        return next((s for s in self.streams if s.kind == kind and not s.attached_picture), None)


def probe(path: str | os.PathLike, limits: Limits = Limits()) -> Probe:  # noqa: B008 (frozen)
    """What the file holds; nothing is decoded beyond what ffmpeg needs to find the streams.

    Raises MediaError: not_found, unreadable, too_large, timeout.
    """
    report = process.Report()
    source = process.open_file(path, limits)
    nothing = ffmpeg.output(source, "pipe:1", format="null", codec="copy", map=0, t=0)
    for _ in process.run(lambda: nothing, (), report, limits):
        pass
    found = read_report(report)
    if found is None:
        raise process.failure("unreadable", f"{path} can't be opened", report)
    return found


# A file's own text can look like ffmpeg's, so a number is only what can be one.
INPUT = re.compile(r"Input #0, (\S+), from ")
DURATION = re.compile(r"\s+Duration: (?:(\d{1,12}):(\d\d):(\d\d(?:\.\d+)?)|N/A)")
STREAM = re.compile(
    r"  Stream #0:(\d{1,9})(?:\[\w+\])?(?:\([^)]*\))?: (Video|Audio|Subtitle|Data|Attachment): (.*)"
)
SIZE = re.compile(r", (\d{1,9})x(\d{1,9})(?: \[|,|$)")
FRAME_RATE = re.compile(r", (\d+(?:\.\d+)?)(k?) fps")
SAMPLE_RATE = re.compile(r", (\d{1,12}) Hz(?:, ([^,]+))?")
ROTATION = re.compile(r"\s+(?:displaymatrix|Display Matrix): rotation of (-?\d+(?:\.\d+)?) degrees")
LAYOUTS = {"mono": 1, "stereo": 2, "downmix": 2, "binaural": 2, "quad": 4, "cube": 8}
LAYOUTS |= {"hexagonal": 6, "octagonal": 8, "hexadecagonal": 16}


def read_report(report: process.Report) -> Probe | None:
    """Read ffmpeg's dump of its input; None where it never got so far."""
    container, duration, streams = None, None, []
    for line in report.header:
        if match := INPUT.match(line):
            container = match[1].rstrip(",")
        elif match := DURATION.match(line):
            duration = _seconds(match)
        elif match := STREAM.match(line):
            streams.append(_stream(int(match[1]), match[2].lower(), match[3]))
        elif streams and (match := ROTATION.match(line)):
            streams[-1] = Stream(**{**vars(streams[-1]), "rotation": float(match[1])})
    return None if container is None else Probe(container, duration, tuple(streams))


def check_length(
    found: Probe | None, report: process.Report, start: float, end: float | None, limits: Limits
) -> None:
    """Raise MediaError too_long if the part asked for lasts longer than admitted, by the header.

    A length that ffmpeg only guesses from the bit rate does not count.
    """
    lengths = [] if end is None else [end - start]
    if found and found.duration_seconds is not None and not report.estimated_duration:
        lengths.append(found.duration_seconds - start)
    if lengths and min(lengths) > limits.max_seconds:
        raise too_long(min(lengths), limits)


def too_long(seconds: float, limits: Limits) -> MediaError:
    """The error for a file, or a part of it, of so many seconds."""
    return MediaError(
        "too_long",
        f"{seconds:.1f} s or more to read, but Limits.max_seconds admits {limits.max_seconds:g}; "
        "ask for a part of it, or admit more",
    )


def _seconds(match: re.Match) -> float | None:
    if match[1] is None:
        return None
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _stream(index: int, kind: str, text: str) -> Stream:
    codec = _word(text)
    if kind == "video":
        size, rate = SIZE.search(text), FRAME_RATE.search(text)
        return Stream(
            index,
            kind,
            codec,
            width=int(size[1]) if size else None,
            height=int(size[2]) if size else None,
            frame_rate=float(rate[1]) * (1000 if rate[2] else 1) if rate else None,
            attached_picture="(attached pic)" in text,
        )
    if kind == "audio":
        sound = SAMPLE_RATE.search(text)
        return Stream(
            index,
            kind,
            codec,
            sample_rate=int(sound[1]) if sound else None,
            channels=_channels(sound[2]) if sound else None,
        )
    return Stream(index, kind, codec)


def _channels(layout: str | None) -> int | None:
    """The number of channels of ffmpeg's name of a layout: "stereo", "5.1(side)", "3 channels"."""
    if layout is None:
        return None
    if match := re.match(r"(\d{1,9}) channels", layout):
        return int(match[1])
    if match := re.match(r"\d{1,9}(?:\.\d{1,9})+", layout):
        return sum(int(number) for number in match[0].split("."))
    return LAYOUTS.get(_word(layout))


def _word(text: str) -> str:
    """The letters, digits and _ that a text starts with."""
    return re.split(r"\W", text, maxsplit=1)[0]
