"""Sound that still comes: from a pipe, a file that is being written, a microphone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import ffmpeg
import numpy as np

from media import process
from media.limits import Limits
from media.sound import check_channels
from media.waveform import sound_blocks
from schemas.waveform import pcm_to_waveform

BLOCK_SECONDS = 0.25
"""Sound that is given at once: what is heard comes so much later at most."""

ENDLESS = Limits(max_bytes=2**62, max_seconds=1e9, timeout_seconds=1e9, idle_seconds=24 * 3600.0)
"""Memory and pictures are bounded as ever; a day of nothing is too long to wait."""


@dataclass(frozen=True)
class Microphone:
    """A source of the PulseAudio or PipeWire server on this machine; "default" is its choice."""

    name: str = "default"


@dataclass(frozen=True)
class Raw:
    """Bare samples: 16 bit, little endian, channels interleaved, at a rate in Hz."""

    sample_rate: int
    channels: int = 1


def stream_live(
    source: str | os.PathLike | IO[bytes] | Microphone,
    raw: Raw | None = None,
    *,
    channels: str = "downmix",
) -> Iterator[np.ndarray]:
    """Sound as the networks hear it, as it comes.

    source: the path of a file, which is read on at its end as it grows, without end; an open pipe
        that brings a container that can be read from its start on (Ogg, MP3, WAV, AAC, MPEG-TS,
        WebM; not MP4); or a Microphone
    raw: the pipe brings bare samples instead
    channels: as load_waveform has it

    Yields float32 (samples,), -256..256, 22,050 Hz, BLOCK_SECONDS each but for the last; joined
    they are equal to what load_waveform gives for the whole. Raises MediaError as it does.
    """
    check_channels(channels)
    stdin = None
    if isinstance(source, Microphone):
        name = f"the microphone {source.name!r}"
        # A tenth of a second at a time; the server's own choice is two seconds.
        opened = ffmpeg.input(source.name, format="pulse", fragment_size=19_200, threads=1)
    elif isinstance(source, str | os.PathLike):
        name = str(source)
        opened = process.open_file(source, ENDLESS, follow=1, seekable=0)
    else:
        name, stdin = "the pipe", source
        opened = process.open_pipe(ENDLESS)
        if raw is not None:
            opened = process.open_raw_pipe("s16le", raw.sample_rate, raw.channels)
    blocks = sound_blocks(opened, name, BLOCK_SECONDS, channels, ENDLESS, stdin, at_once=True)
    return map(pcm_to_waveform, blocks)
