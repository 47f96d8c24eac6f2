"""Key frames in place of every picture: what is decoded, and what is only counted.

A key frame is decoded without any other picture, so of a video whose key frames alone are decoded
most costs no more than reading it. When the other pictures are shown is told by their packets.
Times in here are seconds from the start of the part that was asked for.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import NamedTuple

import ffmpeg
import numpy as np

from media import pictures, process
from media.cutter import Step
from media.part import Part
from media.pictures import Grid, Picture, Reader, too_late

SAME = 1e-5
"""Seconds by which the times of a picture and of its packet may differ: both are rounded."""

MAX_KEYS = 100_000
"""Key frames that are waited with. Of more, none are, and all pictures decoded."""

BEFORE = 10.0
"""Seconds by which a key frame may lie before the label step that it stands for. Encoders set one
at least every 10 s or so, and where a picture is like none before; so where there is none in a
step, little has changed (docs/records.md has the figures)."""


def key_output(
    source: ffmpeg.nodes.FilterableStream, address: str, times: str, part: Part
) -> ffmpeg.nodes.OutputStream:
    """Key frames as PPM pictures on one pipe, their times in microseconds on another.

    Of those that fall into the same quarter of a label step the first, for there are videos of
    nothing but key frames. `source` is to be told to skip other frames; where its codec can't, they
    are decoded and left out here.
    """
    slot = f"floor(%s*{pictures.per_second(part.step_seconds)})"
    filters = [
        *pictures.clock(-part.early),
        # 1 is an I picture; 0 has no type, as in codecs that know no other.
        "select='lte(pict_type,1)*not(isnan(t))*"
        f"(isnan(prev_selected_t)+gt({slot % 't'},{slot % 'prev_selected_t'}))'",
        *([] if part.seconds is None else [f"trim=end_pts={round(part.seconds * 1e6)}"]),
        *pictures.tell("picture", times),
    ]
    return pictures.picture_output(source, address, filters)


def packet_output(
    source: ffmpeg.nodes.FilterableStream, address: str, **options
) -> ffmpeg.nodes.OutputStream:
    """The packets of the first video stream as lines with their times, not decoded."""
    return ffmpeg.output(
        source["V:0"],
        address,
        vcodec="copy",
        format="framecrc",
        copyinkf=None,  # also those before the first key frame
        copypriorss=1,  # and before the time that was sought
        **options,
    )


def clock_output(source: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.OutputStream:
    """The packets of the sound to nowhere.

    In an MPEG transport stream ffmpeg's clock starts with the earliest stream that is read, so what
    is to have the clock of sound and pictures has to read both.
    """
    return ffmpeg.output(source["a:0"], "nowhere", acodec="copy", format="null")


class Packet(NamedTuple):
    """A coded picture.

    time: when it is shown, if the file says so (`timed`); else when it is decoded
    end: until when it is shown, as far as the file says
    dts: when it is decoded; what comes later in the file is decoded, and shown, later than that
    key: whether the file calls it a key frame
    shown: whether it is shown at all; else it is only there for others
    """

    time: float
    end: float
    dts: float
    timed: bool
    key: bool
    shown: bool


class PacketReader:
    """Reads the lines of packet_output.

    shift: seconds by which times are later than ffmpeg's own clock has them
    """

    TICK = re.compile(rb"#tb 0: (\d+)/([1-9]\d*)\n")
    LINE = re.compile(
        rb"0, *(-?\d+), *(-?\d+|NOPTS), *(\d+), *\d+, 0x[0-9a-f]+(?:, F=0x([0-9A-F]+))?.*\n"
    )
    UNKNOWN = (b"NOPTS", b"-9223372036854775808")
    KEY, HIDDEN = 1, 4  # of the flags F; no flags are written for KEY alone

    def __init__(self, shift: float):
        self._tick: Fraction | None = None  # the unit of the stream's times, in seconds
        self._shift = shift
        self._words = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take lines; yield the packets."""
        self._words += data
        if self._tick is None:
            if not (unit := self.TICK.search(self._words)):
                return
            self._tick = Fraction(int(unit[1]), int(unit[2]))
        tick, end = float(self._tick), 0
        for match in self.LINE.finditer(self._words):
            dts, pts, duration, flags = match.groups()
            timed = pts not in self.UNKNOWN
            flags = self.KEY if flags is None else int(flags, 16)
            time = int(pts if timed else dts) * tick + self._shift
            yield Packet(
                time,
                time + int(duration) * tick,
                int(dts) * tick + self._shift,
                timed,
                bool(flags & self.KEY),
                not flags & self.HIDDEN,
            )
            end = match.end()
        del self._words[:end]


