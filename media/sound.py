"""Sound on the container's clock: how ffmpeg gives it, and where each sample lies."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import ffmpeg
import numpy as np

from schemas.waveform import SAMPLE_RATE

TOLERANCE = round(0.015 * SAMPLE_RATE)
PATIENCE = round(0.25 * SAMPLE_RATE)
"""Samples by which time stamps may differ from the count of samples, and for how many samples they
must differ by more before they are believed. In real files stamps jitter by 20 ms while the sound
goes on unbroken: no gap is to be cut or filled for that."""

PACKET = 2048
"""Samples that come with one time stamp: about 0.1 s. Where sound has a gap, as much may be out of
its place."""

TAG = struct.Struct(">BHBHBB3x")
"""The head of an FLV tag: type, size in 24 bits, time in 24 bits and 8 upper bits, stream."""

CHANNELS = {
    "downmix": "anull",
    "first": "pan=mono|c0=c0",
}
"""The channel rules. downmix: all channels, weighted so that full scale stays full scale (stereo:
the mean of both); first: the first channel alone, as the authors' loader had it."""


def check_channels(channels: str) -> None:
    """Raise ValueError for an unknown channel rule."""
    if channels not in CHANNELS:
        raise ValueError(f"channels={channels!r}; known rules: {', '.join(CHANNELS)}")


def sound_output(
    source: ffmpeg.nodes.FilterableStream,
    address: str,
    channels: str,
    early: float = 0.0,
    seconds: float | None = None,
    at_once: bool = False,
) -> ffmpeg.nodes.OutputStream:
    """The output of the first audio stream: FLV with 16-bit mono samples, 22,050 a second.

    What lies before `early` is dropped, and the clock is 0 there; all of it, or so many seconds.
    at_once: each packet is written as soon as it is there.

    FLV, because each of its small packets carries its time stamp: ffmpeg starts its filters anew
    when a stream changes its form midway, and raw samples would not say where they belong.
    """
    filters = [
        f"atrim=start={early:.6f}" + ("" if seconds is None else f":end={early + seconds:.6f}"),
        f"asetpts=PTS-{early:.6f}/TB",
        CHANNELS[channels],
        # In floats, whatever the codec gives, and with coefficients that add up to 1: else stereo
        # from AAC comes out 3 dB louder than the same stereo from 16-bit samples.
        f"aresample={SAMPLE_RATE}:internal_sample_fmt=fltp:rematrix_maxval=1",
        "aformat=sample_fmts=s16:channel_layouts=mono",
        # Fewer packets: they cost ffmpeg and us more than the samples in them.
        f"asetnsamples=n={PACKET}:p=0",
    ]
    return ffmpeg.output(
        source["a:0"],
        address,
        af=",".join(filters),
        acodec="pcm_s16le",
        format="flv",
        flvflags="no_duration_filesize",
        flush_packets=int(at_once),  # else many packets a write
        map_metadata=-1,
    )


