"""`extract` against bare ffmpeg doing the same extraction, on the same files, in one run.

    python -m benchmarks.extraction VIDEO... [--repeats 3]

The ways, one video after the other each, in turn:
  ffmpeg            sound, and four pictures a label step of 5 s, every picture decoded
  ffmpeg_keyframes  sound, and the pictures that ffmpeg gives when told to skip all but key frames
  exact, keyframes  `extract` in its two ways

Prints JSON: seconds of media, wall and processor seconds of each way (the least of the repeats),
what part they are of bare ffmpeg's that decodes every picture, and the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import machine
from media import MediaError, extract, process
from schemas.waveform import SAMPLE_RATE


def with_extract(path: Path, pictures: str) -> float:
    """Seconds of sound in the segments."""
    segments = extract(path, pictures=pictures)
    return sum(len(segment.pcm) for segment in segments) / SAMPLE_RATE


def with_ffmpeg(path: Path, only: tuple[str, ...], choice: str) -> None:
    """Sound at 22,050 Hz, and pictures with a short side of 256 pixels."""
    size = "scale=w='if(gte(a,1),-1,256)':h='if(gte(a,1),256,-1)':flags=bicubic"
    command = [process.binary(), "-nostdin", "-v", "error", "-y", "-threads", "1", *only]
    command += ["-i", str(path)]
    command += ["-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", os.devnull]
    command += ["-map", "0:V:0", "-vf", f"{choice}{size},format=rgb24"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", os.devnull]
    subprocess.run(command, check=True, capture_output=True)


WAYS: dict[str, Callable[[Path], object]] = {
    "ffmpeg": lambda path: with_ffmpeg(path, (), "fps=4/5,"),
    "ffmpeg_keyframes": lambda path: with_ffmpeg(path, ("-skip_frame:v", "nokey"), ""),
    "exact": lambda path: with_extract(path, "exact"),
    "keyframes": lambda path: with_extract(path, "keyframes"),
}


def processor_seconds() -> float:
    """User and system time of this process and of those that it has ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(work: Callable[[Path], object], paths: list[Path]) -> tuple[float, float]:
    """Wall and processor seconds for all the files."""
    wall, processor = time.perf_counter(), processor_seconds()
    for path in paths:
        work(path)
    return time.perf_counter() - wall, processor_seconds() - processor


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path, help="video files")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    options = parser.parse_args()

    usable, seconds = [], 0.0
    for path in options.videos:
        try:
            seconds += with_extract(path, "exact")
            usable.append(path)
        except MediaError as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
    if not usable:
        parser.error("none of these files gives sound and pictures; name some that do")
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(options.repeats):  # in turn, so that a busy machine is busy for all
        for name, work in WAYS.items():
            runs[name].append(measure(work, usable))
    least = {
        name: [min(column) for column in zip(*done, strict=True)] for name, done in runs.items()
    }
    result: dict[str, object] = {"files": len(usable), "media_seconds": round(seconds, 1)}
    for column, name in enumerate(("wall", "processor")):
        floor = least["ffmpeg"][column]
        result[f"{name}_seconds"] = {way: round(one[column], 2) for way, one in least.items()}
        result[f"{name}_of_ffmpeg"] = {
            way: round(one[column] / floor, 3) for way, one in least.items()
        }
    result["times_real_time"] = {way: round(seconds / one[0], 1) for way, one in least.items()}
    result["ffmpeg"] = process.version()
    machine.report(result, options.output)


if __name__ == "__main__":
    main()
