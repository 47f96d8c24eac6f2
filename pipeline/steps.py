"""What the graphs do to an element: read a video, ask a teacher, write a clip, fill a shard."""

from __future__ import annotations

import io
import json
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

import media
import teacher
from pipeline.download import MACHINE_ERRORS, Downloader, DownloadError
from pipeline.settings import Settings
from pipeline.store import Store
from schemas import SchemaError, tfrecord
from schemas.clip import ClipRecord
from schemas.ledger import DONE, FAILED, LedgerRow
from schemas.video_list import VideoRow
from schemas.waveform import SAMPLE_RATE
from teacher import TeacherSpec

COUNTERS = "soundnet"
"""Namespace of Beam's counters: videos_done, videos_failed, failed_<cause>, clips, label_steps."""


def _count(name: str, by: int = 1) -> None:
    Metrics.counter(COUNTERS, name).inc(by)


@dataclass(frozen=True)
class Todo:
    """A video to read, as one line of `todo.jsonl`.

    Attributes:
        attempts: how often it was tried, this time counted in.
        problem: why the row of the list can't be used; "" for a good one.
    """

    row: VideoRow
    split: str
    attempts: int = 1
    problem: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Todo:
        data = json.loads(line)
        return cls(**{**data, "row": VideoRow(**data["row"])})


@dataclass
class Clip:
    """A clip on its way through the teachers.

    Attributes:
        pcm: int16 (samples,), 22,050 Hz.
        frames: uint8 RGB (height, width, 3), one per label step.
        probs: what each teacher said, float16 (label steps, classes), or the fault it had.
    """

    todo: Todo
    number: int
    start_seconds: float
    pcm: np.ndarray
    frames: list[np.ndarray]
    frame_times: list[float]
    probs: dict[str, np.ndarray | str] = field(default_factory=dict)


class ReadVideo(beam.DoFn):
    """A line of the todo list in, its clips out, one at a time; notes what became of the video."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store

    def setup(self) -> None:
        self.downloader = Downloader(
            limits=self.settings.limits,
            seconds=self.settings.download_seconds,
            allow_local_network=self.settings.allow_local_network,
        )

    def teardown(self) -> None:
        self.downloader.close()

    def process(self, line: str) -> Iterator[Clip]:
        todo = Todo.from_json(line)
        started = time.monotonic()
        samples = clips = size = 0
        stage, cause, message = "list", "", ""
        try:
            if todo.problem:
                raise _Failed("bad_row", todo.problem)
            with tempfile.TemporaryDirectory(dir=self.store.scratch()) as folder:
                path = todo.row.url
                if not todo.row.is_local:
                    stage = "download"
                    path = self.downloader.fetch(path, folder)
                stage = "extract"
                if Path(path).is_file():
                    size = Path(path).stat().st_size
                for clip in self._clips(todo, path):
                    clips += 1
                    samples += len(clip.pcm)
                    yield clip
            if samples < self.settings.min_seconds * SAMPLE_RATE:
                raise _Failed("too_short", f"{samples / SAMPLE_RATE:.2f} s of sound with pictures")
        except (media.MediaError, DownloadError, _Failed) as error:
            cause, message = error.cause, error.message
        except Exception as error:  # one bad video never ends a run
            if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
                raise
            cause, message = "internal", traceback.format_exc(limit=-3)
        outcome = FAILED if cause else DONE
        _count("videos_failed" if cause else "videos_done")
        if cause:
            _count(f"failed_{cause}")
        self.store.mark(
            LedgerRow(
                video_id=todo.row.video_id,
                url=todo.row.url,
                split=todo.split,
                stage=stage if cause else "write",
                outcome=outcome,
                cause=cause,
                message=message,
                attempts=todo.attempts,
                clips=0 if cause else clips,
                media_seconds=0.0 if cause else round(samples / SAMPLE_RATE, 3),
                bytes=size,
                seconds=round(time.monotonic() - started, 3),
                start=todo.row.start,
                end=todo.row.end,
                extra=todo.row.extra,
            )
        )

    def _clips(self, todo: Todo, path: str) -> Iterator[Clip]:
        segments = media.extract(
            path,
            start=todo.row.start,
            end=todo.row.end,
            channels=self.settings.channels,
            limits=self.settings.limits,
        )
        for segment in segments:
            yield Clip(
                todo=todo,
                number=segment.index,
                start_seconds=segment.start_seconds,
                pcm=segment.pcm,
                frames=segment.frames,
                frame_times=segment.frame_times,
            )


class _Failed(Exception):
    """A failure found by the pipeline itself."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause, self.message = cause, message


class TeacherHandler(ModelHandler[Clip, PredictionResult, teacher.Teacher]):
    """Asks one teacher about batches of clips; Beam loads it once a process."""

    CLIPS = 16
    """Clips a batch: 64 label steps when full, a few of the teacher's own batches."""

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
    clip = result.example
    clip.probs[name] = result.inference
    return clip


class WriteClip(beam.DoFn):
    """A clip in, its record in a file of its own."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store

    def process(self, clip: Clip) -> None:
        row = clip.todo.row
        faults = [answer for answer in clip.probs.values() if isinstance(answer, str)]
        try:
            if faults:
                raise SchemaError("; ".join(faults))
            record = ClipRecord(
                video_id=row.video_id,
                number=clip.number,
                url=row.url,
                start_seconds=clip.start_seconds,
                pcm=clip.pcm,
                audio_codec=self.settings.audio_codec,
                frame_times=clip.frame_times,
                probs=clip.probs,
                frames=[_jpeg(frame) for frame in clip.frames] if self.settings.frames else [],
            )
            self.store.write(self.store.clip_path(row.video_id, clip.number), record.to_bytes())
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
                    attempts=clip.todo.attempts,
                )
            )


def _jpeg(frame: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=85)
    return out.getvalue()


@dataclass(frozen=True)
class Shard:
    """A shard to write.

    Attributes:
        file: its name in the output folder; "" where there are only videos that failed.
        videos: per video the name of its ledger row and of its clip files, in order.
    """

    file: str
    videos: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def records(self) -> int:
        return sum(len(clips) for _, clips in self.videos)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Shard:
        data = json.loads(line)
        return cls(data["file"], tuple((mark, tuple(clips)) for mark, clips in data["videos"]))


class WriteShard(beam.DoFn):
    """A line of the plan in, its shard written; yields the ledger rows of its videos."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def process(self, line: str) -> Iterator[LedgerRow]:
        shard = Shard.from_json(line)
        if shard.file:
            names = (name for _, clips in shard.videos for name in clips)
            records = (tfrecord.frame(self.store.read(self.store.work(name))) for name in names)
            self.store.write(self.store.path(shard.file), records)
        for mark, _ in shard.videos:
            yield LedgerRow.from_json(self.store.read(self.store.work(mark)).decode(), mark)


def write_ledger(rows: list[LedgerRow], store: Store) -> None:
    """Write this run's ledger, in the order of the video ids."""
    lines = (row.to_json().encode() + b"\n" for row in sorted(rows, key=lambda row: row.video_id))
    store.write(store.path(ledger_name(store.run)), lines)


def ledger_name(run: int) -> str:
    """Name of a run's ledger, beside `dataset_info.json`."""
    return f"ledger-{run:05d}.jsonl"
