"""The training's speed: the network alone, and the records alone.

    python -m benchmarks.trainer --data data

Step and forward pass of SoundNet-8 with the fused batch normalization and with Keras's own, turn by
turn in one run (medians, seconds a batch); then clips a second of the input pipeline by itself, for
the data set's clips in each codec. JSON, with the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks import machine
from schemas import audio
from schemas.clip import ClipRecord
from schemas.dataset_info import FILE_NAME, ShardInfo
from trainer import data, losses, network
from trainer.config import Config

SECONDS = 20
HEADS = {"imagenet": 1000, "places": 401}


def network_times(batch_size: int, rounds: int) -> dict:
    """Median seconds of a training step and of a forward pass, with either normalization."""
    random = np.random.default_rng(0)
    waveform = tf.constant(random.normal(0, 20, (batch_size, SECONDS * 22050)), tf.float32)
    targets = {
        name: tf.nn.softmax(random.normal(0, 3, (batch_size, 4, size)).astype("float32"))
        for name, size in HEADS.items()
    }
    keras_own = functools.partial(keras.layers.BatchNormalization, epsilon=1e-5, momentum=0.9)
    calls = {}
    for name, layer in (("fused", network.BatchNormalization), ("keras", keras_own)):
        with mock.patch.object(network, "BatchNormalization", layer):
            model = network.SoundNet(8, {n: map(str, range(s)) for n, s in HEADS.items()})
        optimizer = keras.optimizers.Adam(1e-3)
        optimizer.build(model.trainable_variables)

        def step(model=model, optimizer=optimizer):
            with tf.GradientTape() as tape:
                loss, _ = losses.distillation_loss(targets, model(waveform, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return loss

        def forward(model=model):
            return model(waveform, training=False)["places"]

        calls[name] = {
            "step": tf.function(step, autograph=False),
            "forward": tf.function(forward, autograph=False),
        }
    times = {name: {kind: [] for kind in kinds} for name, kinds in calls.items()}
    for turn in range(rounds + 1):
        for name, kinds in calls.items():
            for kind, call in kinds.items():
                started = time.perf_counter()
                call().numpy()
                if turn:  # the first builds the graph
                    times[name][kind].append(time.perf_counter() - started)
    seconds = {
        name: {kind: round(statistics.median(values), 3) for kind, values in kinds.items()}
        for name, kinds in times.items()
    }
    for kinds in seconds.values():
        kinds["forward_times_real_time"] = round(batch_size * SECONDS / kinds["forward"])
    return {"batch_size": batch_size, "rounds": rounds, "seconds": seconds}


def input_rates(folder: str, clips: int, batch_size: int) -> dict[str, float]:
    """Clips a second that the training batches come at, nothing else running, by codec."""
    config = Config(data=folder, model_dir="", batch_size=batch_size)
    info = data.usable_info(config)
    files = [str(Path(folder) / shard.file) for shard in info.splits["train"]]
    records = tf.data.TFRecordDataset(files).take(clips).as_numpy_iterator()
    some = [ClipRecord.from_bytes(record) for record in records]
    rates = {}
    for codec in audio.CODECS:
        with tempfile.TemporaryDirectory() as copy:
            path = Path(copy) / "train-00000.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for clip in some:
                    writer.write(dataclasses.replace(clip, audio_codec=codec).to_bytes())
            shard = ShardInfo(path.name, len(some), path.stat().st_size)
            described = dataclasses.replace(info, audio_codec=codec, splits={"train": [shard]})
            (Path(copy) / FILE_NAME).write_text(described.to_json())
            batches = iter(data.train_batches(dataclasses.replace(config, data=copy), described))
            next(batches)
            count = -(-3 * len(some) // batch_size)
            started = time.perf_counter()
            for _ in range(count):
                next(batches)
            rates[codec] = round(count * batch_size / (time.perf_counter() - started), 1)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trainer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="a data set that the pipeline made")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clips", type=int, default=64, help="for the input pipeline")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    result = {
        "input_clips_per_second": input_rates(args.data, args.clips, args.batch_size),
        "network": network_times(args.batch_size, args.rounds),
    }
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
