"""Files made for a test, with the same ffmpeg that reads them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from media.process import binary

settings.register_profile("media", deadline=None)  # a test is no clock, on a busy machine least
settings.load_profile("media")

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2")


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """Run ffmpeg with these arguments; it must succeed."""

    def run(*arguments: str | Path) -> None:
        command = [binary(), "-nostdin", "-y", "-loglevel", "error", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def turn() -> Callable[[Path, Path, int], None]:
    """Copy an MP4 whose first track is to be shown turned clockwise by so many degrees."""
    matrices = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}

    def copy(source: Path, target: Path, degrees: int) -> None:
        content = bytearray(source.read_bytes())
        at = content.index(b"tkhd") + 44  # the track header's matrix: a b u, c d v, x y w
        a, b, c, d = (value << 16 for value in matrices[degrees])
        struct.pack_into(">9i", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
        target.write_bytes(content)

    return copy


@pytest.fixture(scope="session")
def make(ffmpeg, tmp_path_factory) -> Callable[..., Path]:
    """Make a video: a moving test picture and a tone, of so many seconds."""
    folder = tmp_path_factory.mktemp("made")

    def video(
        name: str,
        *options: str,
        seconds: float = 3,
        sound_seconds: float | None = None,
        size: str = "160x120",
        codecs: tuple[str, ...] = (*H264, "-c:a", "aac"),
    ) -> Path:
        path = folder / name
        if not path.exists():
            picture = f"testsrc2=s={size}:r=25:d={seconds}"
            sound = f"sine=f=440:r=44100:d={sound_seconds or seconds}"
            inputs = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound)
            ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", *codecs, *options, path)
        return path

    return video


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """Every process that is started."""
    processes = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return processes
