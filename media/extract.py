"""Clips of one video: its sound and one picture per label step, in one pass of ffmpeg.

All times are on the container's clock: 0 is the earliest start of any of its streams, and what a
player shows and sounds at that time is what a clip holds.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

import ffmpeg
import numpy as np

from media import process
from media.errors import MediaError
from media.limits import Limits
from media.probe import check_length, read_report, too_long
from media.sound import Sound, check_channels, sound_output
from media.waveform import no_sound
from schemas.waveform import SAMPLE_RATE

PER_STEP = 4
"""Pictures taken a label step; the one nearest to the middle of what is there is given."""

SHORT_SIDE, LONG_SIDE = 256, 1024
"""Pixels of a frame's short side; its long side is squeezed to at most the second."""

EARLY = 10.0
"""Seconds before `start` at which reading starts: about as far apart as key frames lie."""

MAX_LAG = 300.0
"""Seconds by which sound and pictures may lie apart in the file: what bounds memory where one of
the two ends early. What comes later than that behind the other is refused."""


@dataclass
class Segment:
    """At most clip_seconds of one video.

    index: 0, 1, ... of the video's segments
    start_seconds: where it starts, in the video's own time; a whole number of label steps after
        the start that was asked for
    pcm: int16 (samples,), mono, 22,050 Hz. As long as its label steps, or shorter by at most half
        a step where the sound ends
    frames: uint8 (H, W, 3) each, RGB, one per label step; short side 256 pixels, upright and with
        square pixels
    frame_times: the time of each frame's picture, in seconds within the segment
    """

    index: int
    start_seconds: float
    pcm: np.ndarray
    frames: list[np.ndarray]
    frame_times: list[float]


