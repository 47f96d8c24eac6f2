"""Clips of one video: its sound and one picture per label step.

All times are on the container's clock: 0 is the earliest start of any of its streams, and what a
player shows and sounds at that time is what a clip holds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import ffmpeg
import numpy as np

from media import process
from media.cutter import Cutter, Run
from media.errors import MediaError
from media.keyframes import KeyFrames, Rest, key_output, packet_output
from media.limits import Limits
from media.part import Part
from media.pictures import Grid, grid_output
from media.probe import check_length, read_report, too_long
from media.sound import check_channels, sound_output
from media.waveform import no_sound

PICTURES = {
    "exact": "the picture shown at the middle of what is there of a label step",
    "keyframes": "a key frame within the step, if there is one; else the last before it",
}
"""Which picture a label step gets."""


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
    frame_times: a time at which each frame's picture is shown, in seconds from the segment's start
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
    pictures: str = "exact",
    motion: bool = False,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Iterator[Segment]:
    """Cut a video (its first sound and its first picture stream) into segments, as they come.

    start, end: the part that is wanted, in seconds of the video's own time; all of it by default
    clip_seconds: length of a segment, a whole number of steps
    step_seconds: length of a label step
    channels: "downmix" or "first", as load_waveform has it
    pictures: which picture a step gets; one of PICTURES
    motion: whether it has to be seen if the pictures change: no one key frame then stands for all
        steps of a segment (the last gets the picture of "exact")

    A label step counts if sound and pictures are both there for at least half of it. Its picture is
    with "exact" the one shown at the middle of what is there, to within step_seconds / 8, for which
    every picture of the video is decoded. With "keyframes" it is the key frame in the step that is
    nearest to that middle (of several within a quarter of a step the first), which costs less than
    half. A step without one gets the last key frame before it; or if that lies more than 10 s back,
    or the file does not say enough, the picture of "exact". The times of the frames are those of
    the pictures that were taken: of a key frame before the segment, less than 0.

    Segments are unbroken runs of such steps, cut at clip_seconds. A video of which no step is half
    there gives the one step of which most is there. Silence stands in gaps of the sound within a
    step that counts. What is damaged or cut off in a file is as if it were not there.

    Raises ValueError for wrong arguments, MediaError with any of its causes if the file gives
    nothing. After segments only these can come: timeout, too_long (a length that the header did
    not tell), too_large (a picture or memory midway), unreadable (ffmpeg crashed), killed.
    """
    check_channels(channels)
    if pictures not in PICTURES:
        raise ValueError(f"pictures={pictures!r}; known are {', '.join(PICTURES)}")
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
    part = Part(path, start, end, steps, step_seconds, channels, limits)
    waited = process.Waited()
    return _exact(part, waited) if pictures == "exact" else _keyframes(part, motion, waited)


def _exact(part: Part, waited: process.Waited) -> Iterator[Segment]:
    """Every picture decoded, in one pass of ffmpeg."""
    cutter, report, count = Cutter(Grid(part.step_seconds), part), process.Report(), 0
    source = part.open()

    def outputs(sound: str, pictures: str, times: str) -> ffmpeg.nodes.OutputStream:
        return ffmpeg.merge_outputs(
            sound_output(source, sound, part.channels, part.early, part.seconds),
            grid_output(source, pictures, times, part),
        )

    pipes = ("sound", "pictures", "times")
    for run in _runs(cutter, outputs, pipes, report, part, waited):
        yield _segment(count, run, part)
        count += 1
    if count == 0:
        raise _nothing(part, cutter, report)


def _keyframes(part: Part, motion: bool, waited: process.Waited) -> Iterator[Segment]:
    """Key frames from one pass of ffmpeg; what lacks from another, that decodes all."""
    key_frames, report, count = KeyFrames(part), process.Report(), 0
    cutter = Cutter(key_frames, part)
    source = part.open(**{"skip_frame:v": "nokey"})
    length = {} if part.seconds is None else {"t": f"{part.early + part.seconds + 1:.6f}"}

    def outputs(sound: str, pictures: str, times: str, packets: str) -> ffmpeg.nodes.OutputStream:
        return ffmpeg.merge_outputs(
            sound_output(source, sound, part.channels, part.early, part.seconds),
            key_output(source, pictures, times, part),
            packet_output(source, packets, flush_packets=0, **length),
        )

    pipes = ("sound", "pictures", "times", "packets")
    with closing(Rest(part, waited)) as rest:
        for run in _runs(cutter, outputs, pipes, report, part, waited):
            lacking = [step for step in run.steps if step.picture.pixels is None]
            if motion and len(run.steps) > len({step.picture.time for step in run.steps}) == 1:
                lacking = run.steps[-1:]
            for step in lacking:
                step.picture = rest.picture(step) or step.picture
            for piece in run.pieces(part.step_seconds):
                yield _segment(count, piece, part)
                count += 1
    if count == 0:  # what there is to say, and whether it is true, is found out by decoding
        yield from _exact(part, waited)
    elif rest.report.limit():
        raise process.failure("too_large", f"{part.path} was read only in part", rest.report)


def _runs(
    cutter: Cutter,
    outputs: Callable[..., ffmpeg.nodes.OutputStream],
    pipes: tuple[str, ...],
    report: process.Report,
    part: Part,
    waited: process.Waited,
) -> Iterator[Run]:
    """The runs of label steps that the cutter finds in what ffmpeg gives."""

    def check() -> None:
        check_length(read_report(report), report, part.start, part.end, part.limits)

    events = process.run(outputs, pipes, report, part.limits, on_header=check, waited=waited)
    with closing(events):
        for pipe, data in events:
            cutter.feed(pipe, data)
            if cutter.seconds() > part.limits.max_seconds + part.step_seconds:
                raise too_long(cutter.seconds(), part.limits)
            yield from cutter.runs(ended=False)
    yield from cutter.runs(ended=True)
    if cutter.any and report.limit():
        raise process.failure("too_large", f"{part.path} was read only in part", report)


def _segment(index: int, run: Run, part: Part) -> Segment:
    offset = run.steps[0].number * part.step_seconds
    return Segment(
        index=index,
        start_seconds=part.start + offset,
        pcm=run.pcm,
        frames=[step.frame for step in run.steps],
        frame_times=[round(step.picture.time - offset, 6) for step in run.steps],
    )


def _nothing(part: Part, cutter: Cutter, report: process.Report) -> MediaError:
    """The error for a video that gave no segment at all."""
    path, start, found = part.path, part.start, read_report(report)
    where = f" after {start:g} s" if start else ""
    if found is None or (audio := found.first("audio")) is None:
        return no_sound(str(path), report)
    if (video := found.first("video")) is None:
        return MediaError("no_video", f"{path} has no video stream")
    heard, seen = cutter.sound.position > 0, cutter.pictures.came >= 0
    if start and not heard and not seen and not report.errors:
        return MediaError("no_audio", f"{path} has no sound and no pictures{where}")
    if not heard and not seen:
        # ffmpeg gives up at once if it can't open one of the two; its words name the stream.
        heard = report.says(f"#0:{video.index}") and not report.says(f"#0:{audio.index}")
    if not heard:
        return process.failure("bad_audio", f"the sound of {path} can't be decoded{where}", report)
    if not seen:
        return process.failure(
            "bad_video", f"the pictures of {path} can't be decoded{where}", report
        )
    return MediaError("no_video", f"{path} has no moment{where} with both sound and pictures")
