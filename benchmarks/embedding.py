"""An hour of sound, embedded: speed against real time, peak memory, and a peer beside it.

    python -m benchmarks.embedding --sounds FOLDER --yamnet yamnet.tflite --output embedding.json

The sounds of a folder (real ones, again and again) become an hour of 22,050 Hz mono FLAC three
times: in files of 20 s, in files of 5 s, and as one file. `soundnet embed` takes each, pool5, an
`.npz` a file, as a command of its own, by one process and by several; so does YAMNet
(`benchmarks.yamnet`, a TensorFlow Lite file that the user brings), the same files, in the same run.

`seconds` are those of the whole command, start-up and loading of the network included;
`startup_seconds` those of the same command on one sound of a second. `times_real_time` is of the
whole. Memory is that of the whole tree of processes, see `benchmarks.memory`. The runs are in
rounds, each round all of them; given is the median round of each, and what the others took.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

import media
from benchmarks import machine
from benchmarks.memory import Memory
from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK
from soundnet.bulk import sources

LENGTHS = {"20_s_files": 20.0, "5_s_files": 5.0, "one_file": None}


def sound(folder: Path, seconds: float) -> Iterator[np.ndarray]:
    """The sounds of a folder, one after the other, again and again; -1..1."""
    wanted = round(seconds * SAMPLE_RATE)
    while wanted:
        before = wanted
        for source in sources.find([str(folder)]):
            with contextlib.suppress(media.MediaError):  # one without sound
                waveform = media.load_waveform(source.name)[:wanted]
                yield waveform / WAVEFORM_PEAK
                wanted -= len(waveform)
            if not wanted:
                return
        if wanted == before:
            sys.exit(f"there is no sound in {folder}")


def write(folder: Path, blocks: Iterator[np.ndarray], length: float | None) -> int:
    """FLAC files of so many seconds, or one; gives how many."""
    folder.mkdir()
    if length is None:
        with soundfile.SoundFile(folder / "0.flac", "w", SAMPLE_RATE, 1) as file:
            for block in blocks:
                file.write(block)
        return 1
    samples, rest, number = round(length * SAMPLE_RATE), np.zeros(0, np.float32), 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= samples:
            soundfile.write(folder / f"{number:05}.flac", rest[:samples], SAMPLE_RATE)
            rest, number = rest[samples:], number + 1
    return number


def run(command: Sequence[object]) -> dict[str, object]:
    """A command's time and memory."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as words:
        running = subprocess.Popen(list(map(str, command)), stdout=words, stderr=words)
        memory = Memory(running.pid)
        memory.watch(running)
        seconds = time.monotonic() - started
        if running.returncode:
            words.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{words.read()[-2000:]}")
    return {"seconds": round(seconds, 2), "mib": memory.mebibytes()}


def commands(args: argparse.Namespace) -> dict[str, list[object]]:
    """By a name each program that embeds a folder; folder and output are to be appended."""
    ours = [sys.executable, "-m", "soundnet", "embed", "--weights", args.weights]
    found = {f"soundnet_{n}": [*ours, "--processes", n] for n in args.processes}
    if args.yamnet:
        found["yamnet"] = [sys.executable, "-m", "benchmarks.yamnet", args.yamnet]
    return found


def embed(name: str, command: list[object], folder: Path, output: Path) -> dict[str, object]:
    if name.startswith("soundnet"):
        return run([*command, folder, "--output", output])
    return run([*command, folder, output])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embedding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sounds", type=Path, required=True, help="a folder of sound files")
    parser.add_argument("--hours", type=float, default=1.0, help="of sound (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1, 2], help="of soundnet (default 1 2)"
    )
    parser.add_argument("--weights", default="published", help="as in `soundnet embed`")
    parser.add_argument("--yamnet", type=Path, help="YAMNet as a .tflite file, to compare with")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    seconds = args.hours * 3600
    taken: dict[tuple[str, str], list[dict]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder / "startup", sound(args.sounds, 1), None)
        counts = {
            name: write(folder / name, sound(args.sounds, seconds), length)
            for name, length in LENGTHS.items()
        }
        for number in range(args.rounds):
            for program, command in commands(args).items():
                for name in ("startup", *counts):
                    output = folder / f"{program}-{name}-{number}"
                    found = embed(program, command, folder / name, output)
                    taken[program, name].append(found)
                    print(f"{program}, {name}, round {number + 1}: {found}", file=sys.stderr)
    result: dict[str, object] = {"hours": args.hours, "files": counts, "rounds": args.rounds}
    for program in commands(args):
        startup = statistics.median(found["seconds"] for found in taken[program, "startup"])
        figures: dict[str, object] = {"startup_seconds": startup}
        result[program] = figures
        for name in counts:
            rounds = sorted(taken[program, name], key=lambda found: found["seconds"])
            median = rounds[len(rounds) // 2]
            figures[name] = {
                "times_real_time": round(seconds / median["seconds"]),
                "all_rounds_seconds": [found["seconds"] for found in rounds],
                **median,
            }
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
