"""Key frames in place of every picture: what is decoded, and what is only counted.

A key frame is decoded without any other picture, so of a video whose key frames alone are decoded
most costs no more than reading it. When the other pictures are shown is told by their packets.
Times in here are seconds from the start of the part that was asked for.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import ffmpeg
import numpy as np

from media import pictures, process
from media.cutter import Run, Step
from media.errors import MediaError
from media.part import Part
from media.pictures import Grid, Picture, Reader, too_late
from media.probe import Probe

SAME = 1e-5
"""Seconds by which the times of a picture and of its packet may differ: both are rounded."""

MAX_PACKETS = 100_000
"""Packets that are remembered: an hour of video. Of more, none are, and all pictures decoded."""

NEAR = 0.05
"""Seconds by which the times of one packet may differ between two runs of ffmpeg."""

UNINDEXED = ("mpegts", "mpeg")
"""Formats in which seeking leads to any packet, not to a key frame."""

DISPOSABLE = ("h264",)
"""Codecs whose pictures say whether others are made from them: if not, they need no decoding."""


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
        *([] if part.end is None else [f"trim=end_pts={round(part.seconds * 1e6)}"]),
        *pictures.tell("picture", times),
    ]
    return pictures.picture_output(source, address, filters)


def packet_output(
    source: ffmpeg.nodes.FilterableStream, address: str, **options
) -> ffmpeg.nodes.OutputStream:
    """The packets of the first video stream as lines of times, size and checksum, not decoded."""
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
    mark: size and checksum
    """

    time: float
    end: float
    dts: float
    timed: bool
    key: bool
    shown: bool
    mark: bytes


