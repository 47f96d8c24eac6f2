"""Any file or array as the waveform that the networks hear."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import IO

import ffmpeg
import numpy as np

from media import process
from media.errors import MediaError
from media.limits import Limits
from media.probe import check_length, read_report, too_long
from media.sound import Sound, check_channels, sound_output
from schemas.waveform import PCM_PEAK, SAMPLE_RATE, pcm_to_waveform

MAX_CHANNELS = 8
FLOAT_PEAK = 2.0
"""Floats a little beyond full scale are clipped; beyond this they are no sound in -1..1."""


def load_waveform(
    source: str | os.PathLike | np.ndarray,
    sample_rate: int | None = None,
    *,
    channels: str = "downmix",
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> np.ndarray:
    """The sound of a file or an array as the networks hear it.

    source: path of any file ffmpeg reads, or an array of sound: (samples,), (samples, channels) or
        (channels, samples), where the axis of at most 8 is the channels; int16, int32, or floats
        in -1..1. A file's first audio stream is taken.
    sample_rate: of an array, in Hz; a file says its own
    channels: "downmix" (stereo: the mean of both) or "first" (as the authors' loader)

    Returns float32 (samples,), -256..256, 22,050 Hz. A file's sound lies on the file's own clock:
    silence stands where it starts late or has gaps. A file that is damaged or cut off gives the
    sound that can be decoded.

    Raises MediaError (not_found, unreadable, no_audio, bad_audio, too_long, too_large, timeout);
    ValueError or TypeError for what is no array of sound.

    >>> load_waveform(np.zeros((44100, 2), np.int16), 44100).shape
    (22050,)
    """
    check_channels(channels)
    if isinstance(source, np.ndarray):
        if sample_rate is None:
            raise ValueError("an array needs its sample_rate, in Hz, e.g. sample_rate=44100")
        blocks = _array_blocks(source, sample_rate, channels, limits)
    elif sample_rate is not None:
        raise ValueError("sample_rate goes with an array; a file says its own")
    else:
        blocks = _file_blocks(source, 60.0, channels, limits)
    return pcm_to_waveform(np.concatenate(list(blocks)))


def stream_waveform(
    path: str | os.PathLike,
    block_seconds: float = 60.0,
    *,
    channels: str = "downmix",
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Iterator[np.ndarray]:
    """What load_waveform gives for a file, in blocks: hours of sound in flat memory.

    Yields float32 (samples,), each of block_seconds but for the last; joined they are equal to
    load_waveform(path). Raises as load_waveform does, possibly after some blocks.
    """
    check_channels(channels)
    if not block_seconds * SAMPLE_RATE >= 1:
        raise ValueError(f"block_seconds={block_seconds} is less than a sample")
    return map(pcm_to_waveform, _file_blocks(path, block_seconds, channels, limits))


def _file_blocks(
    path: str | os.PathLike, block_seconds: float, channels: str, limits: Limits
) -> Iterator[np.ndarray]:
    source = process.open_file(path, limits)
    return sound_blocks(source, str(path), block_seconds, channels, limits)


def _array_blocks(
    array: np.ndarray, sample_rate: int, channels: str, limits: Limits
) -> Iterator[np.ndarray]:
    """An array goes to ffmpeg as raw samples, so that it sounds as a file of them would."""
    array = _checked(array, sample_rate)
    if sample_rate == SAMPLE_RATE and array.shape[1] == 1 and array.dtype != np.int32:
        yield _as_ffmpeg_would(array[:, 0], limits)  # to start it takes longer than this
        return
    kind = {"i2": "s16le", "i4": "s32le", "f4": "f32le"}[array.dtype.str[1:]]
    source = process.open_raw_pipe(kind, sample_rate, array.shape[1])
    with tempfile.TemporaryFile() as file:  # a pipe would have to be fed while the result is read
        array.astype(array.dtype.newbyteorder("<")).tofile(file)
        file.seek(0)
        yield from sound_blocks(source, "the array", 60.0, channels, limits, file)


def _as_ffmpeg_would(sound: np.ndarray, limits: Limits) -> np.ndarray:
    """Mono sound at the networks' rate, int16 or float32 (samples,), as int16."""
    if len(sound) > limits.max_seconds * SAMPLE_RATE:
        raise too_long(len(sound) / SAMPLE_RATE, limits)
    if sound.dtype == np.float32:
        sound = np.clip(np.rint(sound * PCM_PEAK), -PCM_PEAK, PCM_PEAK - 1)
    return sound.astype(np.int16)


def _checked(array: np.ndarray, sample_rate: int) -> np.ndarray:
    """(samples, channels), int16, int32 or float32, or a ValueError or TypeError that says why."""
    if not 1 <= sample_rate <= 1_000_000 or sample_rate != int(sample_rate):
        raise ValueError(f"sample_rate={sample_rate} is no rate in Hz")
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype not in (np.int16, np.int32):
        raise TypeError(
            f"an array of {array.dtype} is not understood; give int16, int32 or floats in -1..1"
        )
    if array.size == 0:
        raise ValueError(f"an array of shape {array.shape} holds no sound")
    if array.ndim == 1:
        array = array[:, None]
    elif array.ndim != 2:
        raise ValueError(
            f"an array of shape {array.shape}; give (samples,), (samples, channels) or "
            "(channels, samples)"
        )
    few = [size <= MAX_CHANNELS for size in array.shape]
    if array.shape[1] != 1 and few == [True, True]:
        raise ValueError(
            f"an array of shape {array.shape}: which axis is the channels? Give one channel as "
            "(samples,)"
        )
    if few == [False, False]:
        raise ValueError(
            f"an array of shape {array.shape} has more than {MAX_CHANNELS} channels either way"
        )
    if not few[1]:
        array = array.T
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError("the array holds NaN or infinity")
        if (peak := np.abs(array).max()) > FLOAT_PEAK:
            raise ValueError(
                f"floats are to lie in -1..1, but one has the size {peak:g}; divide by full "
                "scale (32768 for 16-bit samples, 256 for a waveform of SoundNet), or give integers"
            )
    return array


def sound_blocks(
    source: ffmpeg.nodes.FilterableStream,
    name: str,
    block_seconds: float,
    channels: str,
    limits: Limits,
    stdin: IO[bytes] | None = None,
    at_once: bool = False,
) -> Iterator[np.ndarray]:
    """Yield an input's sound, int16 (samples,), each of block_seconds but for the last.

    name: what the input is called in errors
    stdin: what the input reads, where that is a pipe
    at_once: ffmpeg is to give sound as soon as it has it, not much at a time
    """
    report, sound, block, at = process.Report(), Sound(), round(block_seconds * SAMPLE_RATE), 0

    def outputs(address: str) -> ffmpeg.nodes.OutputStream:
        return sound_output(source, address, channels, at_once=at_once)

    def check() -> None:
        check_length(read_report(report), report, 0.0, None, limits)

    events = process.run(outputs, ("sound",), report, limits, on_header=check, stdin=stdin)
    with closing(events):
        for _, data in events:
            sound.feed(data)
            if sound.position > limits.max_seconds * SAMPLE_RATE:
                raise too_long(sound.position / SAMPLE_RATE, limits)
            while sound.position >= at + block:
                yield sound.window(at, at + block)
                at += block
                sound.forget(at)
    if sound.position == 0:
        raise no_sound(name, report)
    if sound.position > at:
        yield sound.window(at, sound.position)


def no_sound(name: str, report: process.Report) -> MediaError:
    """The error for a file that gave no sound at all."""
    found = read_report(report)
    if found is None:
        return process.failure("unreadable", f"{name} can't be opened", report)
    if found.first("audio") is None:
        return MediaError("no_audio", f"{name} has no audio stream")
    return process.failure("bad_audio", f"the sound of {name} can't be decoded", report)
