"""What the shards of a data set hold, in figures: what the teachers say, and clips to look at.

Every record is read once, with its checksums. What is kept in memory are sums and the places of a
few records. A damaged shard is named, and read up to the damage.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError

from pipeline.report.ledgers import Faults, in_words, open_file, short_hash
from pipeline.store import Store
from schemas import SchemaError, tfrecord
from schemas.clip import teacher_feature
from schemas.dataset_info import ShardInfo, TeacherInfo
from schemas.example import Example


@dataclass(frozen=True, order=True)
class Pick:
    """A clip to show, and where its record lies."""

    key: int
    clip_id: str
    split: str
    file: str
    offset: int


class Picks:
    """Clips to show, drawn by the hashes of their ids: the same ones, whoever reads the shards.

    Args:
        number: of clips; so many of each group are kept in mind.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.groups: dict[tuple[str, int], list[Pick]] = {}

    def offer(self, pick: Pick, class_: int) -> None:
        """Consider a clip whose likeliest class is `class_`."""
        group = self.groups.setdefault((pick.split, class_), [])
        if len(group) < self.number or (group and pick < group[-1]):
            insort(group, pick)
            del group[self.number :]

    def merge(self, other: Picks) -> None:
        for (_, class_), group in other.groups.items():
            for pick in group:
                self.offer(pick, class_)

    def choose(self) -> list[Pick]:
        """As many of each split as can be, and within a split of as many classes as can be."""
        by_split: dict[str, list[list[Pick]]] = {}
        for (split, _), group in sorted(self.groups.items(), key=lambda item: item[1][:1]):
            by_split.setdefault(split, []).append(group)
        turns = [list(_in_turns(groups)) for _, groups in sorted(by_split.items())]
        return list(_in_turns(turns))[: self.number]


def _in_turns(groups: Sequence[Sequence[Pick]]) -> Iterator[Pick]:
    """One of each group, then a second of each, and so on."""
    for turn in range(max(map(len, groups), default=0)):
        yield from (group[turn] for group in groups if turn < len(group))


class Tally:
    """What one teacher said, summed up.

    Attributes:
        steps, clips: per class the label steps, and the clips, for which it was the likeliest.
        probs: per class the sum of its probabilities over the label steps.
        entropy: sum of the label steps' entropies, in bits.
        confidence: sum of the likeliest classes' probabilities.
    """

    def __init__(self, classes: int) -> None:
        self.steps = np.zeros(classes, np.int64)
        self.clips = np.zeros(classes, np.int64)
        self.probs = np.zeros(classes, np.float64)
        self.entropy = self.confidence = 0.0

    def add(self, probs: np.ndarray) -> int:
        """Take in a clip's float16 (label steps, classes); returns its likeliest class.

        Raises:
            SchemaError: they are no distributions over these classes.
        """
        if probs.shape[1] != len(self.steps):
            raise SchemaError(f"{probs.shape[1]} classes where there should be {len(self.steps)}")
        probs = probs.astype(np.float32)
        sums = probs.sum(axis=1, keepdims=True)
        if not (np.isfinite(sums).all() and (sums > 0).all() and (probs >= 0).all()):
            raise SchemaError("what it says are no probabilities")
        probs /= sums  # float16 adds up to 1 only about
        self.steps += np.bincount(probs.argmax(axis=1), minlength=len(self.steps))
        mean = probs.mean(axis=0)
        likeliest = int(mean.argmax())
        self.clips[likeliest] += 1
        self.probs += probs.sum(axis=0, dtype=np.float64)
        self.entropy += _entropy(probs)
        self.confidence += float(probs.max(axis=1).sum())
        return likeliest

    def merge(self, other: Tally) -> None:
        self.steps += other.steps
        self.clips += other.clips
        self.probs += other.probs
        self.entropy += other.entropy
        self.confidence += other.confidence

    def to_dict(self, teacher: TeacherInfo) -> dict:
        """For JSON; the classes by label steps, most first."""
        steps = int(self.steps.sum())
        mean = self.probs / max(steps, 1)
        order = np.lexsort((-mean, -self.steps))
        return {
            "name": teacher.name,
            "network": teacher.network,
            "label_steps": steps,
            "clips": int(self.clips.sum()),
            "classes_never_seen": int((self.steps == 0).sum()),
            "mean_confidence": self.confidence / steps if steps else None,
            "entropy_bits": {
                "of_the_mean": _entropy(mean) if steps else None,
                "mean": self.entropy / steps if steps else None,
                "most": math.log2(len(mean)),
            },
            "classes": [
                {
                    "name": teacher.classes[index],
                    "label_steps": int(self.steps[index]),
                    "clips": int(self.clips[index]),
                    "mean_probability": float(mean[index]),
                }
                for index in order
            ],
        }


