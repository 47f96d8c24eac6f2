"""Pictures of a video on its clock: how ffmpeg gives them, and where each is shown.

Times in here are seconds from the start of the part that was asked for. Label step j reaches from
j * step_seconds to (j + 1) * step_seconds.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import ffmpeg
import numpy as np

from media.errors import MediaError
from media.part import Part

PER_STEP = 4
"""Pictures taken a label step; the one nearest to the middle of what is there is given."""

SHORT_SIDE, LONG_SIDE = 256, 1024
"""Pixels of a frame's short side; its long side is squeezed to at most the second."""

MAX_LAG = 300.0
"""Seconds by which sound and pictures may lie apart in the file: what bounds memory where one of
the two ends early. What comes later than that behind the other is refused."""

SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"


def per_second(step_seconds: float) -> Fraction:
    """Pictures a second on the grid."""
    return PER_STEP / Fraction(step_seconds).limit_denominator(10**6)


def picture_output(
    source: ffmpeg.nodes.FilterableStream,
    address: str,
    filters: list[str],
) -> ffmpeg.nodes.OutputStream:
    """The output of the first video stream as PPM pictures, of the size that frames have.

    filters: what chooses the pictures, from the decoder's on
    """
    size = [
        # dar: the shape as displayed, with the sample aspect ratio in it.
        f"scale=w='if(gte(dar,1),min({LONG_SIDE},round({SHORT_SIDE}*dar)),{SHORT_SIDE})'"
        f":h='if(gte(dar,1),{SHORT_SIDE},min({LONG_SIDE},round({SHORT_SIDE}/dar)))'"
        f":{SCALING}",
        "setsar=1",
        "format=rgb24",
    ]
    return ffmpeg.output(
        source["V:0"],  # V: no attached pictures
        address,
        vf=",".join([*filters, *size]),
        vcodec="ppm",
        format="image2pipe",
        fps_mode="passthrough",
        map_metadata=-1,
    )


def clock(shift: float) -> list[str]:
    """Filters: microseconds, `shift` seconds later than ffmpeg's own clock has them."""
    return [
        f"settb=AVTB,setpts=PTS{round(shift * 1e6):+d}",
        "metadata=mode=delete",  # what a file's pictures say of themselves (PNG: any key and text)
    ]


def tell(key: str, address: str, when: str = "1") -> list[str]:
    """Filters: a line with the time of each picture that passes, as Reader understands it."""
    address = address.replace(":", "\\:")
    return [
        f"metadata=mode=add:key={key}:value=1:enable='{when}'",
        f"metadata=mode=print:key={key}:file='{address}':direct=1",
    ]


def grid_output(
    source: ffmpeg.nodes.FilterableStream, address: str, times: str, part: Part
) -> ffmpeg.nodes.OutputStream:
    """PPM pictures on one pipe, their times on another.

    Picture k is the one shown at k * step_seconds / 4. The times are lines of the filter
    `metadata`, in the pictures' order. ffmpeg starts its filters anew when a stream changes its
    form midway (and squeezes what follows to the size of the first picture); so the chain holds no
    state that reaches back: k counts from time 0 in either case.
    """
    rate = per_second(part.step_seconds)
    last = "" if part.seconds is None else f":end_pts={math.ceil(round(part.seconds * rate, 6))}"
    filters = [
        *clock(-part.early),
        # Say when the first picture comes ...
        *tell("first", times, when="eq(n,0)"),
        # ... and take it back to the grid, so that a video shorter than the grid gives one too.
        f"setpts='if(N,PTS,floor(T*{rate})/({rate})/TB)'",
        f"fps=fps={rate}:round=up",  # up: the last picture at or before each time
        f"trim=start_pts=0{last}",
        *tell("picture", times),
    ]
    return picture_output(source, address, filters)


def too_late(late: str, early: str) -> MediaError:
    """The error for a file whose sound and pictures lie too far apart."""
    return MediaError(
        "too_large",
        f"the {late} come more than {MAX_LAG:g} s behind the {early} in the file, too much to "
        "hold; interleave it, for example with `ffmpeg -i FILE -c copy NEW`",
    )


