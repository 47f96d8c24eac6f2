"""How much of the pipeline's wall time is ffmpeg and the teachers themselves.

    python -m benchmarks.pipeline --videos videos.csv --teachers imagenet places

In one run, over the same videos, with as many processes:
  ffmpeg    bare ffmpeg making 22,050 Hz mono sound and one picture per 5 s of each video
  teachers  the teachers, loaded, on those pictures and nothing else
  pipeline  `python -m pipeline`, from its start to its end
The share is (ffmpeg + teachers) / pipeline.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


import numpy as np

import media
import teacher
from benchmarks import machine
from media import process
from pipeline.__main__ import read_list

_PICTURES = (
    "fps=1/5,scale=w='if(gte(dar,1),round(256*dar),256)':h='if(gte(dar,1),256,round(256/dar))'"
)


def bare_ffmpeg(path: str) -> None:
    """The extraction by ffmpeg alone, its output thrown away; a bad file is a bad file here too."""
    command = [process.binary(), "-v", "error", "-nostdin", "-threads", "1", "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-ac", "1", "-ar", "22050", "-f", "s16le", "-y", "/dev/null"]
    command += ["-map", "0:v:0", "-vf", _PICTURES, "-c:v", "ppm", "-f", "image2pipe", "-y"]
    subprocess.run([*command, "/dev/null"], stderr=subprocess.DEVNULL, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", required=True, help="video list or folder, local files")
    parser.add_argument("--teachers", nargs="*", default=["imagenet"])
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()

    rows, _ = read_list(args.videos)
    paths = [row.url for row in rows]
    for path in paths:  # into the page cache, so that no part pays for the disk
        Path(path).read_bytes()

    started = time.monotonic()
    with ThreadPoolExecutor(args.processes) as pool:
        list(pool.map(bare_ffmpeg, paths))
    ffmpeg_seconds = time.monotonic() - started

    frames: list[np.ndarray] = []
    sound_seconds = 0.0
    for path in paths:
        try:
            for segment in media.extract(path):
                frames += segment.frames
                sound_seconds += len(segment.pcm) / 22050
        except media.MediaError as error:
            print(f"{path}: {error}", file=sys.stderr)
    teacher_seconds = {}
    for text in args.teachers:
        look = teacher.load(teacher.parse_spec(text))
        look(frames[: teacher.BATCH])
        started = time.monotonic()
        look(frames)
        teacher_seconds[text] = time.monotonic() - started

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pipeline", "--input", args.videos, "--output", folder]
        command += ["--teachers", *(args.teachers or ["none"])]
        command += ["--processes", str(args.processes)]
        started = time.monotonic()
        subprocess.run(command, check=True)
        pipeline_seconds = time.monotonic() - started

    bare = ffmpeg_seconds + sum(teacher_seconds.values())
    result = {
        "videos": len(paths),
        "sound_seconds": round(sound_seconds, 1),
        "label_steps": len(frames),
        "processes": args.processes,
        "ffmpeg_seconds": round(ffmpeg_seconds, 2),
        "teacher_seconds": {name: round(s, 2) for name, s in teacher_seconds.items()},
        "pipeline_seconds": round(pipeline_seconds, 2),
        "share": round(bare / pipeline_seconds, 3),
    }
    machine.report(result, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
