"""`extract` against bare ffmpeg doing the same extraction, on the same files, in one run.

    python -m benchmarks.extraction VIDEO... [--repeats 3]

Prints JSON: seconds of media, wall and processor seconds of each way (the least of the repeats),
the share of extract's wall time that bare ffmpeg needs, and the machine.
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


def with_extract(path: Path) -> float:
    """Seconds of sound in the segments."""
    return sum(len(segment.pcm) for segment in extract(path)) / SAMPLE_RATE


def with_ffmpeg(path: Path) -> None:
    """Sound at 22,050 Hz, and four pictures a label step of 5 s with a short side of 256 pixels."""
    size = "scale=w='if(gte(a,1),-1,256)':h='if(gte(a,1),256,-1)':flags=bicubic"
    command = [process.binary(), "-nostdin", "-v", "error", "-y", "-threads", "1", "-i", str(path)]
    command += ["-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", os.devnull]
    command += ["-map", "0:V:0", "-vf", f"fps=4/5,{size},format=rgb24"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", os.devnull]
    subprocess.run(command, check=True, capture_output=True)


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
            seconds += with_extract(path)
            usable.append(path)
        except MediaError as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
    if not usable:
        parser.error("none of these files gives sound and pictures; name some that do")
    ways: dict[str, list[tuple[float, float]]] = {"ffmpeg": [], "extract": []}
    for _ in range(options.repeats):  # in turn, so that a busy machine is busy for both
        ways["ffmpeg"].append(measure(with_ffmpeg, usable))
        ways["extract"].append(measure(with_extract, usable))
    wall = {name: min(run[0] for run in runs) for name, runs in ways.items()}
    result = {
        "files": len(usable),
        "media_seconds": round(seconds, 1),
        "wall_seconds": {name: round(value, 2) for name, value in wall.items()},
        "processor_seconds": {
            name: round(min(run[1] for run in runs), 2) for name, runs in ways.items()
        },
        "ffmpeg_share_of_extract": round(wall["ffmpeg"] / wall["extract"], 3),
        "times_real_time": round(seconds / wall["extract"], 1),
        "ffmpeg": process.version(),
    }
    machine.report(result, options.output)


if __name__ == "__main__":
    main()
