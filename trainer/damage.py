"""Records that can't be read: found by name, and passed over where that is asked for."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import posixpath
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from schemas import SchemaError, clip
from schemas.dataset_info import DatasetInfo, ShardInfo
from trainer.progress import write_whole

UNREADABLE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError)
"""What reading records that are damaged or gone ends in."""


@dataclass(frozen=True)
class Damage:
    """A record that can't be read.

    Attributes:
        file: its shard, beneath the data set's folder.
        record: its number in the shard, from 0.
        rest: what comes after it in the shard can't be read either.
        what: the words on it, without the shard's name.
    """

    split: str
    file: str
    record: int
    rest: bool
    what: str

    def lost(self, shard: ShardInfo) -> int:
        """How many of the shard's records are lost."""
        return shard.records - self.record if self.rest else 1


def words(folder: str, damaged: Iterable[Damage]) -> list[str]:
    """What is damaged, each with the shard's full name."""
    return [f"{posixpath.join(folder, one.file)}: {one.what}" for one in damaged]


def find(folder: str, info: DatasetInfo, files: Collection[str] | None = None) -> list[Damage]:
    """Read records one by one and say which can't be read.

    Args:
        files: the shards to read; by default all of the splits `train` and `validation`.
    """
    found: list[Damage] = []
    for split in ("train", "validation"):
        for shard in info.splits.get(split, []):
            if files is None or shard.file in files:
                found += _in_shard(folder, split, shard, info)
    return found


def _in_shard(folder: str, split: str, shard: ShardInfo, info: DatasetInfo) -> Iterator[Damage]:
    damage = functools.partial(Damage, split, shard.file)
    records = iter(tf.data.TFRecordDataset(posixpath.join(folder, shard.file)))
    for number in itertools.count():
        try:
            serialized = next(records).numpy()
        except StopIteration:
            if number < shard.records:
                yield damage(number, True, f"it ends after {number:,} of {shard.records:,} records")
            return
        except tf.errors.NotFoundError:
            yield damage(0, True, f"it is missing, with {shard.records:,} records")
            return
        except tf.errors.OpError as error:
            after = shard.records - number - 1
            more = f", and {after:,} after it can't be found" if after > 0 else ""
            yield damage(number, True, f"record {number} is damaged ({_first_line(error)}){more}")
            return
        try:
            check_record(clip.ClipRecord.from_bytes(serialized), info)
        except SchemaError as error:
            yield damage(number, False, f"record {number}: {error}")


def check_record(record: clip.ClipRecord, info: DatasetInfo) -> None:
    """Raise `SchemaError` where a record's label steps or teachers aren't those of its data set."""
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


class Known:
    """What a run has found damaged, in the model's folder: a run that goes on passes over the same.

    The order of the clips depends on what is passed over, so each find is kept with the step from
    which on it was; what was found after the step at which the run goes on is found again.

    Args:
        machine: each of several writes what its own part of the data lost.
    """

    def __init__(self, model_dir: str, machine: int, step: int) -> None:
        self._path = posixpath.join(model_dir, f"damaged-{machine}.jsonl")
        self._rows: list[dict] = []
        self.all: list[Damage] = []
        for path in sorted(tf.io.gfile.glob(posixpath.join(model_dir, "damaged-*.jsonl"))):
            with tf.io.gfile.GFile(path) as file:
                rows = [json.loads(line) for line in file]
            rows = [row for row in rows if row["step"] <= step]
            if path == self._path:
                self._rows = rows
            self.all += [Damage(**row["damage"]) for row in rows]

    def add(self, step: int, found: Iterable[Damage]) -> list[Damage]:
        """Pass over these too from a step on; returns those that weren't known."""
        new = [one for one in found if one not in self.all]
        self.all += new
        self._rows += [{"step": step, "damage": dataclasses.asdict(one)} for one in new]
        if new:
            write_whole(self._path, "".join(json.dumps(row) + "\n" for row in self._rows))
        return new