@dataclass
class Picture:
    """A picture and when it is shown; without pixels, one that has still to be decoded."""

    time: float
    pixels: np.ndarray | None  # uint8 (H, W, 3), RGB


class Reader:
    """Pairs the pictures of picture_output with the lines that `tell` gives for them.

    first: the time that the newest filters told of their first picture
    """

    PPM = re.compile(rb"P6\s(\d+)\s(\d+)\s255\s")
    TIME = re.compile(rb"frame:\s*\d+\s+pts:\s*(-?\d+)\s.*\n(first|picture)=1\n")

    def __init__(self) -> None:
        self.first: int | None = None
        self._buffer, self._words = bytearray(), bytearray()
        self._told: deque[tuple[int, int | None]] = deque()  # of pictures still to come

    def feed_times(self, data: bytes) -> None:
        """Take lines of times."""
        self._words += data
        end = 0
        for match in self.TIME.finditer(self._words):
            end = match.end()
            if match[2] == b"first":
                self.first = int(match[1])
            else:
                self._told.append((int(match[1]), self.first))
        del self._words[:end]

    def feed_pictures(self, data: bytes) -> None:
        """Take bytes of PPM."""
        self._buffer += data

    def pictures(self) -> Iterator[tuple[int, int | None, np.ndarray]]:
        """The pictures that are complete: time as told, `first` as it then was, pixels."""
        while self._told and (header := self.PPM.match(self._buffer)):
            width, height = int(header[1]), int(header[2])
            end = header.end() + width * height * 3
            if len(self._buffer) < end:
                return
            pixels = np.frombuffer(self._buffer[header.end() : end], np.uint8)
            del self._buffer[:end]
            yield *self._told.popleft(), pixels.reshape(height, width, 3)


class Grid:
    """Pictures at PER_STEP times a label step, every one decoded: what grid_output gives.

    first: when the first picture is shown; None until it has come
    came: time up to which all pictures have come
    decided: label steps that were decided on; what comes for one of them comes too late
    """

    def __init__(self, step_seconds: float):
        self.first: float | None = None
        self.decided = 0
        self._step_seconds = step_seconds
        self._reader = Reader()
        self._last = -1  # number of the last that has come
        self._pictures: dict[int, Picture] = {}

    @property
    def came(self) -> float:
        """See the class."""
        return self._time(self._last)

    @property
    def reach(self) -> float:
        """The latest time of which anything has come."""
        return self.came

    @property
    def shown(self) -> float:
        """Until when the last picture is shown: that is known only to be before the next time."""
        return self._time(self._last + 0.5)

    def feed(self, pipe: str, data: bytes) -> None:
        """Take what came on the pipe "pictures" or "times".

        Raises MediaError, too_large, for a picture of a step that was decided without it.
        """
        getattr(self._reader, f"feed_{pipe}")(data)
        if self.first is None and self._reader.first is not None:
            self.first = max(0.0, self._reader.first / 1e6)
        for number, first, pixels in self._reader.pictures():
            if number > self._last:
                self._add(number, max(0.0, (first or 0) / 1e6), pixels)

    def _add(self, number: int, not_before: float, pixels: np.ndarray) -> None:
        if number < self.decided * PER_STEP:
            raise too_late("pictures", "sound")
        # Pictures that were lost when the filters started anew: the one before is still shown.
        if previous := self._pictures.get(self._last):
            for lost in range(self._last + 1, number):
                self._pictures[lost] = Picture(self._time(lost), previous.pixels)
        self._pictures[number] = Picture(max(self._time(number), not_before), pixels)
        self._last = number

    def _time(self, number: float) -> float:
        return number * self._step_seconds / PER_STEP

    def pick(self, step: int, begin: float, end: float) -> Picture | None:
        """The picture of a label step of which begin..end is there."""
        numbers = range(step * PER_STEP, (step + 1) * PER_STEP)
        pictures = [self._pictures[n] for n in numbers if n in self._pictures]
        return min(pictures, key=lambda item: abs(item.time - (begin + end) / 2), default=None)

    def forget(self, before: int) -> None:
        """Let go of the pictures before this label step."""
        for number in [n for n in self._pictures if n < before * PER_STEP]:
            if number != self._last:
                del self._pictures[number]
