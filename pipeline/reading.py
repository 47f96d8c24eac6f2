"""Reads the videos of a lane: downloads ahead, several ffmpegs at a time, clips as they come."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import shutil
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import media
from pipeline import gates
from pipeline.downloads.download import MACHINE_ERRORS, Downloader, DownloadError, Fetched
from pipeline.downloads.media_folder import MediaFolder
from pipeline.object_store import copy_in
from pipeline.schedule import Schedule
from pipeline.settings import Settings
from pipeline.store import Store, video_key
from pipeline.todo import Lane, Todo
from schemas.ledger import CAUSES, DONE, FAILED, ClipFacts, LedgerRow
from schemas.waveform import SAMPLE_RATE

_LOOK_SECONDS = 1.0
"""How often a thread that waits looks whether the lane was given up."""


@dataclass
class Clip:
    """A clip on its way through the teachers.

    Attributes:
        pcm: int16 (samples,), 22,050 Hz.
        frames: uint8 RGB (height, width, 3), one per label step.
        probs: what each teacher said, float16 (label steps, classes or, of an embedding, values).
        faults: what went wrong with a teacher, in words.
    """

    todo: Todo
    number: int
    start_seconds: float
    pcm: np.ndarray
    frames: list[np.ndarray]
    frame_times: list[float]
    probs: dict[str, np.ndarray] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class Failed(Exception):
    """A video that gives nothing, and why."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause, self.message = cause, message


@dataclass
class _Job:
    """A video under way.

    Attributes:
        tried: how often its download was tried in this run.
        read: how often reading it was tried.
        folder: where its download lies until it was read; None for what needs none.
        fetched: the file, once it is here.
        seconds: spent on it, by stage.
    """

    todo: Todo
    tried: int = 0
    read: int = 0
    folder: str | None = None
    fetched: Fetched | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, since: float) -> None:
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.monotonic() - since, 3)