def extract(
    path: str | os.PathLike,
    *,
    start: float | None = None,
    end: float | None = None,
    clip_seconds: float = 20.0,
    step_seconds: float = 5.0,
    channels: str = "downmix",
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Iterator[Segment]:
    """Cut a video (its first sound and its first picture stream) into segments, as they come.

    start, end: the part that is wanted, in seconds of the video's own time; all of it by default
    clip_seconds: length of a segment, a whole number of steps
    step_seconds: length of a label step
    channels: "downmix" or "first", as load_waveform has it

    A label step counts if sound and pictures are both there for at least half of it; its picture is
    the one shown at the middle of what is there, to within step_seconds / 8. Segments are unbroken
    runs of such steps, cut at clip_seconds. A video of which no step is half there gives the one
    step of which most is there. Silence stands in gaps of the sound within a step that counts.
    What is damaged or cut off in a file is as if it were not there.

    Raises ValueError for wrong arguments, MediaError with any of its causes if the file gives
    nothing. After segments only these can come: timeout, too_long (a length that the header did
    not tell), too_large (a picture or memory midway), unreadable (ffmpeg died).
    """
    check_channels(channels)
    if not 0 < step_seconds <= 3600:
        raise ValueError(f"step_seconds={step_seconds} is no length of a label step")
    steps = round(clip_seconds / step_seconds)
    if steps < 1 or not math.isclose(steps * step_seconds, clip_seconds):
        raise ValueError(
            f"clip_seconds={clip_seconds} is no whole number of steps of {step_seconds} s"
        )
    start = start or 0.0
    if not 0 <= start < (math.inf if end is None else end) or end == math.inf:
        raise ValueError(f"start={start}, end={end}: no part of a video")
    return _extract(path, start, end, steps, step_seconds, channels, limits)


def _extract(
    path: str | os.PathLike,
    start: float,
    end: float | None,
    steps: int,
    step_seconds: float,
    channels: str,
    limits: Limits,
) -> Iterator[Segment]:
    # Read from earlier on, and keep what lies before the start ("noaccurate"): the picture shown at
    # the start is one of those, and in containers without an index a key frame must first come.
    early = min(start, EARLY)
    seek = {"ss": f"{start - early:.6f}", "noaccurate_seek": None} if start else {}
    source = process.open_file(path, limits, **seek)
    report, cutter = process.Report(), Cutter(start, steps, step_seconds)
    seconds = None if end is None else end - start

    def outputs(sound: str, pictures: str, times: str) -> ffmpeg.nodes.OutputStream:
        return ffmpeg.merge_outputs(
            sound_output(source, sound, channels, early, seconds),
            picture_output(source, pictures, times, step_seconds, early, seconds),
        )

    def check() -> None:
        check_length(read_report(report), report, start, end, limits)

    pipes = ("sound", "pictures", "times")
    with closing(process.run(outputs, pipes, report, limits, on_header=check)) as events:
        for name, data in events:
            getattr(cutter, f"feed_{name}")(data)
            if cutter.seconds() > limits.max_seconds + step_seconds:
                raise too_long(cutter.seconds(), limits)
            yield from cutter.segments(ended=False)
    yield from cutter.segments(ended=True)
    if cutter.index == 0:
        raise _nothing(path, start, cutter, report)
    if report.limit():
        raise process.failure("too_large", f"{path} was read only in part", report)


def picture_output(
    source: ffmpeg.nodes.FilterableStream,
    pictures: str,
    times: str,
    step_seconds: float,
    early: float,
    seconds: float | None,
) -> ffmpeg.nodes.OutputStream:
    """The output of the first video stream: PPM pictures on one pipe, their times on another.

    Picture k is the one shown at early + k * step_seconds / 4. The times are lines of the filter
    `metadata`, in the pictures' order. ffmpeg starts its filters anew when a stream changes its
    form midway (and squeezes what follows to the size of the first picture); so the chain holds no
    state that reaches back: k counts from time 0 in either case.
    """
    rate = PER_STEP / Fraction(step_seconds).limit_denominator(10**6)
    last = "" if seconds is None else f":end_pts={math.ceil(round(seconds * rate, 6))}"
    tell = f"file='{times.replace(':', chr(92) + ':')}':direct=1"
    filters = [
        f"settb=AVTB,setpts=PTS-{round(early * 1e6)}",
        "metadata=mode=delete",  # what a file's pictures say of themselves (PNG: any key and text)
        # Say when the first picture comes ...
        "metadata=mode=add:key=first:value=1:enable='eq(n,0)'",
        f"metadata=mode=print:key=first:{tell}",
        # ... and take it back to the grid, so that a video shorter than the grid gives one too.
        f"setpts='if(N,PTS,floor(T*{rate})/({rate})/TB)'",
        f"fps=fps={rate}:round=up",  # up: the last picture at or before each time
        f"trim=start_pts=0{last}",
        "metadata=mode=add:key=picture:value=1",
        f"metadata=mode=print:key=picture:{tell}",
        # dar: the shape as displayed, with the sample aspect ratio in it.
        f"scale=w='if(gte(dar,1),min({LONG_SIDE},round({SHORT_SIDE}*dar)),{SHORT_SIDE})'"
        f":h='if(gte(dar,1),{SHORT_SIDE},min({LONG_SIDE},round({SHORT_SIDE}/dar)))'"
        ":flags=bicubic+accurate_rnd+full_chroma_int",
        "setsar=1",
        "format=rgb24",
    ]
    return ffmpeg.output(
        source["V:0"],  # V: no attached pictures
        pictures,
        vf=",".join(filters),
        vcodec="ppm",
        format="image2pipe",
        fps_mode="passthrough",
        map_metadata=-1,
    )


PPM = re.compile(rb"P6\s(\d+)\s(\d+)\s255\s")
TIME = re.compile(rb"frame:\s*\d+\s+pts:\s*(-?\d+)\s.*\n(first|picture)=1\n")


class Cutter:
    """Puts sound and pictures together as they come, and cuts the segments.

    Times in here are seconds from the start that was asked for. Label step j reaches from
    j * step_seconds to (j + 1) * step_seconds.
    """

    def __init__(self, start: float, steps: int, step_seconds: float):
        self.start, self.steps, self.step_seconds = start, steps, step_seconds
        self.index = 0  # of the next segment
        self.sound = Sound()
        self.first_picture: float | None = None  # when the first is shown
        self.last_picture = -1  # number of the last that has come
        self._step = 0  # the next to decide on
        self._pictures: dict[int, tuple[float, np.ndarray]] = {}  # number: when it is shown, it
        self._not_before = 0.0  # when the picture comes that the newest filters saw first
        self._buffer, self._words = bytearray(), bytearray()
        self._numbers: deque[tuple[int, float]] = deque()  # of pictures still to come
        self._open: list[_Step] = []  # steps of the segment in the making
        self._best: tuple[int, Segment] | None = None  # if no step counts: samples there, segment
        self._checked = 0  # samples up to which no sound came too late

    def seconds(self) -> float:
        """How far sound or pictures have come."""
        return max(self.sound.position / SAMPLE_RATE, self._time(self.last_picture))

    def feed_sound(self, data: bytes) -> None:
        """Take bytes of sound_output."""
        self.sound.feed(data)

    def feed_times(self, data: bytes) -> None:
        """Take lines of picture_output's times: one a picture, and one when filters start anew."""
        self._words += data
        end = 0
        for match in TIME.finditer(self._words):
            end = match.end()
            if match[2] == b"first":
                self._not_before = max(0.0, int(match[1]) / 1e6)
                if self.first_picture is None:
                    self.first_picture = self._not_before
            else:
                self._numbers.append((int(match[1]), self._not_before))
        del self._words[:end]
        self._pair()

    def feed_pictures(self, data: bytes) -> None:
        """Take bytes of picture_output's pictures."""
        self._buffer += data
        self._pair()

    def _pair(self) -> None:
        while self._numbers and (header := PPM.match(self._buffer)):
            width, height = int(header[1]), int(header[2])
            end = header.end() + width * height * 3
            if len(self._buffer) < end:
                return
            number, not_before = self._numbers.popleft()
            if number > self.last_picture:
                pixels = np.frombuffer(self._buffer[header.end() : end], np.uint8)
                self._add(number, not_before, pixels.reshape(height, width, 3))
            del self._buffer[:end]

    def _add(self, number: int, not_before: float, picture: np.ndarray) -> None:
        if number < self._step * PER_STEP:
            raise _too_late("pictures", "sound")
        # Pictures that were lost when the filters started anew: the one before is still shown.
        if previous := self._pictures.get(self.last_picture):
            for lost in range(self.last_picture + 1, number):
                self._pictures[lost] = (self._time(lost), previous[1])
        self._pictures[number] = (max(self._time(number), not_before), picture)
        self.last_picture = number

    def _time(self, number: float) -> float:
        return number * self.step_seconds / PER_STEP

    def _sample(self, step: int) -> int:
        return round(step * self.step_seconds * SAMPLE_RATE)

    def segments(self, ended: bool) -> Iterator[Segment]:
        """Yield the segments that are complete; at the end, what is left.

        Raises MediaError, too_large, if something comes for a step that was decided without it.
        """
        if self.sound.there(self._checked, self._sample(self._step)):
            raise _too_late("sound", "pictures")
        self._checked = self.sound.position
        while self._known() or (ended and self._sample(self._step) < self.sound.position):
            step, there = self._look()
            if step and 2 * there >= self._sample(1):
                self._open.append(step)
            else:
                if self._open:
                    yield self._segment(self._open)
                if step and not self.index and there > (self._best[0] if self._best else 0):
                    self._best = there, self._make([step])
            self._step += 1
            if len(self._open) == self.steps:
                yield self._segment(self._open)
            self._forget()
        if ended and self._open:
            yield self._segment(self._open)
        if ended and self._best and not self.index:
            self.index = 1
            yield self._best[1]

    def _known(self) -> bool:
        """Whether all has come that can belong to the next step."""
        end = (self._step + 1) * self.step_seconds
        heard, seen = self.sound.position / SAMPLE_RATE, self._time(self.last_picture)
        return (
            (self.sound.position >= self._sample(self._step + 1) or seen > end + MAX_LAG)
            and (seen >= end or heard > end + MAX_LAG)
        )  # fmt: skip

    def _look(self) -> tuple[_Step | None, int]:
        """The next step, and the number of its samples at which there are sound and pictures."""
        if self.last_picture < 0:
            return None, 0
        begin, end = self._sample(self._step), self._sample(self._step + 1)
        # The last picture's own end is known only to be before the next time of the grid.
        shown = self._time(self.last_picture + 0.5)
        spans = self.sound.there(
            max(begin, round((self.first_picture or 0.0) * SAMPLE_RATE)),
            min(end, round(shown * SAMPLE_RATE)),
        )
        numbers = range(self._step * PER_STEP, (self._step + 1) * PER_STEP)
        pictures = [self._pictures[n] for n in numbers if n in self._pictures]
        if not spans or not pictures:
            return None, 0
        middle = (spans[0][0] + spans[-1][1]) / 2 / SAMPLE_RATE
        time, picture = min(pictures, key=lambda item: abs(item[0] - middle))
        sound_end = self.sound.there(begin, end)[-1][1]
        step = _Step(self._step, time, picture, sound_end)
        return step, sum(high - low for low, high in spans)

    def _make(self, steps: list[_Step]) -> Segment:
        first = steps[0].number
        offset = first * self.step_seconds
        return Segment(
            index=self.index,
            start_seconds=self.start + offset,
            pcm=self.sound.window(self._sample(first), steps[-1].sound_end),
            frames=[step.picture for step in steps],
            frame_times=[round(max(0.0, step.time - offset), 6) for step in steps],
        )

    def _segment(self, steps: list[_Step]) -> Segment:
        segment = self._make(steps)
        self.index, self._open = self.index + 1, []
        return segment

    def _forget(self) -> None:
        kept = self._open[0].number if self._open else self._step
        self.sound.forget(self._sample(kept))
        for number in [n for n in self._pictures if n < self._step * PER_STEP]:
            if number != self.last_picture:
                del self._pictures[number]


@dataclass
class _Step:
    number: int
    time: float
    picture: np.ndarray
    sound_end: int


def _too_late(late: str, early: str) -> MediaError:
    return MediaError(
        "too_large",
        f"the {late} come more than {MAX_LAG:g} s behind the {early} in the file, too much to "
        "hold; interleave it, for example with `ffmpeg -i FILE -c copy NEW`",
    )


def _nothing(
    path: str | os.PathLike, start: float, cutter: Cutter, report: process.Report
) -> MediaError:
    """The error for a video that gave no segment at all."""
    found = read_report(report)
    where = f" after {start:g} s" if start else ""
    if found is None or found.first("audio") is None:
        return no_sound(str(path), report)
    if found.first("video") is None:
        return MediaError("no_video", f"{path} has no video stream")
    heard, seen = cutter.sound.position > 0, cutter.last_picture >= 0
    if start and not heard and not seen and not report.errors:
        return MediaError("no_audio", f"{path} has no sound and no pictures{where}")
    if not heard and not seen:
        # ffmpeg gives up at once if it can't open one of the two; its words name the stream.
        video, audio = (f"#0:{found.first(kind).index}" for kind in ("video", "audio"))
        heard = report.says(video) and not report.says(audio)
    if not heard:
        return process.failure("bad_audio", f"the sound of {path} can't be decoded{where}", report)
    if not seen:
        return process.failure(
            "bad_video", f"the pictures of {path} can't be decoded{where}", report
        )
    return MediaError("no_video", f"{path} has no moment{where} with both sound and pictures")
