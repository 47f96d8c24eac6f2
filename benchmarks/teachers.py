"""Pictures a second of each teacher, preprocessing and prediction apart, beside the bare network.

    python -m benchmarks.teachers imagenet places --threads 1 --output result.json

The pictures are noise of the size that `media` gives (256 x 341). The bare network is the same one
called on one batch of the same size that is ready in memory: no padding, no copies, no checks. The
best of the rounds counts, rounds of both in turn, since other work on the machine only slows down.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


import numpy as np

import teacher
from benchmarks import machine
from teacher.networks import open_network

FRAME_SHAPE = (256, 341, 3)


def rate(work: Callable[[], object], pictures: int) -> float:
    """Pictures a second of one round."""
    started = time.perf_counter()
    work()
    return pictures / (time.perf_counter() - started)


def measure(spec: teacher.TeacherSpec, pictures: int, rounds: int) -> dict[str, object]:
    """The figures of one teacher."""
    import tensorflow as tf

    started = time.perf_counter()
    loaded = teacher.load(spec)
    load_seconds = time.perf_counter() - started
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, FRAME_SHAPE, np.uint8) for _ in range(pictures)]
    batch = loaded.preprocess(frames)

    network = open_network(spec).build()
    bare = tf.function(lambda part: network(part, training=False))
    part = tf.constant(batch[: loaded.batch])
    calls = pictures // loaded.batch

    def call_bare() -> None:
        for _ in range(calls):
            tf.nest.flatten(bare(part))[0].numpy()  # a SavedModel gives a dict

    call_bare()
    work = {
        "preprocess": (lambda: loaded.preprocess(frames), pictures),
        "predict": (lambda: loaded.predict(batch), pictures),
        "bare": (call_bare, calls * loaded.batch),
    }
    best = dict.fromkeys(work, 0.0)
    for _ in range(rounds):
        for name, (run, count) in work.items():
            best[name] = max(best[name], rate(run, count))
    return {
        "network": loaded.info.network,
        "batch": loaded.batch,
        "load_seconds": round(load_seconds, 2),
        "pictures_per_second": {name: round(value, 1) for name, value in best.items()},
        "predict_over_bare": round(best["predict"] / best["bare"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "teachers", nargs="*", default=["imagenet"], help="as `python -m pipeline --teachers`"
    )
    parser.add_argument("--threads", type=int, default=0, help="of TensorFlow; 0: as many as cores")
    parser.add_argument("--pictures", type=int, default=64, help="a round (default 64)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    if args.pictures < teacher.BATCH:
        parser.error(f"--pictures: at least one batch of {teacher.BATCH}")

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    try:
        measured = {
            text: measure(teacher.parse_spec(text), args.pictures, args.rounds)
            for text in args.teachers
        }
    except teacher.TeacherError as error:
        parser.error(str(error))
    result = {
        "threads": args.threads or len(os.sched_getaffinity(0)),
        "pictures": args.pictures,
        "rounds": args.rounds,
        "teachers": measured,
    }
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