class PacketReader:
    """Reads the lines of packet_output.

    shift: seconds by which times are later than ffmpeg's own clock has them
    tick: the unit of the stream's times, in seconds; known with the first packet
    """

    TICK = re.compile(rb"#tb 0: (\d+)/([1-9]\d*)\n")
    LINE = re.compile(
        rb"0, *(-?\d+), *(-?\d+|NOPTS), *(\d+), *(\d+, 0x[0-9a-f]+)(?:, F=0x([0-9A-F]+))?.*\n"
    )
    UNKNOWN = (b"NOPTS", b"-9223372036854775808")
    KEY, HIDDEN = 1, 4  # of the flags F; no flags are written for KEY alone

    def __init__(self, shift: float):
        self.tick: Fraction | None = None
        self._shift = shift
        self._words = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take lines; yield the packets."""
        self._words += data
        if self.tick is None:
            if not (tick := self.TICK.search(self._words)):
                return
            self.tick = Fraction(int(tick[1]), int(tick[2]))
        tick, end = float(self.tick), 0
        for match in self.LINE.finditer(self._words):
            dts, pts, duration, mark, flags = match.groups()
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
                mark,
            )
            end = match.end()
        del self._words[:end]


@dataclass
class Missing(Picture):
    """The picture of a label step without a key frame: has to be decoded, somewhere in time..end.

    packets: from the key frame before it to the last that can be it; none if that is not known
    """

    end: float
    packets: list[Packet]

    def has(self, time: float) -> bool:
        """Whether a picture of that time will do."""
        return self.time - SAME < time < self.end


class KeyFrames:
    """Pictures as cutter.Pictures has them: a key frame where there is one, else it is Missing.

    What counts as there is told by the packets, in the way that Grid rounds it.

    size: width and height of the pictures, once there is one
    tick: unit of the stream's times, in seconds
    """

    def __init__(self, part: Part):
        self.decided = 0
        self.size: tuple[int, int] | None = None
        self._step_seconds, self._far = part.step_seconds, part.clip_seconds
        self._rate = pictures.per_second(part.step_seconds)
        self._seconds = math.inf if part.end is None else part.seconds
        self._reader, self._packet_reader = Reader(), PacketReader(-part.early)
        self._packets: list[Packet] = []
        self._dts = self._end = -math.inf
        self._first: float | None = None  # of the packets
        self._first_key: float | None = None
        self._pictures: dict[float, np.ndarray | None] = {}  # None: only its time still matters
        self._slots: set[int] = set()  # that have a picture
        self._latest = -math.inf  # of the pictures
        self._ended = False  # no more pictures come
        self._waiting: deque[float] = deque()  # key frames whose picture has not come

    @property
    def tick(self) -> Fraction | None:
        """See the class."""
        return self._packet_reader.tick

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
            self.size = self.size or (pixels.shape[1], pixels.shape[0])
            # ffmpeg forgets which it has given when a stream changes its form.
            wanted = time > self._begin(self.decided) - SAME and slot not in self._slots
            self._pictures[time] = pixels if wanted else None
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
        if packet.shown:
            if self.decided and packet.dts < self._begin(self.decided) - SAME:
                raise too_late("pictures", "sound")
            self._end = max(self._end, packet.end)
            if self._first is None:
                self._first = max(0.0, packet.time)
            if packet.key and self._first_key is None:
                self._first_key = max(0.0, packet.time)
            if _is_key(packet) and not self._passed(packet.time):
                self._waiting.append(packet.time)
        self._packets.append(packet)
        if len(self._packets) > MAX_PACKETS:
            self._packets.clear()

    def pick(self, step: int, begin: float, end: float) -> Picture | None:
        """The picture of a label step of which begin..end is there."""
        low, high = self._begin(step) - SAME, self._begin(step + 1) - SAME
        shown = [
            Picture(max(packet.time, self._begin(step)), pixels)
            for packet in self._packets
            if low <= packet.time < high and (pixels := self._picture(packet)) is not None
        ]
        if shown:
            return min(shown, key=lambda item: abs(item.time - (begin + end) / 2))
        return Missing(begin, None, end, self._since_key(begin, end))

    def _picture(self, packet: Packet) -> np.ndarray | None:
        time = self._time(packet)
        return None if time is None else self._pictures[time]

    def _time(self, packet: Packet) -> float | None:
        """The time of the picture of a key frame, as its picture has it; None if none has come."""
        if not _is_key(packet):
            return None
        return next((time for time in self._pictures if abs(time - packet.time) < SAME), None)

    def _since_key(self, time: float, end: float) -> list[Packet]:
        """The packets from the last key frame before `time` to the last before `end`.

        None of them if there is no such key frame or it lies too far back.
        """
        at = self._key_before(time)
        if at is None or time - self._packets[at].time > self._far:
            return []
        since = itertools.islice(self._packets, at, None)
        return list(itertools.takewhile(lambda packet: packet.dts < end, since))

    def _key_before(self, time: float) -> int | None:
        """The number of the packet that holds the last key frame before the time."""
        for at in reversed(range(len(self._packets))):
            packet = self._packets[at]
            if packet.time <= time and self._time(packet) is not None:
                return at
        return None

    def forget(self, before: int) -> None:
        """Let go of what only label steps before this one need."""
        begin = self._begin(before) - SAME
        kept = self._key_before(begin)
        if kept is None:  # a key frame that comes later is none of those before
            kept = sum(1 for _ in itertools.takewhile(lambda p: p.dts < begin, self._packets))
        since = self._packets[kept].time if kept < len(self._packets) else begin
        del self._packets[:kept]
        self._slots = {slot for slot in self._slots if slot >= self._slot(begin)}
        for time in [time for time in self._pictures if time < begin]:
            if time < min(since, begin) - SAME:
                del self._pictures[time]
            else:
                self._pictures[time] = None


def _is_key(packet: Packet) -> bool:
    """Whether it gives a picture by itself, of a time that is known."""
    return packet.key and packet.shown and packet.timed


class Trail:
    """What a run of ffmpeg gives that starts at a key frame: pictures, if it reads what it should.

    The times of one run are not quite those of another, and in some files seeking leads astray; so
    the packets are compared, from the key frame to the picture, and the time of the picture is that
    which the first run gave its packet.

    missing: the pictures that are looked for; they are filled in
    ended: whether no more pictures come
    """

    def __init__(self, missing: list[Missing], shift: float):
        self.missing, self.ended = missing, False
        self._expected = missing[-1].packets
        self._reader, self._packet_reader = Reader(), PacketReader(shift)
        self._times: list[float] = []  # of the expected packets that have come, in this run
        self._lost = False  # whether other packets came than those that should
        self._pictures: deque[Picture] = deque(maxlen=64)  # whose packet has not come yet

    def feed(self, pipe: str, data: bytes) -> None:
        """Take what came on the pipe "packets", "pictures" or "times"."""
        if pipe == "packets":
            for packet in self._packet_reader.feed(data):
                self._compare(packet)
        else:
            getattr(self._reader, f"feed_{pipe}")(data)
            for microseconds, _, pixels in self._reader.pictures():
                self._pictures.append(Picture(microseconds / 1e6, pixels))
            self.ended |= pipe == "pictures" and not data
        for _ in range(len(self._pictures)):
            picture = self._pictures.popleft()
            if not self._place(picture):
                self._pictures.append(picture)

    def _compare(self, packet: Packet) -> None:
        if self._lost or len(self._times) == len(self._expected):
            return
        expected = self._expected[len(self._times)]
        if packet.mark == expected.mark and abs(packet.time - expected.time) < NEAR:
            self._times.append(packet.time)
        else:
            self._lost = bool(self._times)  # before the key frame anything may come

    def _place(self, picture: Picture) -> bool:
        for expected, time in zip(self._expected, self._times, strict=False):
            if abs(time - picture.time) < SAME and expected.timed:
                for missing in self.missing:
                    if missing.pixels is None and missing.has(expected.time):
                        missing.time, missing.pixels = max(0.0, expected.time), picture.pixels
                return True
        return False

    @property
    def found(self) -> bool:
        """Whether no picture is missing any more."""
        return all(missing.pixels is not None for missing in self.missing)


class Decoder:
    """Decodes the pictures that are Missing, as few others as can be.

    Up to two processes of ffmpeg beside the one that gives the key frames, one after the other: one
    that starts at the key frames before, where the file can be read from there; and one that
    decodes every picture from the start on, and goes on where it was for the next one wanted.
    """

    def __init__(self, key_frames: KeyFrames, part: Part, waited: process.Waited):
        """waited: the time that ffmpeg has taken for the file so far."""
        self._key_frames, self._part, self._waited = key_frames, part, waited
        self.report = process.Report()  # of the run that decodes every picture
        self._grid = Grid(part.step_seconds)
        self._events: Generator | None = None

    def close(self) -> None:
        """End the process that may be left."""
        if self._events is not None:
            self._events.close()

    def fill(self, runs: list[Run], found: Probe | None) -> None:
        """Decode the pictures that runs lack; a step keeps one without pixels if there is none.

        found: what ffmpeg said of the file
        """
        steps = [step for run in runs for step in run.steps if step.picture.pixels is None]
        if steps and found and self._events is None:
            enough = len(runs) * self._part.clip_seconds
            self._from_key_frames([step.picture for step in steps], enough, found)
        for step in steps:
            if step.picture.pixels is None and (picture := self._from_start(step)):
                step.picture = picture

    def _from_key_frames(self, missing: list[Missing], enough: float, found: Probe) -> None:
        """Start at the key frame before each of the pictures, and fill in those that can be.

        enough: of more seconds to decode, all are decoded
        """
        if not all(one.packets for one in missing):
            return
        groups = itertools.groupby(missing, key=lambda one: one.packets[0].time)
        groups = [list(group) for _, group in groups]
        if sum(group[-1].time - group[0].packets[0].time for group in groups) > enough:
            return  # decoding everything is less
        tick = self._key_frames.tick
        if found.format in UNINDEXED:
            behind = -math.ceil(Fraction(1, 2) / tick) * tick
        else:
            behind = math.ceil(Fraction(1, 5) / tick) * tick  # beyond its decoding time, too
        starts = [
            max(-self._part.start, group[0].packets[0].time + float(behind)) for group in groups
        ]
        trails = [Trail(group, at) for group, at in zip(groups, starts, strict=True)]

        def outputs(*addresses: str) -> ffmpeg.nodes.OutputStream:
            streams = []
            for trail, at in zip(trails, starts, strict=True):
                pictures, times, packets, *addresses = addresses
                source = self._open_from(at, trail.missing[-1].end, found)
                streams.append(self._wanted_output(source, pictures, times, at, trail.missing))
                streams += [packet_output(source, packets), clock_output(source)]
            return ffmpeg.merge_outputs(*streams)

        kinds, limits = ("pictures", "times", "packets"), self._part.limits
        pipes = [f"{kind} {number}" for number in range(len(trails)) for kind in kinds]
        events = process.run(outputs, pipes, process.Report(), limits, waited=self._waited)
        try:
            with closing(events):
                for name, data in events:
                    kind, number = name.split()
                    trails[int(number)].feed(kind, data)
                    if all(trail.found or trail.ended for trail in trails):
                        return
        except MediaError as error:
            if error.cause in ("timeout", "killed"):
                raise

    def _open_from(self, at: float, end: float, found: Probe) -> ffmpeg.nodes.FilterableStream:
        options = {"t": f"{end - at + 1:.6f}"}
        if found.first("video").codec in DISPOSABLE:
            options["skip_frame:v"] = "noref"
        return self._part.open(at, **options)

    def _wanted_output(
        self,
        source: ffmpeg.nodes.FilterableStream,
        address: str,
        times: str,
        at: float,
        missing: list[Missing],
    ) -> ffmpeg.nodes.OutputStream:
        """The first picture of each of the stretches that lack one."""
        wanted = [f"%s,{one.time - SAME:.6f},{one.end - SAME:.6f}" for one in missing]
        filters = [
            *pictures.clock(at),
            "select='"
            + "+".join(
                f"between({one % 't'})*not(between({one % 'prev_selected_t'}))" for one in wanted
            )
            + "'",
            *pictures.tell("picture", times),
        ]
        # So many and no more, so that ffmpeg doesn't decode on until it is stopped.
        most = {"frames:v": len(missing)}
        return pictures.picture_output(source, address, filters, self._key_frames.size, **most)

    def _from_start(self, step: Step) -> Picture | None:
        """Go on decoding every picture up to the end of a label step: as Grid gives it."""
        part = self._part
        if self._events is None:
            self._events = process.run(
                self._grid_outputs,
                ("pictures", "times"),
                self.report,
                part.limits,
                waited=self._waited,
            )
        end = (step.number + 1) * part.step_seconds
        while self._grid.came < end and (event := next(self._events, None)):
            self._grid.feed(*event)
            self._grid.forget(step.number)
        return self._grid.pick(step.number, step.begin, step.end)

    def _grid_outputs(self, address: str, times: str) -> ffmpeg.nodes.OutputStream:
        source = self._part.open()
        return ffmpeg.merge_outputs(
            pictures.grid_output(source, address, times, self._part), clock_output(source)
        )
