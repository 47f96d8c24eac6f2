"""A data set's records as batches for the network, streamed with tf.data.

A clip of n label steps is 5n s of sound, zero-padded where it is short; with n < 4 the sound AND
the labels are repeated to 20 s and 4 steps (the rule "tiled"; authors' `donkey_audio.lua`).

The order of the training clips depends on the seed and the position alone (and on what is damaged),
so a run that goes on at step n sees what it would have seen. Each epoch draws the shards anew and
takes them in groups; a group's shards are read side by side and shuffled; groups before the
position are never read.
"""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from schemas import SchemaError, clip, dataset_info
from schemas.dataset_info import DatasetInfo, ShardInfo
from trainer import augment
from trainer.augment import clip_samples, crop_samples
from trainer.config import Config
from trainer.damage import Damage
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
    if config.damaged == "stop":
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
    if problems := misfits(folder, info):
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        shards = sum(len(info.splits.get(split, [])) for split in ("train", "validation"))
        raise SchemaError(
            f"{len(problems)} of {shards} shards don't fit {dataset_info.FILE_NAME}: "
            f"{'; '.join(list(problems.values())[:5])}{more}. Copy the data set again, run the "
            "pipeline again, or train without what is lost: --damaged skip"
        )


def misfits(folder: str, info: DatasetInfo) -> dict[str, str]:
    """By file the shards that are missing or of another size than the description says, with why.

    A shard cut off between two records reads like a whole one, so the sizes are compared.
    """
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
        problems = pool.map(problem, shards)
        return {shard.file: why for shard, why in zip(shards, problems, strict=True) if why}


@dataclass(frozen=True)
class Share:
    """Which of several machines reads; each reads whole shards, and no other machine reads them."""

    machine: int = 0
    machines: int = 1


@dataclass(frozen=True)
class _Shard:
    """A shard of the training clips, as far as it can be read.

    Attributes:
        number: among all shards of the split.
        end: the first record that can't be read nor any after it; -1 where all can.
        records: how many there are to be read.
    """

    number: int
    file: str
    end: int
    records: int


def _readable(info: DatasetInfo, split: str, damaged: Collection[Damage]) -> list[_Shard]:
    shards = []
    for number, shard in enumerate(info.splits.get(split, [])):
        mine = [one for one in damaged if (one.split, one.file) == (split, shard.file)]
        end = min((one.record for one in mine if one.rest), default=-1)
        before = shard.records if end < 0 else end
        records = before - sum(not one.rest and one.record < before for one in mine)
        shards.append(_Shard(number, shard.file, end, records))
    return shards


