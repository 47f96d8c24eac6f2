"""What the graphs do to an element: read a lane, ask a teacher, write a clip, fill a shard."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

import teacher
from pipeline.reading import Clip, LaneReader
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.todo import Lane
from schemas import SchemaError, tfrecord
from schemas.clip import ClipRecord
from schemas.ledger import DONE, FAILED, LedgerRow
from teacher import TeacherSpec

COUNTERS = "soundnet"
"""Namespace of Beam's counters: videos_done, videos_failed, failed_<cause>, clips, label_steps."""


def _count(name: str, by: int = 1) -> None:
    Metrics.counter(COUNTERS, name).inc(by)


class ReadLane(beam.DoFn):
    """A lane in (a line of the queue), the clips of its videos out; what became of each is noted in
    the store.

    A cluster may hand the same lane out again when a worker was lost; what is settled by then is
    left alone.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store

    def process(self, line: str) -> Iterator[Clip]:
        settled = {key for key, video in self.store.videos().items() if video.is_settled}
        reader = LaneReader(self.settings, self.store, Lane.from_json(line), settled)
        # Beam counts per thread; so this one counts for those of the reader.
        with contextlib.closing(reader.clips()) as clips:
            yield from clips
        for outcome, number in reader.outcomes.items():
            _count("videos_done" if outcome == DONE else "videos_failed", number)
            if outcome != DONE:
                _count(f"failed_{outcome}", number)


class TeacherHandler(ModelHandler[Clip, PredictionResult, teacher.Teacher]):
    """Asks one teacher about batches of clips; Beam loads it once a process."""

    CLIPS = 16
    """Clips a batch: 64 label steps when full, a few of the teacher's own batches. Twice as many
    took 110 MiB more on a long video and saved 2 % of the processor time of short ones."""

    def __init__(self, spec: TeacherSpec) -> None:
        super().__init__(min_batch_size=self.CLIPS, max_batch_size=self.CLIPS)
        self.spec = spec

    def load_model(self) -> teacher.Teacher:
        return teacher.load(self.spec)

    def run_inference(
        self, batch: Sequence[Clip], model: teacher.Teacher, inference_args: dict | None = None
    ) -> Iterable[PredictionResult]:
        """Each clip with its float16 (label steps, classes), or with the fault in words."""
        try:
            probs = model([frame for clip in batch for frame in clip.frames])
        except Exception as error:  # noqa: BLE001 - one bad picture never ends a run
            if len(batch) > 1:  # find it
                for clip in batch:
                    yield from self.run_inference([clip], model)
            else:
                fault = f"{self.spec.name}: {type(error).__name__}: {error}"
                yield PredictionResult(batch[0], fault)
            return
        ends = np.cumsum([len(clip.frames) for clip in batch])
        for clip, answer in zip(batch, np.split(probs.astype(np.float16), ends[:-1]), strict=True):
            yield PredictionResult(clip, answer)

    def get_num_bytes(self, batch: Sequence[Clip]) -> int:
        """Bytes of the pictures; Beam's default would pickle them to find out."""
        return sum(frame.nbytes for clip in batch for frame in clip.frames)

    def get_metrics_namespace(self) -> str:
        return f"teacher_{self.spec.name}"


def note_answer(result: PredictionResult, name: str) -> Clip:
    """The clip, with what the teacher `name` said of it."""
    clip: Clip = result.example  # type: ignore[assignment]  # Beam doesn't type its fields
    answer: Any = result.inference
    if isinstance(answer, str):
        clip.faults[name] = answer
    else:
        clip.probs[name] = answer
    return clip


