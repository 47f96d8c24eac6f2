"""What it changes for the teachers which picture of a label step they see.

    python -m benchmarks.pictures --videos videos.csv --teachers imagenet --output pictures.json

For each label step of 5 s of the videos: the picture at its middle, and beside it the key frame in
the step nearest to the middle, the last key frame before the step, and the first picture in it.
Every picture is decoded, by ffmpeg alone, so this is not what `media.extract` does but what it has
to choose from. Of each choice: its distance from the middle, the divergence KL(middle || choice) in
nats and the total variation between a teacher's two answers, and how often their first class is the
same; apart for steps that have a key frame and those that have none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.progress import track

from benchmarks import machine
from media import process
from schemas import video_list
from teacher import Teacher, load, parse_spec

STEP = 5.0
"""Seconds of a label step."""

SHOWN = re.compile(r"pts_time:(\S+).*?iskey:(\d)")
SIZE = "scale=w='if(gt(iw,ih),-2,256)':h='if(gt(iw,ih),256,-2)'"

Choice = dict[str, int]
"""By the name of a choice the number of its picture."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", required=True, metavar="LIST", help="a list of local videos")
    parser.add_argument("--teachers", nargs="+", default=["imagenet"], metavar="TEACHER",
                        help="as `python -m pipeline` takes them")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON too")
    args = parser.parse_args()
    teachers = [load(parse_spec(text)) for text in args.teachers]
    found: dict[str, list] = {}
    rows, _ = video_list.parse(Path(args.videos).read_text("utf-8"), args.videos)
    for row in track(rows, "videos"):
        times, keys = every_picture(row.url)
        steps = np.arange(0, times[-1] + 1e-9, STEP)
        choices = [choose(times, keys, begin) for begin in steps if times[-1] - begin >= STEP / 2]
        pictures = decode(row.url, {number for choice in choices for number in choice.values()})
        for choice in choices:
            for name, number in choice.items():
                if name == "middle":
                    continue
                pair = pictures[choice["middle"]], pictures[number]
                distance = abs(times[choice["middle"]] - times[number])
                key = "with a key frame" if "key frame" in choice else "without a key frame"
                found.setdefault(f"{key}: {name}", []).append((distance, *pair))
    compared = {
        teacher.info.name: {name: compare(teacher, cases) for name, cases in sorted(found.items())}
        for teacher in teachers
    }
    text = json.dumps({"machine": machine.describe(), "teachers": compared}, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", "utf-8")


def ffmpeg(path: str, filters: str, level: str, *output: str) -> subprocess.CompletedProcess:
    command = [process.binary(), "-nostdin", "-hide_banner", "-v", level, "-i", path]
    command += ["-map", "0:V:0", "-vf", filters, "-fps_mode", "passthrough", *output, "-"]
    return subprocess.run(command, capture_output=True, check=True)


def every_picture(path: str) -> tuple[np.ndarray, np.ndarray]:
    """When each picture is shown, in seconds after the first, and which are key frames."""
    log = ffmpeg(path, "showinfo", "info", "-f", "null").stderr.decode(errors="replace")
    times, keys = np.array(SHOWN.findall(log), float).T
    return times - times[0], keys.astype(bool)


def choose(times: np.ndarray, keys: np.ndarray, begin: float) -> Choice:
    """The pictures that may stand for the label step from `begin` on."""
    (inside,) = np.nonzero((times >= begin) & (times < begin + STEP))
    if not len(inside):
        return {}

    def nearest(numbers: np.ndarray) -> int:
        return int(numbers[np.abs(times[numbers] - begin - STEP / 2).argmin()])

    choice = {"middle": nearest(inside), "first picture": int(inside[0])}
    if keys[inside].any():
        choice["key frame"] = nearest(inside[keys[inside]])
    (before,) = np.nonzero(keys & (times < begin))
    if len(before):
        choice["key frame before"] = int(before[-1])
    return choice


def decode(path: str, numbers: set[int]) -> dict[int, np.ndarray]:
    """Pictures by their number, RGB uint8 (H, W, 3), of the size that teachers are given."""
    if not numbers:
        return {}
    chosen = "+".join(f"eq(n,{number})" for number in sorted(numbers))
    filters = f"select='{chosen}',{SIZE},format=rgb24"
    data = ffmpeg(path, filters, "error", "-f", "image2pipe", "-c:v", "ppm").stdout
    pictures, at = {}, 0
    for number in sorted(numbers):
        header = re.compile(rb"P6\s(\d+)\s(\d+)\s255\s").match(data, at)
        assert header is not None  # ffmpeg gave as many pictures as it was asked for
        width, height = int(header[1]), int(header[2])
        pixels = np.frombuffer(data, np.uint8, width * height * 3, header.end())
        pictures[number], at = pixels.reshape(height, width, 3), header.end() + pixels.size
    return pictures


def compare(
    teacher: Teacher, cases: list[tuple[float, np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """How far a teacher's answers for the middle and for the choice lie apart."""
    distances, middles, choices = zip(*cases, strict=True)
    middle, choice = answers(teacher, middles), answers(teacher, choices)
    divergence = (middle * np.log((middle + 1e-7) / (choice + 1e-7))).sum(axis=1)
    figures = {
        "seconds from the middle": np.mean(distances),
        "KL": divergence.mean(),
        "KL, median": np.median(divergence),
        "total variation": np.abs(middle - choice).sum(axis=1).mean() / 2,
        "same first class": (middle.argmax(axis=1) == choice.argmax(axis=1)).mean(),
    }
    rounded = {name: round(float(figure), 4) for name, figure in figures.items()}
    return {"label steps": len(cases), **rounded}


def answers(teacher: Teacher, pictures: Sequence[np.ndarray]) -> np.ndarray:
    batches = [pictures[at : at + teacher.batch] for at in range(0, len(pictures), teacher.batch)]
    return np.concatenate([teacher.predict(teacher.preprocess(batch)) for batch in batches])


if __name__ == "__main__":
    main()