class KeyFrames:
    """Pictures as cutter.Pictures has them: a key frame of the label step, or of shortly before.

    What counts as there is told by the packets, in the way that Grid rounds it.
    """

    def __init__(self, part: Part):
        self.decided = 0
        self._step_seconds = part.step_seconds
        self._rate = pictures.per_second(part.step_seconds)
        self._seconds = math.inf if part.seconds is None else part.seconds
        self._reader, self._packet_reader = Reader(), PacketReader(-part.early)
        self._keys: list[float] = []  # times of packets that give a picture by themselves
        self._dts = self._end = -math.inf
        self._first: float | None = None  # of the packets
        self._first_key: float | None = None
        self._pictures: dict[float, np.ndarray] = {}
        self._slots: set[int] = set()  # that have a picture
        self._latest = -math.inf  # of the pictures
        self._ended = False  # no more pictures come
        self._waiting: deque[float] = deque()  # key frames whose picture has not come

    @property
    def first(self) -> float | None:
        """When the first picture is shown: the first key frame, for none can come before it."""
        return self._first if self._first_key is None else self._first_key

    @property
    def came(self) -> float:
        """Time up to which all packets have come, and the pictures of all key frames."""
        return min(self._dts, self._waiting[0]) if self._waiting else self._dts

    @property
    def reach(self) -> float:
        """The latest time of which anything has come."""
        return min(max(self._end, self._latest, 0.0), self._seconds)

    @property
    def shown(self) -> float:
        """Until when the last picture is shown."""
        end = min(self._end, self._seconds)
        if end == -math.inf:
            return 0.0
        return (math.ceil(round(end * float(self._rate), 6)) - 0.5) / float(self._rate)

    def feed(self, pipe: str, data: bytes) -> None:
        """Take what came on the pipe "packets", "pictures" or "times".

        Raises MediaError, too_large, for a packet of a step that was decided without it.
        """
        if pipe == "packets":
            for packet in self._packet_reader.feed(data):
                self._add(packet)
            return
        getattr(self._reader, f"feed_{pipe}")(data)
        for microseconds, _, pixels in self._reader.pictures():
            time = microseconds / 1e6
            slot = self._slot(time)
            # ffmpeg forgets which it has given when a stream changes its form.
            if time > self._begin(self.decided) - BEFORE and slot not in self._slots:
                self._pictures[time] = pixels
                self._slots.add(slot)
            self._latest = max(self._latest, time)
        self._ended |= pipe == "pictures" and not data
        while self._waiting and self._passed(self._waiting[0]):
            self._waiting.popleft()

    def _begin(self, step: int) -> float:
        return step * self._step_seconds

    def _passed(self, key: float) -> bool:
        """Whether the picture of a key frame has come, or can't come any more."""
        if self._ended or key - SAME < self._latest:
            return True
        return self._latest > -math.inf and self._slot(key + SAME) <= self._slot(self._latest)

    def _slot(self, time: float) -> int:
        """Of the times that share a number only the first gives a picture (see key_output)."""
        return math.floor(time * self._rate.numerator / self._rate.denominator)

    def _add(self, packet: Packet) -> None:
        self._dts = max(self._dts, packet.dts)
        if not packet.shown:
            return
        if self.decided and packet.dts < self._begin(self.decided) - SAME:
            raise too_late("pictures", "sound")
        self._end = max(self._end, packet.end)
        if self._first is None:
            self._first = max(0.0, packet.time)
        if not packet.key:
            return
        if self._first_key is None:
            self._first_key = max(0.0, packet.time)
        if packet.timed:
            if not self._passed(packet.time):
                self._waiting.append(packet.time)
            self._keys.append(packet.time)
            if len(self._keys) > MAX_KEYS:
                self._keys.clear()

    def pick(self, step: int, begin: float, end: float) -> Picture | None:
        """The picture of a label step of which begin..end is there."""
        low, high = self._begin(step) - SAME, self._begin(step + 1) - SAME
        there = [key for key in self._keys if self._picture(key) is not None]
        if inside := [max(key, self._begin(step)) for key in there if low <= key < high]:
            time = min(inside, key=lambda key: abs(key - (begin + end) / 2))
        else:
            time = max((key for key in there if low - BEFORE < key < low), default=begin)
        return Picture(time, self._picture(time))

    def _picture(self, key: float) -> np.ndarray | None:
        """The picture of a key frame; None if none has come."""
        near = (pixels for time, pixels in self._pictures.items() if abs(time - key) < 2 * SAME)
        return next(near, None)

    def forget(self, before: int) -> None:
        """Let go of what only label steps before this one need."""
        begin = self._begin(before) - SAME
        past = (key for key in self._keys if key < begin and self._picture(key) is not None)
        kept = max(past, default=begin)
        self._keys = [key for key in self._keys if key >= kept]
        self._pictures = {t: pixels for t, pixels in self._pictures.items() if t > kept - SAME}
        self._slots = {slot for slot in self._slots if slot >= self._slot(begin - BEFORE)}


class Rest:
    """The pictures of label steps that no key frame stands for: every picture decoded, as "exact".

    By a second process of ffmpeg, which goes on where it was for the next one that is wanted.
    """

    def __init__(self, part: Part, waited: process.Waited):
        """waited: the time that ffmpeg has taken for the file so far."""
        self._part, self._waited = part, waited
        self.report = process.Report()
        self._grid = Grid(part.step_seconds)
        self._events: Generator[tuple[str, bytes], None, None] | None = None

    def close(self) -> None:
        """End the process that may be left."""
        if self._events is not None:
            self._events.close()

    def picture(self, step: Step) -> Picture | None:
        """The picture of a label step as Grid gives it, None if there is none. Steps in order."""
        part = self._part
        if self._events is None:
            self._events = process.run(
                self._outputs, ("pictures", "times"), self.report, part.limits, waited=self._waited
            )
        end = (step.number + 1) * part.step_seconds
        while self._grid.came < end and (event := next(self._events, None)):
            self._grid.feed(*event)
            self._grid.forget(step.number)
        return self._grid.pick(step.number, step.begin, step.end)

    def _outputs(self, address: str, times: str) -> ffmpeg.nodes.OutputStream:
        source = self._part.open()
        return ffmpeg.merge_outputs(
            pictures.grid_output(source, address, times, self._part), clock_output(source)
        )