def _groups(config: Config, shards: list[_Shard], part: int, step: int) -> Iterator[tuple]:
    """Endlessly the shards of a part that are read side by side, from a step on.

    Yields:
        The shards, the seed with which to shuffle them, and how many clips to leave out at first.
    """
    shards = [shard for shard in shards[part :: config.parts] if shard.records]
    total = sum(shard.records for shard in shards)
    first_epoch, skip = divmod(step * (config.batch_size // config.parts), total)
    for epoch in itertools.count(first_epoch):
        draw = np.random.default_rng([config.seed, epoch, *([part] if part else [])])
        order = [shards[i] for i in draw.permutation(len(shards))]
        for first in range(0, len(order), SHARDS_AT_ONCE):
            group = order[first : first + SHARDS_AT_ONCE]
            shuffle_seed = int(draw.integers(2**31))
            records = sum(shard.records for shard in group)
            if skip >= records:
                skip -= records
                continue
            yield group, shuffle_seed, skip
            skip = 0


def _parts(config: Config, share: Share) -> range:
    """The parts of the data set that a machine reads."""
    each = config.parts // share.machines
    return range(share.machine * each, (share.machine + 1) * each)


def files_near(
    config: Config, info: DatasetInfo, step: int, share: Share, damaged: Collection[Damage]
) -> set[str]:
    """The shards that the stream of training batches reads around a step, or ahead of it."""
    shards = _readable(info, "train", damaged)
    return {
        shard.file
        for part in _parts(config, share)
        for group, _, _ in itertools.islice(_groups(config, shards, part, step), 3)
        for shard in group
    }


def is_enough(config: Config, info: DatasetInfo, damaged: Collection[Damage] = ()) -> bool:
    """Whether each part of the training clips has some that can be read."""
    shards = _readable(info, "train", damaged)
    return all(any(s.records for s in shards[p :: config.parts]) for p in range(config.parts))


def train_batches(
    config: Config,
    info: DatasetInfo,
    step: int = 0,
    share: Share = Share(),
    damaged: Collection[Damage] = (),
) -> tf.data.Dataset:
    """The endless stream of training batches from a step on.

    The shards are dealt out to `config.parts`, and each gives as many clips to every batch; of
    several machines each gives its parts' clips. So a batch, taken together, depends on the seed,
    the step, the parts and what is damaged, and not on how many machines there are.

    Each is `waveform` float32 (batch, samples); `probs`, by teacher float32 (batch, outputs,
    classes), where `trainer.augment` says what the outputs are told; and `shard` int32 (batch,),
    where in the split's list the clip's shard is.
    """
    shards = _readable(info, "train", damaged)
    parts = [_part_batches(config, info, step, shards, p, damaged) for p in _parts(config, share)]
    batches = parts[0]
    if parts[1:]:
        batches = tf.data.Dataset.zip(tuple(parts)).map(
            lambda *some: tf.nest.map_structure(lambda *values: tf.concat(values, 0), *some)
        )
    batches = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return batches.prefetch(tf.data.AUTOTUNE)


def _shard_reader(
    info: DatasetInfo, split: str, damaged: Collection[Damage]
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.data.Dataset]:
    """A function from a shard's path, number and end to its good records, each with the number."""
    numbers = {shard.file: number for number, shard in enumerate(info.splits.get(split, []))}
    bad = [(numbers[d.file], d.record) for d in damaged if d.split == split and not d.rest]

    def of_shard(path: tf.Tensor, number: tf.Tensor, end: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path).take(end)
        if bad:
            records = records.enumerate().filter(
                lambda record, _: (
                    ~tf.reduce_any(
                        tf.reduce_all(tf.constant(bad, tf.int64) == tf.stack([number, record]), 1)
                    )
                )
            )
            records = records.map(lambda _, serialized: serialized)
        return records.map(lambda serialized: (number, serialized))

    return of_shard


def _part_batches(
    config: Config,
    info: DatasetInfo,
    step: int,
    shards: list[_Shard],
    part: int,
    damaged: Collection[Damage],
) -> tf.data.Dataset:
    clips = config.batch_size // config.parts
    parse = _parser(info)
    of_shard = _shard_reader(info, "train", damaged)

    def groups() -> Iterator[tuple]:
        for group, shuffle_seed, skip in _groups(config, shards, part, step):
            files = [posixpath.join(config.data, shard.file) for shard in group]
            yield (
                files,
                [shard.number for shard in group],
                [shard.end for shard in group],
                shuffle_seed,
                skip,
            )

    def of_group(files, numbers, ends, shuffle_seed, skip) -> tf.data.Dataset:
        # Of this function alone. The process's would count too, and were it 0, TensorFlow couldn't
        # take the shuffle's from a tensor.
        tf.compat.v1.set_random_seed(config.seed + 1)
        return (
            tf.data.Dataset.from_tensor_slices((files, numbers, ends))
            .interleave(of_shard, SHARDS_AT_ONCE, num_parallel_calls=SHARDS_AT_ONCE)
            .shuffle(SHUFFLE_RECORDS, seed=shuffle_seed, reshuffle_each_iteration=False)
            .skip(skip)
        )

    def example(index: tf.Tensor, record: tuple[tf.Tensor, tf.Tensor]) -> dict:
        number, serialized = record
        # The clip's number in the whole stream, of all parts.
        index = index // clips * config.batch_size + part * clips + index % clips
        heard = augment.training_clip(parse(serialized), index, config, info)
        return {**heard, "shard": tf.cast(number, tf.int32)}

    some, one = tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.int64)
    signature = (tf.TensorSpec([None], tf.string), some, some, one, one)
    batches = (
        tf.data.Dataset.from_generator(groups, output_signature=signature)
        # A parallel interleave of one at a time keeps the order and reads the next group ahead.
        .interleave(of_group, cycle_length=1, num_parallel_calls=1)
        .enumerate(step * clips)
        .map(example, tf.data.AUTOTUNE)
        .batch(clips, drop_remainder=True)
    )
    if config.mix:
        batches = batches.enumerate(step).map(
            lambda number, batch: {
                **augment.mix(batch, number * config.parts + part, config),
                "shard": batch["shard"],
            },
            tf.data.AUTOTUNE,
        )
    return batches


def validation_batches(
    config: Config,
    info: DatasetInfo,
    share: Share = Share(),
    damaged: Collection[Damage] = (),
) -> tf.data.Dataset:
    """Every validation clip once, in order; of several machines each has whole shards of its own.

    As training batches, without `shard` and with `weight` float32 (batch,): 0 for what fills up the
    last batches. All machines have as many batches, whatever is damaged.
    """
    clips = config.batch_size // share.machines
    dealt = [info.splits.get("validation", [])[m :: share.machines] for m in range(share.machines)]
    most = max(sum(shard.records for shard in some) for some in dealt)
    parse = _parser(info)
    mine = [
        shard
        for shard in _readable(info, "validation", damaged)[share.machine :: share.machines]
        if shard.records
    ]
    shards = (
        tf.constant([posixpath.join(config.data, shard.file) for shard in mine], tf.string),
        tf.constant([shard.number for shard in mine], tf.int64),
        tf.constant([shard.end for shard in mine], tf.int64),
    )

    def example(_: tf.Tensor, serialized: tf.Tensor) -> dict:
        heard = augment.whole_clip(parse(serialized), config, info)
        return {**heard, "weight": tf.constant(1.0)}

    heard = (
        tf.data.Dataset.from_tensor_slices(shards)
        .flat_map(_shard_reader(info, "validation", damaged))
        .map(example, tf.data.AUTOTUNE)
    )
    nothing = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), heard.element_spec)
    missing = -(-most // clips) * clips - sum(shard.records for shard in mine)
    return (
        heard.concatenate(tf.data.Dataset.from_tensors(nothing).repeat(missing))
        .batch(clips, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _parser(info: DatasetInfo) -> Callable[[tf.Tensor], dict]:
    def parse(serialized: tf.Tensor) -> dict:
        record = clip.parse_in_graph(serialized, info)
        waveform, probs = fit(record["waveform"], record["probs"], info, record["clip_id"])
        return {"waveform": waveform, "probs": probs}

    return parse


def fit(
    waveform: tf.Tensor, probs: dict, info: DatasetInfo, clip_id: tf.Tensor | str = ""
) -> tuple[tf.Tensor, dict]:
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
