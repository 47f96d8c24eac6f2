"""A data set's records as batches for the network, streamed with tf.data.

A clip of n label steps is 5n s of sound, zero-padded where it is short; with n < 4 the sound AND
the labels are repeated to 20 s and 4 steps (the rule "tiled"; authors' `donkey_audio.lua`).

The order of the training clips depends on the seed and the position alone, so a run that goes on at
step n sees what it would have seen. Each epoch draws the shards anew and takes them in groups; a
group's shards are read side by side and shuffled; groups before the position are never read.
"""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from schemas import SchemaError, clip, dataset_info
from schemas.dataset_info import DatasetInfo, ShardInfo
from trainer import augment
from trainer.augment import clip_samples, crop_samples
from trainer.config import Config
from trainer.network import ARCHITECTURES

SHARDS_AT_ONCE = 16
"""Shards of a group, read side by side."""

SHUFFLE_RECORDS = 1024
"""Records, still compressed, among which the next is drawn."""


def read_info(folder: str) -> DatasetInfo:
    """The description of the data set in a folder (local or gs://).

    Raises:
        SchemaError: there is none, or it can't be used.
    """
    path = posixpath.join(folder, dataset_info.FILE_NAME)
    try:
        with tf.io.gfile.GFile(path) as file:
            text = file.read()
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise SchemaError(
            f"no {dataset_info.FILE_NAME} in {folder}: this is no data set. Make one with "
            f"`python -m pipeline --input LIST --output {folder}`"
        ) from error
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path} is damaged ({error}); copy the data set again") from error
    return DatasetInfo.from_json(text, path)


def usable_info(config: Config) -> DatasetInfo:
    """The data set of a run, with only the teachers that it learns from, all files in place.

    Raises:
        SchemaError: the data set doesn't fit the run; the message says what to do.
    """
    info = read_info(config.data)
    if config.teachers:
        info = dataclasses.replace(info, teachers=[info.teacher(n) for n in config.teachers])
    if not info.teachers:
        raise SchemaError(
            f"the records in {config.data} carry no teacher's word, so there is nothing to learn; "
            "make the data set again with `python -m pipeline --teachers ...`"
        )
    _check_outputs(config, info)
    if not info.records("train"):
        raise SchemaError(
            f"{config.data} has no clips to train on (split `train`); look into its ledger for why "
            "videos failed, or add videos with `python -m pipeline`"
        )
    _check_files(config.data, info)
    return info


def _check_outputs(config: Config, info: DatasetInfo) -> None:
    """The network must have an output for every label step, or, aligned, any at all."""
    architecture = ARCHITECTURES[config.depth]
    last = architecture.names[-1]
    outputs = architecture.output_steps(last, clip_samples(info))
    if outputs != info.steps_per_clip and not (config.align and outputs):
        raise SchemaError(
            f"the clips in {config.data} are {info.clip_seconds:g} s with {info.steps_per_clip} "
            f"label steps; for these SoundNet-{config.depth} gives {outputs} outputs. Make the "
            "data set again with clips of 20 s and label steps of 5 s"
            + (", or give --align" if outputs else "")
        )
    if config.crop:
        shortest = architecture.min_samples(last)
        if not shortest <= crop_samples(config, info) < clip_samples(info):
            raise SchemaError(
                f"--crop {config.crop:g}: a piece of the clips in {config.data} is wanted, from "
                f"{shortest / info.sample_rate:.2f} s (what SoundNet-{config.depth} needs for an "
                f"output) to below {info.clip_seconds:g} s"
            )


def _check_files(folder: str, info: DatasetInfo) -> None:
    # A shard cut off between two records reads like a whole one, so the sizes are compared.
    shards = [shard for split in ("train", "validation") for shard in info.splits.get(split, [])]

    def problem(shard: ShardInfo) -> str | None:
        path = posixpath.join(folder, shard.file)
        try:
            size = tf.io.gfile.stat(path).length
        except tf.errors.NotFoundError:
            return f"{path} is missing"
        if size != shard.bytes:
            return f"{path} has {size:,} bytes instead of {shard.bytes:,}"
        return None

    with ThreadPoolExecutor(32) as pool:
        problems = [found for found in pool.map(problem, shards) if found]
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise SchemaError(
            f"{len(problems)} of {len(shards)} shards don't fit {dataset_info.FILE_NAME}: "
            f"{'; '.join(problems[:5])}{more}. Copy the data set again, or run the pipeline again"
        )


