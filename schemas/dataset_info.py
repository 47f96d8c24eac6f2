"""`dataset_info.json`: what a reader must know of the shards that it lies beside."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from schemas import SCHEMA_VERSION, SchemaError, check_version
from schemas.audio import check_codec
from schemas.waveform import SAMPLE_RATE

FILE_NAME = "dataset_info.json"

TARGETS = ("distribution", "embedding")
"""What a teacher gives: probabilities over its classes, or values that mean nothing one by one."""


@dataclass(frozen=True)
class TeacherInfo:
    """A teacher whose word the records carry.

    Attributes:
        name: what the student's head is called too (`imagenet`, `places`).
        network: the vision network, by name or file.
        classes: class names in the order of the outputs; of an embedding a name for each value.
        preprocessing: how a frame became the network's input, in words.
        sha256: of the weights.
        target: one of `TARGETS`.
    """

    name: str
    network: str
    classes: list[str]
    preprocessing: str
    sha256: str
    target: str = "distribution"


@dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file, named relative to `dataset_info.json`."""

    file: str
    records: int
    bytes: int


@dataclass(frozen=True)
class RunInfo:
    """One run of the pipeline that added to the data set.

    Attributes:
        ledger: name of its ledger, relative to `dataset_info.json`.
        versions: of the programs that made its records.
        seconds: wall time of its parts ("read", "pack"), and of each teacher ("teach/<name>"),
            since it was last resumed.
    """

    ledger: str
    versions: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set: its teachers, its clips, its shards.

    What this file names is there; a shard or a ledger that it doesn't name belongs to a run that
    has not ended.

    Attributes:
        channels: how several channels became one: "downmix", or "first" as the authors did.
        frames: whether the records carry the label steps' pictures.
        pictures: which picture a label step has: "keyframes" (a key frame within the step where
            there is one) or "exact" (the one at the middle of what is there).
        splits: per split its shards, in order.
        runs: the runs that made it, in order.
    """

    teachers: list[TeacherInfo]
    audio_codec: str
    clip_seconds: float = 20.0
    step_seconds: float = 5.0
    channels: str = "downmix"
    frames: bool = False
    pictures: str = "exact"
    splits: dict[str, list[ShardInfo]] = field(default_factory=dict)
    runs: list[RunInfo] = field(default_factory=list)
    sample_rate: int = SAMPLE_RATE
    schema_version: int = SCHEMA_VERSION

    @property
    def steps_per_clip(self) -> int:
        """Label steps of a full clip (4 of 5 s in the paper)."""
        return round(self.clip_seconds / self.step_seconds)

    def teacher(self, name: str) -> TeacherInfo:
        """The teacher called `name`; raises `SchemaError` naming those there are."""
        for teacher in self.teachers:
            if teacher.name == name:
                return teacher
        names = ", ".join(teacher.name for teacher in self.teachers)
        raise SchemaError(f"the data set has no teacher {name!r}; it has {names}")

    @property
    def classifiers(self) -> list[TeacherInfo]:
        """The teachers that give distributions over classes."""
        return [teacher for teacher in self.teachers if teacher.target == "distribution"]

    @property
    def embedders(self) -> list[TeacherInfo]:
        """The teachers that give embeddings."""
        return [teacher for teacher in self.teachers if teacher.target == "embedding"]

    def records(self, split: str) -> int:
        """Number of clips in a split."""
        return sum(shard.records for shard in self.splits.get(split, []))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = FILE_NAME) -> DatasetInfo:
        """Read what `to_json` wrote.

        Raises:
            SchemaError: not JSON, another version, or fields missing or of a wrong kind.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SchemaError(f"{where} is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise SchemaError(f"{where} holds a {type(data).__name__}, not an object")
        check_version(data.get("schema_version"), where)
        try:
            info = cls(
                **{
                    **data,
                    "teachers": [TeacherInfo(**teacher) for teacher in data["teachers"]],
                    "runs": [RunInfo(**run) for run in data["runs"]],
                    "splits": {
                        split: [ShardInfo(**shard) for shard in shards]
                        for split, shards in data["splits"].items()
                    },
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"{where} doesn't fit the schema: {error}") from error
        info._check(where)
        check_codec(info.audio_codec)
        if info.sample_rate != SAMPLE_RATE:
            raise SchemaError(f"{where}: sound at {info.sample_rate} Hz; {SAMPLE_RATE} is wanted")
        return info

    def _check(self, where: str) -> None:
        """Raise `SchemaError` where a value is of another kind than its field."""
        shards = [shard for shards in self.splits.values() for shard in shards]
        seconds = (self.clip_seconds, self.step_seconds)
        wrong = [repr(s) for s in seconds if not (isinstance(s, (int, float)) and s > 0)]
        wrong += [
            repr(number)
            for shard in shards
            for number in (shard.records, shard.bytes)
            if not (isinstance(number, int) and number >= 0)
        ]
        wrong += [
            f"the seconds of {run.ledger!r}"
            for run in self.runs
            if not isinstance(run.seconds, dict)
            or not all(isinstance(value, (int, float)) for value in run.seconds.values())
        ]
        wrong += [repr(shard.file) for shard in shards if not isinstance(shard.file, str)]
        wrong += [
            f"the classes of {teacher.name}"
            for teacher in self.teachers
            if not (
                isinstance(teacher.classes, list)
                and teacher.classes
                and all(isinstance(name, str) for name in teacher.classes)
            )
        ]
        wrong += [
            f"{teacher.name}'s target {teacher.target!r}"
            for teacher in self.teachers
            if teacher.target not in TARGETS
        ]
        if wrong:
            raise SchemaError(f"{where} doesn't fit the schema: {', '.join(wrong[:5])}")
