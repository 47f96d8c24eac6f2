"""Key frames in place of every picture: the same steps and sound, and pictures that are right."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from media import keyframes, process
from media.errors import MediaError
from media.extract import Segment, extract
from media.limits import Limits
from schemas.waveform import SAMPLE_RATE

AAC = ("-c:a", "aac")


def h264(group: int, *options: str) -> tuple[str, ...]:
    """H.264 of 25 pictures a second with a key frame every `group` pictures, and no other."""
    every = ("-g", str(group), "-keyint_min", str(group), "-sc_threshold", "0")
    return ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", *every, *options, *AAC)


@pytest.fixture
def decoded_from(monkeypatch) -> list[str]:
    """How pictures were decoded that are no key frames: "key" or "start", once each time."""
    ways = []
    for name, way in (("_from_key_frames", "key"), ("_from_start", "start")):
        original = getattr(keyframes.Decoder, name)

        def recorded(self, *arguments, original=original, way=way):
            ways.append(way)
            return original(self, *arguments)

        monkeypatch.setattr(keyframes.Decoder, name, recorded)
    return ways


def shown_at(path: Path, times: list[float], shape: tuple[int, ...]) -> np.ndarray:
    """What is on the screen at those times: every picture decoded, by another way to choose."""
    height, width, _ = shape
    at = "+".join(f"lte(prev_t,{time:.6f})*gt(t,{time + 2e-5:.6f})" for time in times)
    # The picture before the first that is later; one more stands behind the last.
    filters = f"settb=AVTB,tpad=stop=1,select='{at}',scale={width}:{height}"
    filters = (
        f"settb=AVTB,select='{'+'.join(f'between(t,{t - 2e-5:.6f},{t + 2e-5:.6f})' for t in times)}'"
        f",scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int"
    )
    command = [process.binary(), "-nostdin", "-v", "error", "-i", path]
    command += ["-map", "0:V:0", "-vf", filters, "-fps_mode", "passthrough"]
    command += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    command += ["-map", "0:a:0", "-c", "copy", "-f", "null", "-"]  # the clock is that of both
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape)