class LaneReader:
    """Reads a lane's videos in threads and notes in the store what became of each.

    Some threads download, each with a downloading process of its own; others read, each with an
    ffmpeg. What waits between them is bounded, so memory and disk don't depend on how many videos
    there are or how long one is.

    Args:
        settled: `store.video_key` of the videos that need no more work.
    """

    def __init__(
        self, settings: Settings, store: Store, lane: Lane, settled: Collection[str] = ()
    ) -> None:
        self.settings, self.store, self.lane = settings, store, lane
        todos = [todo for todo in lane.todos if video_key(todo.row.video_id) not in settled]
        self._here = deque(_Job(todo) for todo in todos if todo.problem or todo.row.is_local)
        away = [_Job(todo) for todo in todos if not (todo.problem or todo.row.is_local)]
        self._schedule: Schedule[_Job] = Schedule(
            ((job.todo.host, job) for job in away),
            per_host=lane.per_host,
            gap_seconds=lane.gap_seconds,
            tries=settings.tries,
            backoff_seconds=settings.backoff_seconds,
        )
        self._downloaders = min(settings.downloads, len(away))
        self._ready: deque[_Job] = deque()
        self._downloading = 0
        self._state = threading.Condition()
        self._stopped = False
        # Of each clip's pictures and samples a reader may have two waiting.
        self._out: queue.Queue[Clip | BaseException | None] = queue.Queue(2 * lane.readers)
        self.outcomes: Counter[str] = Counter()

    def clips(self) -> Generator[Clip, None, None]:
        """Yield the clips of all videos, in the order in which they come.

        Raises:
            OSError: the disk is full or can't be written; the machine's trouble, not a video's.
        """
        # One reader more than asked for: there is always one whose ffmpeg only starts or has ended.
        works = [self._read_all] * (self.lane.readers + 1)
        works += [self._download_all] * self._downloaders
        for work in works:
            threading.Thread(target=self._run, args=(work,), daemon=True).start()
        running = len(works)
        try:
            while running:
                item = self._out.get()
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            with self._state:
                self._stopped = True
                self._state.notify_all()

    def _run(self, work: Callable[[], None]) -> None:
        """A thread: `work`, then the word that it has ended, or the trouble it had."""
        try:
            work()
            self._put(None)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where the clips are taken
            with contextlib.suppress(_Stopped):
                self._put(error)

    def _put(self, item: Clip | BaseException | None) -> None:
        while not self._stopped:
            with contextlib.suppress(queue.Full):
                return self._out.put(item, timeout=_LOOK_SECONDS)
        raise _Stopped

    def _wait(self, seconds: float = _LOOK_SECONDS) -> None:
        """Wait for a change of the state, whose lock is held."""
        self._state.wait(min(seconds, _LOOK_SECONDS))
        if self._stopped:
            raise _Stopped

    # Downloading.

    def _download_all(self) -> None:
        settings = self.settings
        downloader = Downloader(
            settings.limits,
            settings.download_seconds,
            settings.allow_local_network,
            settings.ytdlp_options,
        )
        fetcher: Downloader | MediaFolder = downloader
        if settings.media:
            fetcher = MediaFolder(settings.media, downloader)
        with contextlib.closing(fetcher):
            while taken := self._next_download():
                self._download(fetcher, *taken)

    def _next_download(self) -> tuple[str, _Job] | None:
        with self._state:
            while True:
                wait = _LOOK_SECONDS
                # Not too far ahead of the readers: what waits takes disk.
                if len(self._ready) < self.settings.downloads:
                    taken = self._schedule.take()
                    if isinstance(taken, tuple):
                        self._downloading += 1
                        return taken
                    wait = taken
                if not self._schedule.waiting and not self._downloading:
                    return None
                self._wait(wait)

    def _download(self, fetcher: Downloader | MediaFolder, host: str, job: _Job) -> None:
        row, started = job.todo.row, time.monotonic()
        start, end = self._section(job.todo)
        job.tried += 1
        job.folder = tempfile.mkdtemp(dir=self.store.scratch())
        failure: DownloadError | None = None
        try:
            if row.is_web:
                job.fetched = fetcher.fetch(row.url, job.folder, start, end)
            else:
                job.fetched = copy_in(row.url, job.folder, self.settings.limits)
        except DownloadError as error:
            failure = error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
                raise
            failure = DownloadError("internal", traceback.format_exc(limit=-3))
        finally:
            job.spend("download", started)
            if failure or not job.fetched:
                shutil.rmtree(job.folder, ignore_errors=True)
        if self._stopped:
            raise _Stopped
        with self._state:
            self._downloading -= 1
            again = False
            if failure is None:
                self._ready.append(job)
            elif CAUSES[failure.cause].soon:
                whole_host = failure.cause in ("rate_limited", "bot_check")
                again = self._schedule.again(
                    host, job, job.tried, failure.retry_after, pause_host=whole_host
                )
            self._schedule.free(host)
            self._state.notify_all()
        if failure and not again:
            self._mark(job, "download", failure.cause, failure.message)

    def _section(self, todo: Todo) -> tuple[float | None, float | None]:
        """The part of a video that is wanted, in its seconds."""
        start, end, most = todo.row.start, todo.row.end, self.settings.first_seconds
        if most is not None:
            end = min(end if end is not None else float("inf"), (start or 0.0) + most)
        return start, end

    # Reading.

    def _read_all(self) -> None:
        while job := self._next_to_read():
            self._read(job)

    def _next_to_read(self) -> _Job | None:
        with self._state:
            while True:
                if self._stopped:
                    raise _Stopped
                if self._ready:
                    self._state.notify_all()  # there is room for another download
                    return self._ready.popleft()
                if self._here:
                    return self._here.popleft()
                if not self._schedule.waiting and not self._downloading:
                    self._state.notify_all()
                    return None
                self._wait()

    def _read(self, job: _Job) -> None:
        facts: list[ClipFacts] = []
        dropped: Counter[str] = Counter()
        stage, cause, message, started = "extract", "", "", time.monotonic()
        waited = 0.0
        job.read += 1
        try:
            if job.todo.problem:
                stage = "list"
                raise Failed("bad_row", job.todo.problem)
            samples = 0
            for segment in self._segments(job):
                samples += len(segment.pcm)
                fact = gates.measure(
                    segment, len(facts), likeness="near_duplicate" in self.settings.drop
                )
                if gate := gates.fault(fact, self.settings.drop):
                    dropped[gate] += 1
                    continue
                facts.append(fact)
                before = time.monotonic()
                self._put(
                    Clip(
                        todo=job.todo,
                        number=fact.number,
                        start_seconds=segment.start_seconds,
                        pcm=segment.pcm,
                        frames=segment.frames,
                        frame_times=segment.frame_times,
                    )
                )
                waited += time.monotonic() - before
            if samples < self.settings.min_seconds * SAMPLE_RATE:
                raise Failed("too_short", f"{samples / SAMPLE_RATE:.2f} s of sound with pictures")
            if not facts:
                gate, number = dropped.most_common(1)[0]
                raise Failed(gate, f"{CAUSES[gate].meaning} ({number} of {dropped.total()} clips)")
        except (media.MediaError, Failed) as error:
            cause, message = error.cause, error.message
        except _Stopped:
            raise
        except Exception as error:  # one bad video never ends a run
            if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
                raise
            cause, message = "internal", traceback.format_exc(limit=-3)
        job.spend("extract", started + waited)
        if cause and CAUSES[cause].soon and job.read < self.settings.tries:
            with self._state:
                self._ready.append(job)
            return
        if job.folder:
            shutil.rmtree(job.folder, ignore_errors=True)
        self._mark(job, stage if cause else "write", cause, message, facts, dropped)

    def _segments(self, job: _Job) -> Iterator[media.Segment]:
        """The segments of a video, their times those of the whole video."""
        start, end = self._section(job.todo)
        fetched = job.fetched
        path, offset = (fetched.path, fetched.offset) if fetched else (job.todo.row.url, 0.0)
        segments = media.extract(
            path,
            start=max(0.0, (start or 0.0) - offset),
            end=None if end is None else end - offset,
            channels=self.settings.channels,
            limits=self.settings.limits,
            pictures=self.settings.pictures,
            motion="static" in self.settings.drop,
        )
        for segment in segments:
            yield dataclasses.replace(segment, start_seconds=segment.start_seconds + offset)

    def _mark(
        self,
        job: _Job,
        stage: str,
        cause: str,
        message: str,
        facts: list[ClipFacts] | None = None,
        dropped: Counter[str] | None = None,
    ) -> None:
        """Put down what became of a video."""
        row, kept = job.todo.row, [] if cause else facts or []
        path = Path(job.fetched.path if job.fetched else row.url)
        size = job.fetched.bytes if job.fetched else _size(path)
        self.store.mark(
            LedgerRow(
                video_id=row.video_id,
                url=row.url,
                split=job.todo.split,
                stage=stage,
                outcome=FAILED if cause else DONE,
                cause=cause,
                message=message,
                attempts=job.todo.attempts + max(1, job.tried, job.read),
                clips=len(kept),
                media_seconds=round(sum(fact.seconds for fact in kept), 3),
                bytes=size,
                seconds=job.seconds,
                start=row.start,
                end=row.end,
                dropped=dict(dropped or {}),
                facts=tuple(kept),
                extra=row.extra,
            )
        )
        with self._state:
            self.outcomes[cause or DONE] += 1


class _Stopped(Exception):
    """The lane was given up."""


def _size(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            return path.stat().st_size
    return 0
