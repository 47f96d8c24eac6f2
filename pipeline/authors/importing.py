"""The release's videos as clip records: one clip each, of 1 to 4 label steps.

As the authors' loader does, the sound is taken from its first sample on, 5 s for each label step,
from the first channel. Unlike it, a sound that can't be read is a failure (there it became zeros
and kept its labels), and a label step counts only if there is sound for half of it, as in data sets
made of videos; a first step needs `Settings.min_seconds`.
"""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

import media
from media import Segment
from pipeline import gates
from pipeline.authors import release as authors
from pipeline.authors.release import TEACHERS, Release
from pipeline.build import check_retry, extend, look, missing
from pipeline.downloads.download import MACHINE_ERRORS
from pipeline.reading import Failed
from pipeline.settings import Settings
from pipeline.steps import COUNTERS
from pipeline.store import QUEUE, Store, video_key
from pipeline.summary import Summary
from pipeline.todo import Lane, Todo
from schemas import tfrecord
from schemas.clip import ClipRecord
from schemas.dataset_info import DatasetInfo
from schemas.ledger import CAUSES, DONE, FAILED, ClipFacts, LedgerRow
from schemas.video_list import BadRow, VideoRow
from schemas.waveform import PCM_TO_WAVEFORM, SAMPLE_RATE

STEP_SECONDS = 5

DROP = ("silent", "duplicate")
"""The gates that need no pictures."""


def import_release(
    release: Release,
    lists: list[Path],
    output: str,
    settings: Settings,
    *,
    processes: int = 1,
    retry: Collection[str] = (),
) -> Summary:
    """Make or extend the data set in `output`, list by list.

    What is done already is left alone, as by `pipeline.build.build`; so a run that was killed goes
    on where it was. Labels are read as they are needed, row by row.

    Args:
        output: a folder, on any filesystem that Beam knows; the release is on this machine's disk.
        settings: without teachers, and with channels "first".
        processes: sounds decoded at a time.

    Raises:
        SchemaError: lists, labels and sounds don't fit each other or the data set that is there.
        RunFailed: something other than a video is at fault: a full disk, a worker that was killed.
    """
    authors.check(release, lists)
    check_retry(retry)
    recipe = DatasetInfo(
        teachers=list(TEACHERS), audio_codec=settings.audio_codec, channels=settings.channels
    )
    info, known = look(output, recipe)
    places = {
        row.video_id: _place(row.extra["list"], row.extra["line"])
        for row in Store(output).ledger(info.runs)
        if "line" in row.extra
    }
    summary = Summary(info, output, frozenset(), ())
    for path in lists:
        rows, bad_rows = rows_of(path, places)
        # A list that is done must not end the portion of another, which was broken off.
        if not missing(rows, bad_rows, known, settings, retry):
            continue
        this = extend(
            rows,
            bad_rows,
            output,
            settings,
            recipe,
            functools.partial(read_sounds, settings=settings, release=release),
            processes=processes,
            retry=retry,
        )
        summary = Summary(
            this.info, output, summary.new | this.new, summary.elsewhere + this.elsewhere
        )
    return summary


def rows_of(path: Path, places: dict[str, str]) -> tuple[list[VideoRow], list[BadRow]]:
    """The videos of a list as rows to work on, and what can't be used.

    Args:
        places: by id where each video stood that was met so far; this list's are added. One that
            stands in two places is worked on where it stood first, so that none is in two splits.
    """
    split, rows, bad_rows = authors.split_of(path), [], []
    for found in authors.read_list(path):
        if isinstance(found, BadRow):
            bad_rows.append(found)
            continue
        here = _place(path.name, found.line)
        there = places.setdefault(found.video_id, here)
        if there != here:
            message = f"line {found.line}: the video {found.video_id} stands in {there} already"
            bad_rows.append(BadRow(found.line, f"{here} {found.sound}", message))
            continue
        where = {"list": path.name, "line": str(found.line), "steps": str(found.steps)}
        rows.append(VideoRow(found.video_id, found.sound, split=split, extra=where))
    return rows, bad_rows


def _place(list_name: str, line: int | str) -> str:
    return f"{list_name}:{line}"


def read_sounds(pipeline: beam.Pipeline, settings: Settings, store: Store, release: Release):
    """The graph: lanes of listed videos in, clip records out."""
    _ = (
        pipeline
        | "ListLanes" >> beam.io.ReadFromText(store.work(QUEUE))
        | "SpreadLanes" >> beam.Reshuffle()
        | "ImportLanes" >> beam.ParDo(ImportLane(settings, store, release))
    )


