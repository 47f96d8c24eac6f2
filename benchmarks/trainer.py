"""The training's speed: the network against others, the loop against its data, the data alone.

    python -m benchmarks.trainer --data data [--torch PYTHON]

- `network`: training step and forward pass of SoundNet-8, ours, with Keras's own layers and
  optimizer, and, with `--torch`, in eager PyTorch: turn by turn in one run, with as many threads
  (medians, seconds a batch). PyTorch begins with our weights, and its logits and gradients are
  compared with ours. PYTHON is the python of another environment, for TensorFlow and PyTorch
  want different versions of what they share:
  `python -m venv torch && torch/bin/pip install torch numpy`
- `loop`: a step of `trainer.train` with real records of each codec, and with batches that stay in
  memory, turn by turn in one training (medians of the turns' ratios, and their quartiles).
- `input`: clips a second of the input pipeline by itself, for the data set's clips in each codec,
  with one core and with all.

JSON, with the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks import machine
from schemas import audio
from schemas.clip import ClipRecord
from schemas.dataset_info import FILE_NAME, DatasetInfo, ShardInfo
from trainer import data, losses, network
from trainer.config import Config
from trainer.devices import Devices
from trainer.layers import Adam
from trainer.progress import METRICS_FILE
from trainer.train import train

PARTS = ("network", "loop", "input")
SECONDS = 20
HEADS = {"imagenet": 1000, "places": 401}
TURN_STEPS, IN_MEMORY = 16, 8


class Torch:
    """The network in another environment's PyTorch, in a process of its own."""

    def __init__(self, python: Path, folder: Path, threads: int) -> None:
        script = Path(__file__).with_name("torch_network.py")
        self._process = subprocess.Popen(
            [str(python), str(script), str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked, self._answers = self._process.stdin, self._process.stdout
        self.version = self._answers.readline().strip()

    def seconds(self, what: str) -> float:
        """The time of a `step` or a `forward`."""
        self._asked.write(what + "\n")
        self._asked.flush()
        return float(self._answers.readline())

    def close(self) -> None:
        self._asked.close()
        self._process.wait()


def network_times(batch_size: int, rounds: int, threads: int, torch: Path | None) -> dict:
    """Median seconds of a training step and of a forward pass."""
    random = np.random.default_rng(0)
    waveform = random.normal(0, 20, (batch_size, SECONDS * 22050)).astype("float32")
    targets = {
        name: tf.nn.softmax(random.normal(0, 3, (batch_size, 4, size)).astype("float32"))
        for name, size in HEADS.items()
    }
    sound = tf.constant(waveform)
    calls, models = {}, {}
    kerass = {
        "BatchNormalization": functools.partial(
            keras.layers.BatchNormalization, epsilon=1e-5, momentum=0.9
        ),
        "Conv1D": keras.layers.Conv1D,
    }
    for name, replaced, adam in (("ours", {}, Adam), ("keras", kerass, keras.optimizers.Adam)):
        keras.utils.set_random_seed(1)
        with contextlib.ExitStack() as stack:
            for attribute, layer in replaced.items():
                stack.enter_context(mock.patch.object(network, attribute, layer))
            model = network.SoundNet(8, {n: [*map(str, range(s))] for n, s in HEADS.items()})
        optimizer = adam(1e-3)
        optimizer.build(model.trainable_variables)

        def gradients(model=model):
            with tf.GradientTape() as tape:
                loss, _ = losses.distillation_loss(targets, model(sound, training=True))
            return loss, tape.gradient(loss, model.trainable_variables)

        def step(model=model, optimizer=optimizer, gradients=gradients):
            loss, found = gradients()
            optimizer.apply(found, model.trainable_variables)
            return loss

        def forward(model=model):
            return model(sound, training=False)["places"]

        models[name] = model
        calls[name] = {
            "step": tf.function(step, autograph=False),
            "forward": tf.function(forward, autograph=False),
        }
        if name == "ours":
            ours = tf.function(gradients, autograph=False)

    def seconds_of(call) -> float:
        started = time.perf_counter()
        call().numpy()
        return time.perf_counter() - started

    timers = {
        name: {kind: functools.partial(seconds_of, call) for kind, call in kinds.items()}
        for name, kinds in calls.items()
    }
    agreement = {}
    with contextlib.ExitStack() as stack:
        if torch:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            np.savez(folder / "weights.npz", **{w.path: w.numpy() for w in models["ours"].weights})
            np.savez(folder / "targets.npz", **{name: t.numpy() for name, t in targets.items()})
            np.save(folder / "waveform.npy", waveform)
            other = Torch(torch, folder, threads)
            stack.callback(other.close)
            agreement = _agreement(models["ours"], ours, sound, folder) | {"torch": other.version}
            timers["torch"] = {
                kind: functools.partial(other.seconds, kind) for kind in ("step", "forward")
            }
        times: dict[str, dict[str, list[float]]] = {
            name: {kind: [] for kind in kinds} for name, kinds in timers.items()
        }
        for turn in range(rounds + 1):
            for name, kinds in timers.items():
                for kind, timer in kinds.items():
                    took = timer()
                    if turn:  # the first builds the graph
                        times[name][kind].append(took)
    seconds = {
        name: {kind: round(statistics.median(values), 3) for kind, values in kinds.items()}
        for name, kinds in times.items()
    }
    times_ours = {
        name: {
            kind: round(statistics.median(values) / statistics.median(times["ours"][kind]), 2)
            for kind, values in kinds.items()
        }
        for name, kinds in times.items()
    }
    for of_one in seconds.values():
        of_one["forward_times_real_time"] = round(batch_size * SECONDS / of_one["forward"])
    return {
        "batch_size": batch_size,
        "rounds": rounds,
        "threads": threads,
        "seconds": seconds,
        "times_ours": times_ours,
        "torch_agreement": agreement,
    }


def _agreement(model: network.SoundNet, gradients, sound: tf.Tensor, folder: Path) -> dict:
    """How far we are from Torch's logits, loss and gradients (norms of differences over norms).

    A bias before a normalization has no gradient but noise, and is left out. Of the gradients the
    worst: rounding turns some ReLUs, and makes another sample of a pool the largest.
    """
    theirs = dict(np.load(folder / "logits.npz"))
    logits = model(sound, training=False)
    loss, found = gradients()
    their_gradients = dict(np.load(folder / "gradients.npz"))
    shares = {
        weight.path: _share(gradient.numpy(), their_gradients[weight.path])
        for weight, gradient in zip(model.trainable_variables, found, strict=True)
        if "conv8" in weight.path or not weight.path.endswith("bias")
    }
    worst = max(shares, key=shares.__getitem__)
    return {
        "logits": max(_share(logits[name].numpy(), theirs[name]) for name in theirs),
        "loss": _share(loss.numpy(), their_gradients["loss"]),
        "gradients": shares[worst],
        "of": worst,
    }


def _share(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def loop_times(folders: dict[str, Path], batch_size: int, turns: int) -> dict:
    """Median seconds of a step of the real loop: with batches in memory, and with the records of
    each folder.

    All in one training, turn by turn, for a machine's speed drifts by more than what is measured.
    Of each turn's steps the first are left out: what is ready ahead of the loop was made while
    another's turn was on.

    Args:
        folders: data sets by codec, of the same clips.
    """
    streams: dict[str, Iterator] = {}
    served: list[str] = []

    def by_turns(self, _: tf.data.Dataset) -> Iterator[dict]:
        for codec, folder in folders.items():
            of_codec = dataclasses.replace(config, data=str(folder))
            streams[codec] = iter(data.train_batches(of_codec, data.usable_info(of_codec)))
        first = next(iter(streams.values()))
        # As many as no cache of a processor holds.
        streams["memory"] = itertools.cycle([next(first) for _ in range(IN_MEMORY)])
        names = list(streams)
        for turn in itertools.count():
            begin = turn % len(names)
            for name in [*names[begin:], *names[:begin]]:
                for _ in range(TURN_STEPS):
                    served.append(name)
                    yield next(streams[name])

    with tempfile.TemporaryDirectory() as model_dir:
        config = Config(
            data=str(next(iter(folders.values()))),
            model_dir=model_dir,
            batch_size=batch_size,
            steps=turns * (len(folders) + 1) * TURN_STEPS,
            log_every=1,
            validate_every=10**9,
            checkpoint_every=10**9,
        )
        with mock.patch.object(Devices, "batches", by_turns):
            train(config)
        lines = (Path(model_dir) / METRICS_FILE).read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "train"]
    seconds: dict[str, list[float]] = defaultdict(list)
    waited: dict[str, list[float]] = defaultdict(list)
    for first in range(0, len(rows), TURN_STEPS):
        turn = rows[first + TURN_STEPS // 2 : first + TURN_STEPS]
        seconds[served[first]].append(
            statistics.median(batch_size / row["clips_per_second"] for row in turn)
        )
        waited[served[first]].append(statistics.mean(row["waiting_share"] for row in turn))
    memory = np.array(seconds["memory"])
    of_codecs = {}
    for codec in folders:
        ratios = np.array(seconds[codec]) / memory
        quarter, half, three = np.percentile(ratios, [25, 50, 75])
        of_codecs[codec] = {
            "seconds": round(statistics.median(seconds[codec]), 4),
            "ratio": round(half, 3),
            "ratio_quartiles": [round(quarter, 3), round(three, 3)],
            "waiting_share": round(statistics.mean(waited[codec]), 4),
        }
    return {
        "batch_size": batch_size,
        "turns": turns,
        "steps_of_a_turn": TURN_STEPS,
        "memory_seconds": round(statistics.median(memory), 4),
        **of_codecs,
    }


def _as_codec(folder: str, info: DatasetInfo, codec: str, clips: int, to: Path) -> DatasetInfo:
    """Write some of a data set's clips as another, of one shard, in a codec."""
    files = [str(Path(folder) / shard.file) for shard in info.splits["train"]]
    records = tf.data.TFRecordDataset(files).take(clips).as_numpy_iterator()
    path = to / "train-00000.tfrecord"
    some = [ClipRecord.from_bytes(record) for record in records]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for clip in some:
            writer.write(dataclasses.replace(clip, audio_codec=codec).to_bytes())
    shard = ShardInfo(path.name, len(some), path.stat().st_size)
    described = dataclasses.replace(info, audio_codec=codec, splits={"train": [shard]})
    (to / FILE_NAME).write_text(described.to_json())
    return described


def input_rates(folder: str, info: DatasetInfo, clips: int, batch_size: int) -> dict[str, float]:
    """Clips a second that the training batches come at, nothing else running: with one core, and
    with all."""
    config = Config(data=folder, model_dir="", batch_size=batch_size)
    rates = {}
    cores = os.sched_getaffinity(0)
    for name, allowed in (("one_core", {min(cores)}), ("all_cores", cores)):
        # Every thread there is, for new ones take after those that start them.
        for task in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(task.name), allowed)
        batches = iter(data.train_batches(config, info))
        next(batches)
        started, count = time.perf_counter(), 0
        while count < 3 * clips or time.perf_counter() - started < 2:
            next(batches)
            count += batch_size
        rates[name] = round(count / (time.perf_counter() - started), 1)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trainer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="a data set that the pipeline made")
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="of an environment with torch")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=15, help="of each kind of data in the loop")
    parser.add_argument("--clips", type=int, default=64, help="for the input pipeline")
    parser.add_argument("--codecs", nargs="+", default=audio.CODECS, choices=audio.CODECS)
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="default: all")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    result: dict[str, dict] = {}
    if "network" in args.only:
        result["network"] = network_times(args.batch_size, args.rounds, threads, args.torch)
    info = data.usable_info(Config(data=args.data, model_dir=""))
    with tempfile.TemporaryDirectory() as copies:
        folders = {codec: Path(copies) / codec for codec in args.codecs}
        for codec, folder in folders.items():
            folder.mkdir()
            described = _as_codec(args.data, info, codec, args.clips, folder)
            if "input" in args.only:
                rates = input_rates(str(folder), described, args.clips, args.batch_size)
                result.setdefault("input_clips_per_second", {})[codec] = rates
        if "loop" in args.only:
            result["loop"] = loop_times(folders, args.batch_size, args.turns)
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