def _entropy(probs: np.ndarray) -> float:
    """The sum of the entropies of distributions, in bits."""
    return float(-np.sum(probs * np.log2(np.where(probs > 0, probs, 1.0))))


class ShardFigures:
    """What one shard, or several, hold."""

    def __init__(self, teachers: Sequence[TeacherInfo], samples: int) -> None:
        self.teachers = teachers
        self.records = self.with_frames = 0
        self.tallies = {
            teacher.name: Tally(len(teacher.classes))
            for teacher in teachers
            if teacher.target == "distribution"
        }
        self.picks = Picks(samples)
        self.faults = Faults()

    def read(self, store: Store, split: str, shard: ShardInfo) -> ShardFigures:
        """Take in a shard, up to where it is damaged; returns itself."""
        before = self.records
        offset = 0
        try:
            with open_file(store.path(shard.file)) as file:
                for data in tfrecord.read(file):
                    self._add(data, split, shard.file, offset)
                    offset += len(data) + tfrecord.FRAMING
        except Exception as error:  # noqa: BLE001 - each filesystem has errors of its own
            lost = max(0, shard.records - (self.records - before))
            words = f"{in_words(error)}; {lost} of its {shard.records} records were not read"
            self.faults.add(shard.file, words)
        else:
            if self.records - before != shard.records:
                words = f"{self.records - before} records where there should be {shard.records}"
                self.faults.add(shard.file, words)
        return self

    def _add(self, data: bytes, split: str, file: str, offset: int) -> None:
        self.records += 1
        likeliest = []
        try:
            # Not as a ClipRecord: that would decode the sound, which takes most of the time.
            features = Example.FromString(data).features.feature
            clip_id = _one(features, "clip_id").decode()
            steps = (
                len(features["frame_times"].float_list.value) if "frame_times" in features else 0
            )
            self.with_frames += "frames" in features
            for teacher in self.teachers:
                feature = teacher_feature(teacher.name, teacher.target)
                values = np.frombuffer(_one(features, feature), "<f2")
                if not steps or len(values) % steps:
                    raise SchemaError(f"{teacher.name} said nothing of its {steps} label steps")
                if teacher.name in self.tallies:
                    likeliest.append(self.tallies[teacher.name].add(values.reshape(steps, -1)))
                elif len(values) != steps * len(teacher.classes) or not np.isfinite(values).all():
                    raise SchemaError(
                        f"{teacher.name} gave no {len(teacher.classes)} numbers a label step"
                    )
        except (SchemaError, DecodeError, ValueError) as error:
            self.faults.add(file, f"the record at byte {offset}: {error}")
            return
        if self.picks.number:
            pick = Pick(short_hash(clip_id), clip_id, split, file, offset)
            self.picks.offer(pick, likeliest[0] if likeliest else 0)

    def merge(self, other: ShardFigures) -> None:
        self.records += other.records
        self.with_frames += other.with_frames
        for name, tally in self.tallies.items():
            tally.merge(other.tallies[name])
        self.picks.merge(other.picks)
        self.faults.add_all(other.faults)


def _one(features, name: str) -> bytes:
    values = features[name].bytes_list.value if name in features else ()
    if not values:
        raise SchemaError(f"a clip record has a feature {name!r}; this has none")
    return values[0]


def read_record(store: Store, file: str, offset: int) -> bytes:
    """The record of a shard that begins at a byte.

    Raises:
        SchemaError: it is damaged.
    """
    with open_file(store.path(file)) as opened:
        opened.seek(offset)
        return next(tfrecord.read(opened, offset))


def spread_out(shards: Sequence[ShardInfo], most: int | None) -> list[ShardInfo]:
    """At most so many of the shards, from everywhere among them. Shards are mixed, so a few tell
    about all."""
    if most is None or most >= len(shards):
        return list(shards)
    return [shards[at * len(shards) // most] for at in range(most)]