class ImportLane(beam.DoFn):
    """A lane in; the clip of each of its videos is written, and noted what became of the video."""

    def __init__(self, settings: Settings, store: Store, release: Release) -> None:
        self.settings, self.store, self.release = settings, store, release

    def process(self, line: str) -> Iterable[None]:
        lane = Lane.from_json(line)
        settled = {key for key, video in self.store.videos().items() if video.is_settled}
        todos = [todo for todo in lane.todos if video_key(todo.row.video_id) not in settled]
        lists = {todo.row.extra["list"] for todo in todos if not todo.problem}
        labels = {
            name: {teacher.name: self.release.open(teacher, name) for teacher in TEACHERS}
            for name in lists
        }
        with ThreadPoolExecutor(lane.readers) as pool:
            work = functools.partial(self._import, labels=labels)
            for outcome in pool.map(work, todos):
                # Beam counts per thread.
                done = outcome == DONE
                for name in (
                    ["videos_done", "clips"]
                    if done
                    else [
                        "videos_failed",
                        f"failed_{outcome}",
                    ]
                ):
                    Metrics.counter(COUNTERS, name).inc()
        return ()

    def _import(self, todo: Todo, labels: dict[str, dict[str, np.ndarray]]) -> str:
        """Do one video; returns "done" or the cause of its failure."""
        stage, cause, message, fact = "extract", "", "", None
        started = time.monotonic()
        try:
            if todo.problem:
                stage = "list"
                raise Failed("bad_row", todo.problem)
            probs = _labels(todo, labels[todo.row.extra["list"]])
            fact = self._write(todo, probs)
        except _BadLabels as error:
            stage, cause, message = "teach", "bad_labels", str(error)
        except (media.MediaError, Failed) as error:
            cause, message = error.cause, error.message
        except Exception as error:  # one bad file never ends a run
            if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
                raise
            cause, message = "internal", traceback.format_exc(limit=-3)
        row = todo.row
        self.store.mark(
            LedgerRow(
                video_id=row.video_id,
                url=row.url,
                split=todo.split,
                stage=stage if cause else "write",
                outcome=FAILED if cause else DONE,
                cause=cause,
                message=message,
                attempts=todo.attempts + 1,
                clips=1 if fact else 0,
                media_seconds=fact.seconds if fact else 0.0,
                bytes=_size(self._sound(todo)),
                seconds={"extract": round(time.monotonic() - started, 3)},
                dropped={cause: 1} if cause in DROP else {},
                facts=(fact,) if fact else (),
                extra=row.extra,
            )
        )
        return cause or DONE

    def _sound(self, todo: Todo) -> Path:
        return Path(self.release.sounds) / todo.row.url

    def _write(self, todo: Todo, probs: dict[str, np.ndarray]) -> ClipFacts:
        """Write the clip of a video; returns what was measured of it."""
        steps = len(next(iter(probs.values())))
        waveform = next(
            media.stream_waveform(
                self._sound(todo),
                steps * STEP_SECONDS,
                channels=self.settings.channels,
                limits=self.settings.limits,
            )
        )
        pcm = (waveform / np.float32(PCM_TO_WAVEFORM)).astype(np.int16)  # exact: that is 1/128
        if len(pcm) < self.settings.min_seconds * SAMPLE_RATE:
            raise Failed("too_short", f"{len(pcm) / SAMPLE_RATE:.2f} s of sound")
        step = STEP_SECONDS * SAMPLE_RATE
        steps = min(steps, max(1, (len(pcm) + step // 2) // step))
        pcm = pcm[: steps * step]
        times = [STEP_SECONDS * (number + 0.5) for number in range(steps)]
        fact = gates.measure(Segment(0, 0.0, pcm, [], times), 0, likeness=False)
        if gate := gates.fault(fact, self.settings.drop):
            raise Failed(gate, CAUSES[gate].meaning)
        record = ClipRecord(
            video_id=todo.row.video_id,
            number=0,
            url=todo.row.url,
            start_seconds=0.0,
            pcm=pcm,
            audio_codec=self.settings.audio_codec,
            frame_times=times,
            probs={name: rows[:steps].astype(np.float16) for name, rows in probs.items()},
        )
        path = self.store.clip_path(todo.row.video_id, 0)
        self.store.write(path, tfrecord.frame(record.to_bytes()))
        return fact


class _BadLabels(Exception):
    """Labels that are no probabilities."""


def _labels(todo: Todo, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By teacher the labels of a video, float32 (label steps, classes)."""
    first, steps = int(todo.row.extra["line"]) - 1, int(todo.row.extra["steps"])
    found = {}
    for name, binary in labels.items():
        found[name] = np.array(binary[first : first + steps])
        if wrong := authors.fault(found[name]):
            raise _BadLabels(f"{name}, rows from {first} on: {wrong}")
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