def read_packets(buffer: bytearray) -> Iterator[tuple[int, np.ndarray]]:
    """Take the whole FLV tags off the front of the buffer: (milliseconds, int16 samples) each.

    A file header (9 bytes "FLV", flags, size) and the 4 bytes of "previous tag's size" before each
    tag come first; a tag is type (8: sound), size and time (24 bits each, upper 8 bits of the time
    last), stream id (24 bits), then the data: 1 byte that names the codec, then the samples.
    """
    data, at = bytes(buffer), 0
    while True:
        tag = at + 4 + (9 if data.startswith(b"FLV", at) else 0)
        if len(data) < tag + 11:
            break
        kind, size, size_low, time, time_low, time_high = TAG.unpack_from(data, tag)
        size = size << 8 | size_low
        if len(data) < tag + 11 + size:
            break
        at = tag + 11 + size
        if kind == 8 and size > 1:
            samples = np.frombuffer(data, "<i2", (size - 1) // 2, tag + 12)
            yield time_high << 24 | time << 8 | time_low, samples
    del buffer[:at]


@dataclass
class _Run:
    """Samples in a row: the number of the first, how many there are, and they themselves."""

    first: int
    length: int
    parts: list[np.ndarray]


class Sound:
    """The sound that has arrived and is still wanted, as runs of samples on the clock.

    position: samples from time 0 to the end of what has its place
    """

    def __init__(self) -> None:
        self.position = 0
        self._buffer = bytearray()
        self._waiting: deque[tuple[int, np.ndarray]] = deque()  # until those behind confirm it
        self._arrived = self._placed = 0  # samples, those that were dropped included
        self._least: deque[int] = deque()  # see _shift
        self._most: deque[int] = deque()
        self._runs: list[_Run] = []

    def feed(self, data: bytes) -> None:
        """Take bytes of ffmpeg's FLV; b"" at its end."""
        self._buffer += data
        for milliseconds, samples in read_packets(self._buffer):
            self.add(milliseconds * SAMPLE_RATE / 1000, samples)
        if not data:
            self.finish()

    def add(self, at: float, samples: np.ndarray) -> None:
        """Take samples with their time stamp (in samples from time 0)."""
        off = round(at) - self._arrived
        self._arrived += len(samples)
        if not self._waiting and self._runs and abs(off - self._count()) <= TOLERANCE:
            self._append(samples)  # whatever comes behind it, it has its place
            return
        self._waiting.append((off, samples))
        while self._least and self._least[-1] > off:
            self._least.pop()
        while self._most and self._most[-1] < off:
            self._most.pop()
        self._least.append(off)
        self._most.append(off)
        while self._arrived - self._placed >= PATIENCE:
            self._place()

    def finish(self) -> None:
        """Give what still waits its place: no more comes."""
        while self._waiting:
            self._place()

    def _place(self) -> None:
        """Give the first that waits its place; a gap stays a gap, of an overlap the first stays."""
        shift = self._shift()
        off, samples = self._waiting.popleft()
        dropped = 0
        for extreme in (self._least, self._most):
            if extreme[0] == off:
                extreme.popleft()
        if shift > 0 or not self._runs:
            self.position += max(0, shift)
            self._runs.append(_Run(self.position, 0, []))
        elif shift < 0:
            dropped = min(-shift, len(samples))
        self._placed += dropped
        self._append(samples[dropped:])

    def _append(self, samples: np.ndarray) -> None:
        run = self._runs[-1]
        run.parts.append(samples)
        run.length += len(samples)
        self.position += len(samples)
        self._placed += len(samples)

    def _count(self) -> int:
        """Samples by which what has its place lies behind the count of what arrived."""
        return self.position - self._placed

    def _shift(self) -> int:
        """Samples by which all that waits lies off its count, if that is enough to matter.

        A stamp lies off the count of the samples that arrived before it; the extremes of what waits
        are kept as it comes and goes (a monotonic queue each), for a hostile file's packets of one
        sample are thousands to look through.
        """
        count = self._count()
        first, least, most = (
            off - count for off in (self._waiting[0][0], self._least[0], self._most[0])
        )
        if not self._runs or abs(first) <= TOLERANCE:
            return 0 if self._runs else first
        if least > TOLERANCE:
            return least
        return most if most < -TOLERANCE else 0

    def there(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The parts of begin..end where sound has arrived, as (first sample, end)."""
        spans = [(max(run.first, begin), min(run.first + run.length, end)) for run in self._runs]
        return [(low, high) for low, high in spans if low < high]

    def window(self, begin: int, end: int) -> np.ndarray:
        """The samples begin..end, int16, with silence where no sound has arrived."""
        window = np.zeros(end - begin, np.int16)
        for run in self._runs:
            low, high = max(run.first, begin), min(run.first + run.length, end)
            if low < high:
                samples = np.concatenate(run.parts)
                window[low - begin : high - begin] = samples[low - run.first : high - run.first]
        return window

    def forget(self, before: int) -> None:
        """Let go of the samples before this one."""
        for run in self._runs:
            gone = 0
            while gone < len(run.parts) - 1 and run.first + len(run.parts[gone]) <= before:
                run.first += len(run.parts[gone])
                run.length -= len(run.parts[gone])
                gone += 1
            del run.parts[:gone]
        # The last run stays: what comes next continues it.
        kept = [run for run in self._runs[:-1] if run.first + run.length > before]
        self._runs = kept + self._runs[-1:]