def train_batches(config: Config, info: DatasetInfo, step: int = 0) -> tf.data.Dataset:
    """The endless stream of training batches from a step on.

    Each is `waveform` float32 (batch, samples) and `probs`, by teacher float32 (batch, outputs,
    classes); `trainer.augment` says what the outputs are told.
    """
    shards = [shard for shard in info.splits["train"] if shard.records]
    position = step * config.batch_size
    parse = _parser(info)

    def groups() -> Iterator[tuple[list[str], int, int]]:
        total = sum(shard.records for shard in shards)
        first_epoch, skip = divmod(position, total)
        for epoch in itertools.count(first_epoch):
            draw = np.random.default_rng([config.seed, epoch])
            order = [shards[i] for i in draw.permutation(len(shards))]
            for first in range(0, len(order), SHARDS_AT_ONCE):
                group = order[first : first + SHARDS_AT_ONCE]
                shuffle_seed = int(draw.integers(2**31))
                records = sum(shard.records for shard in group)
                if skip >= records:
                    skip -= records
                    continue
                yield [posixpath.join(config.data, s.file) for s in group], shuffle_seed, skip
                skip = 0

    def records_of(files: tf.Tensor, shuffle_seed: tf.Tensor, skip: tf.Tensor) -> tf.data.Dataset:
        return (
            tf.data.Dataset.from_tensor_slices(files)
            .interleave(tf.data.TFRecordDataset, SHARDS_AT_ONCE, num_parallel_calls=SHARDS_AT_ONCE)
            .shuffle(SHUFFLE_RECORDS, seed=shuffle_seed, reshuffle_each_iteration=False)
            .skip(skip)
        )

    def example(index: tf.Tensor, serialized: tf.Tensor) -> dict:
        return augment.training_clip(parse(serialized), index, config, info)

    signature = (
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([], tf.int64),
    )
    batches = (
        tf.data.Dataset.from_generator(groups, output_signature=signature)
        # A parallel interleave of one at a time keeps the order and reads the next group ahead.
        .interleave(records_of, cycle_length=1, num_parallel_calls=1)
        .enumerate(position)
        .map(example, tf.data.AUTOTUNE)
        .batch(config.batch_size, drop_remainder=True)
    )
    if config.mix:
        batches = batches.enumerate(step).map(
            lambda number, batch: augment.mix(batch, number, config), tf.data.AUTOTUNE
        )
    return batches.prefetch(tf.data.AUTOTUNE)


def validation_batches(config: Config, info: DatasetInfo) -> tf.data.Dataset:
    """Every validation clip once, in order.

    As training batches, and with `weight` float32 (batch,): 0 for what fills up the last batch.
    """
    files = [posixpath.join(config.data, s.file) for s in info.splits.get("validation", [])]
    missing = -info.records("validation") % config.batch_size
    parse = _parser(info)

    def example(serialized: tf.Tensor) -> dict:
        heard = augment.whole_clip(parse(serialized), config, info)
        return {**heard, "weight": tf.constant(1.0)}

    clips = tf.data.TFRecordDataset(files).map(example, tf.data.AUTOTUNE)
    fill = clips.take(1).repeat(missing).map(lambda one: {**one, "weight": tf.constant(0.0)})
    return (
        clips.concatenate(fill)
        .batch(config.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _parser(info: DatasetInfo):
    def parse(serialized: tf.Tensor) -> dict:
        record = clip.parse_in_graph(serialized, info)
        waveform, probs = fit(record["waveform"], record["probs"], info, record["clip_id"])
        return {"waveform": waveform, "probs": probs}

    return parse


def fit(waveform: tf.Tensor, probs: dict, info: DatasetInfo, clip_id=""):
    """Sound and labels of a clip, brought to the length of a full clip by the published rule.

    Args:
        waveform: float32 (samples,).
        probs: by teacher float32 (n, classes), with n from 1 to the steps of a full clip.

    Returns:
        The waveform (samples of a full clip,) and the labels (steps of a full clip, classes).
    """
    samples, steps = clip_samples(info), info.steps_per_clip
    found = tf.shape(next(iter(probs.values())))[0]
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                (found >= 1) & (found <= steps),
                ["clip", clip_id, "has", found, f"label steps; 1 to {steps} are wanted"],
            )
        ]
    ):
        step_samples = round(info.step_seconds * info.sample_rate)
        length = tf.identity(found) * step_samples
    heard = waveform[:length]
    heard = tf.pad(heard, [[0, length - tf.shape(heard)[0]]])
    heard = tf.tile(heard, [-(-samples // length)])[:samples]
    tiled = {name: tf.gather(p, tf.range(steps) % found) for name, p in probs.items()}
    for name, values in tiled.items():
        values.set_shape([steps, probs[name].shape[-1]])
    return tf.ensure_shape(heard, [samples]), tiled


def find_damage(config: Config, info: DatasetInfo) -> list[str]:
    """The shards and records that can't be read, by name, with why; reads the whole data set."""
    found = []
    for split in ("train", "validation"):
        for shard in info.splits.get(split, []):
            path = posixpath.join(config.data, shard.file)
            records = iter(tf.data.TFRecordDataset(path))
            for number in itertools.count():
                try:
                    serialized = next(records).numpy()
                except StopIteration:
                    break
                except tf.errors.OpError as error:
                    found.append(f"{path}: record {number} is damaged ({_first_line(error)})")
                    break
                try:
                    record = clip.ClipRecord.from_bytes(serialized)
                    _check_record(record, info)
                except SchemaError as error:
                    found.append(f"{path}: record {number}: {error}")
    return found


def _check_record(record: clip.ClipRecord, info: DatasetInfo) -> None:
    steps = len(record.frame_times)
    if steps > info.steps_per_clip:
        raise SchemaError(
            f"{record.clip_id} has {steps} label steps, more than {info.steps_per_clip}"
        )
    for teacher in info.teachers:
        said = record.embeddings if teacher.target == "embedding" else record.probs
        found = said.get(teacher.name)
        if found is None or found.shape[1] != len(teacher.classes):
            raise SchemaError(
                f"{record.clip_id} has {'nothing' if found is None else found.shape[1]} of the "
                f"{len(teacher.classes)} classes of {teacher.name}"
            )


def _first_line(error: tf.errors.OpError) -> str:
    return error.message.rsplit("}} ", 1)[-1].split(" [Op:")[0].splitlines()[0]
