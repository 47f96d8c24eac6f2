"""Exported networks in their own runtimes: size, largest difference, speed.

    python -m benchmarks.exports --sounds SOUNDS [--weights published] [--output exports.json]

The network is exported in every format (`soundnet export`), then each file hears every sound, and
what it gives is held against the network in Keras. Speed is that of one waveform of 20 s at a time
(the median of 10), as seconds of sound a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import media
from benchmarks import machine
from schemas.waveform import SAMPLE_RATE
from soundnet import weights
from trainer import export

TRIES = 10


def times_real_time(path: Path, outputs: list[str]) -> float:
    run = export.load(path, outputs)
    waveform = np.random.default_rng(0).normal(0, 30, (1, 20 * SAMPLE_RATE)).astype(np.float32)
    seconds = []
    for _ in range(TRIES + 2):
        started = time.perf_counter()
        run(waveform)
        seconds.append(time.perf_counter() - started)
    return round(20 / statistics.median(seconds[2:]))  # the first ones prepare


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sounds", type=Path, required=True, help="a folder of sound files")
    parser.add_argument("--weights", default=weights.PUBLISHED, help="as in `soundnet export`")
    parser.add_argument("--outputs", nargs="+", default=[], help="as in `soundnet export`")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    network = weights.load_network(args.weights)
    waveforms = [media.load_waveform(path) for path in sorted(args.sounds.iterdir())]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in export.FORMATS:
            made = next(export.export(network, Path(folder), [name], args.outputs, waveforms))
            found[name] = {
                "bytes": made.bytes,
                "largest_difference": made.differences,
                "times_real_time": times_real_time(made.path, args.outputs),
            }
    machine.report({"sounds": len(waveforms), "formats": found}, args.output)


if __name__ == "__main__":
    main()