class WriteClip(beam.DoFn):
    """A clip in, its record in a file of its own."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store

    def process(self, clip: Clip) -> None:
        row = clip.todo.row
        try:
            if clip.faults:
                raise SchemaError("; ".join(clip.faults.values()))
            framed = tfrecord.frame(clip_record(clip, self.settings).to_bytes())
            self.store.write(self.store.clip_path(row.video_id, clip.number), framed)
            _count("clips")
            _count("label_steps", len(clip.frame_times))
        except SchemaError as error:
            self.store.mark(
                LedgerRow(
                    video_id=row.video_id,
                    url=row.url,
                    split=clip.todo.split,
                    stage="teach",
                    outcome=FAILED,
                    cause="teacher_error",
                    message=f"clip {clip.number}: {error}",
                    attempts=clip.todo.attempts + 1,
                )
            )


def clip_record(clip: Clip, settings: Settings) -> ClipRecord:
    """The record of a clip that every teacher has seen."""
    row = clip.todo.row
    embedders = {spec.name for spec in settings.teachers if spec.outputs == "embedding"}
    return ClipRecord(
        video_id=row.video_id,
        number=clip.number,
        url=row.url,
        start_seconds=clip.start_seconds,
        pcm=clip.pcm,
        audio_codec=settings.audio_codec,
        frame_times=clip.frame_times,
        probs={name: said for name, said in clip.probs.items() if name not in embedders},
        embeddings={name: said for name, said in clip.probs.items() if name in embedders},
        frames=[_jpeg(frame) for frame in clip.frames] if settings.frames else [],
    )


def _jpeg(frame: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=85)
    return out.getvalue()


@dataclass(frozen=True)
class Packed:
    """What a shard holds of one video.

    Attributes:
        mark: name of its ledger row.
        clips: names of its clip files, in order.
        twins: clips that are left out as repetitions: number, cause, the earlier clip's id.
    """

    mark: str
    clips: tuple[str, ...] = ()
    twins: tuple[tuple[int, str, str], ...] = ()

    def settle(self, row: LedgerRow) -> LedgerRow:
        """The video's ledger row with its twins left out; failed if nothing else is left of it."""
        if not self.twins:
            return row
        out = {number for number, _, _ in self.twins}
        facts = tuple(fact for fact in row.facts if fact.number not in out)
        dropped = Counter(row.dropped) + Counter(cause for _, cause, _ in self.twins)
        row = dataclasses.replace(
            row,
            clips=len(facts),
            facts=facts,
            media_seconds=round(sum(fact.seconds for fact in facts), 3),
            dropped=dict(dropped),
        )
        if facts:
            return row
        number, cause, twin = self.twins[0]
        message = f"clip {number} repeats {twin}, and no other is left"
        return dataclasses.replace(row, outcome=FAILED, cause=cause, message=message)


@dataclass(frozen=True)
class Shard:
    """A shard to write.

    Attributes:
        file: its name in the output folder; "" where there are only videos that give no clip.
        videos: what it holds of each video, in order.
    """

    file: str
    videos: tuple[Packed, ...]

    @property
    def records(self) -> int:
        return sum(len(video.clips) for video in self.videos)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Shard:
        data = json.loads(line)
        videos = (
            Packed(
                video["mark"],
                tuple(video["clips"]),
                tuple((number, cause, twin) for number, cause, twin in video["twins"]),
            )
            for video in data["videos"]
        )
        return cls(data["file"], tuple(videos))


class WriteShard(beam.DoFn):
    """A line of the plan in, its shard written; yields the ledger rows of its videos."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def process(self, line: str) -> Iterator[LedgerRow]:
        shard = Shard.from_json(line)
        if shard.file:
            names = (name for video in shard.videos for name in video.clips)
            records = (self.store.read(self.store.work(name)) for name in names)
            self.store.write(self.store.path(shard.file), records)
        for video in shard.videos:
            yield video.settle(self.store.row(video.mark))


def write_ledger(rows: list[LedgerRow], store: Store) -> None:
    """Write this run's ledger, in the order of the video ids."""
    lines = (row.to_json().encode() + b"\n" for row in sorted(rows, key=lambda row: row.video_id))
    store.write(store.path(ledger_name(store.run)), lines)


def ledger_name(run: int) -> str:
    """Name of a run's ledger, beside `dataset_info.json`."""
    return f"ledger-{run:05d}.jsonl"
