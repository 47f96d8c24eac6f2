"""A build: what is to do, the two graphs, what came of it."""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import re
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

import teacher
from media import process
from pipeline import graph, steps, worker
from pipeline.progress import Watch
from pipeline.settings import Settings
from pipeline.store import PLAN, QUEUE, RECIPE, Store, WorkVideo, video_key
from schemas import SchemaError
from schemas.dataset_info import FILE_NAME as INFO_NAME
from schemas.dataset_info import DatasetInfo, RunInfo, ShardInfo
from schemas.ledger import CAUSES, FAILED, LedgerRow, latest
from schemas.video_list import BadRow, VideoRow, draw_split

_ERROR_LINE = re.compile(r"[A-Za-z_.]*(Error|Exception)\b")
"""How the last line of a traceback begins."""


class RunFailed(RuntimeError):
    """The run broke off; what it had done stays, and the same command goes on from there."""


@dataclass(frozen=True)
class Summary:
    """What a run did and what the data set holds now.

    Attributes:
        rows: the ledger's last word on every video of the data set, by its id.
        new: ids of the videos that this run settled.
        elsewhere: ids that the list gives another address than the ledger does; they were taken
            for the same videos.
    """

    info: DatasetInfo
    rows: dict[str, LedgerRow]
    new: frozenset[str]
    elsewhere: tuple[str, ...]

    @property
    def causes(self) -> Counter[str]:
        """Failures of the data set by cause."""
        return Counter(row.cause for row in self.rows.values() if row.outcome == FAILED)


def build(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    output: str,
    settings: Settings,
    *,
    processes: int = 1,
    retry: Collection[str] = (),
    beam_args: Sequence[str] = (),
) -> Summary:
    """Make or extend the data set in `output`.

    Does only what is missing: videos that the ledger knows, done or failed, are left alone, but for
    failures whose cause is in `retry`. A run that was killed goes on where it was.

    Args:
        rows, bad_rows: from `schemas.video_list.parse`.
        output: a folder, on any filesystem that Beam knows.
        processes: worker processes of the local runner.
        beam_args: Beam's own options; with a `--runner` among them, `processes` is that runner's
            business.

    Raises:
        SchemaError: the folder holds data made with other settings, or another run is at work.
        RunFailed: something other than a video is at fault: a full disk, a worker that was killed.
    """
    for cause in set(retry) - set(CAUSES):
        raise SchemaError(f"no cause {cause!r} to retry; there are {', '.join(CAUSES)}")
    with Store(output).locked():
        return _build(rows, bad_rows, output, settings, processes, frozenset(retry), beam_args)


def _build(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    output: str,
    settings: Settings,
    processes: int,
    retry: frozenset[str],
    beam_args: Sequence[str],
) -> Summary:
    versions = _versions()
    recipe = _recipe(settings)
    info = Store(output).info() or recipe
    if not _same_recipe(info, recipe):
        raise SchemaError(_other_recipe(output, info, recipe))
    store = Store(output, run=len(info.runs))
    store.clear_work(before=store.run)
    ledger = latest(store.ledger(info.runs))
    todo = _todo(rows, bad_rows, ledger, settings, retry)
    elsewhere = tuple(row.video_id for row in rows if ledger.get(row.video_id, row).url != row.url)
    _open_work(store, recipe, retry)

    videos = store.videos()
    settled = {key for key, video in videos.items() if video.is_settled}
    left = [item for item in todo if video_key(item.row.video_id) not in settled]
    if left:
        store.write(store.work(QUEUE), (item.to_json().encode() + b"\n" for item in left))
        pipeline = _pipeline(processes, beam_args)
        graph.read_videos(pipeline, settings, store)
        with Watch(store, total=len(todo)):
            _run(pipeline, store)
        videos = store.videos()
        lost = [
            item.row.video_id
            for item in left
            if not videos.get(video_key(item.row.video_id), WorkVideo()).is_settled
        ]
        if lost:
            raise RunFailed(
                f"{len(lost)} videos were neither done nor failed when the run ended, {lost[0]!r} "
                "among them. Run the same command again to go on."
            )
    plan = plan_shards(videos, info, settings.shard_bytes)
    if not plan:
        store.clear_work(before=store.run + 1)
        return Summary(info, ledger, frozenset(), elsewhere)

    store.write(store.work(PLAN), (shard.to_json().encode() + b"\n" for shard in plan))
    pipeline = _pipeline(1, beam_args)
    graph.pack(pipeline, store)
    _run(pipeline, store)
    info = _commit(store, info, plan, versions)
    new = latest(store.ledger(info.runs[-1:]))
    return Summary(info, {**ledger, **new}, frozenset(new), elsewhere)


def _recipe(settings: Settings) -> DatasetInfo:
    """An empty data set of the kind that the settings make."""
    return DatasetInfo(
        teachers=[teacher.describe(spec) for spec in settings.teachers],
        audio_codec=settings.audio_codec,
        channels=settings.channels,
        frames=settings.frames,
    )


def _same_recipe(one: DatasetInfo, other: DatasetInfo) -> bool:
    """Whether records of both can stand in one data set."""
    return dataclasses.replace(one, splits={}, runs=[]) == dataclasses.replace(
        other, splits={}, runs=[]
    )


def _other_recipe(where: str, there: DatasetInfo, here: DatasetInfo) -> str:
    """What differs between a folder's data set and the one that was asked for."""
    differences = []
    for name in ("audio_codec", "channels", "frames", "clip_seconds", "step_seconds"):
        old, new = getattr(there, name), getattr(here, name)
        if old != new:
            differences.append(f"{name} is {old!r} there and {new!r} here")
    old_teachers, new_teachers = (
        {t.name: f"{t.network} {t.sha256[:12]}" for t in info.teachers} for info in (there, here)
    )
    if old_teachers != new_teachers or not differences:
        differences.append(f"teachers are {old_teachers} there and {new_teachers} here")
    return (
        f"{where} was made with other settings ({'; '.join(differences)}). "
        "Use those, or choose another --output."
    )


def _open_work(store: Store, recipe: DatasetInfo, retry: frozenset[str]) -> None:
    """Go on with the work of a run that was killed, or begin."""
    path = store.work(RECIPE)
    store.sweep()
    if not store.exists(path):
        store.write(path, recipe.to_json().encode())
        return
    there = DatasetInfo.from_json(store.read(path).decode(), path)
    if not _same_recipe(there, recipe):
        raise SchemaError(
            _other_recipe(store.work(), there, recipe)
            + f" Or remove {store.work()} to begin again."
        )
    if retry:  # forget those failures, with all that is left of them
        again = {key for key, video in store.videos().items() if video.cause in retry}
        store.delete(name for name in store.list(store.work()) if name.split(".")[0] in again)


def _todo(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    ledger: dict[str, LedgerRow],
    settings: Settings,
    retry: frozenset[str],
) -> list[steps.Todo]:
    """The rows that the ledger doesn't settle."""
    listed = [(row, "") for row in rows]
    listed += [(VideoRow(bad.video_id, bad.text or "?"), bad.message) for bad in bad_rows]
    todo = []
    for row, problem in listed:
        known = ledger.get(row.video_id)
        if known and known.cause not in retry:
            continue
        todo.append(
            steps.Todo(
                row=row,
                split=row.split or draw_split(row.video_id, settings.validation_share),
                attempts=known.attempts + 1 if known else 1,
                problem=problem,
            )
        )
    return todo


def plan_shards(
    videos: dict[str, WorkVideo], info: DatasetInfo, shard_bytes: int
) -> list[steps.Shard]:
    """Which clip goes into which new shard; videos that failed come in shards without a file.

    Videos follow each other by their key, a hash of their id, so shards are mixed; all clips of a
    video are in one shard. The same videos give the same plan, whoever read them. Videos that are
    not settled are left out.
    """
    settled = {key: video for key, video in sorted(videos.items()) if video.is_settled}
    plan: list[steps.Shard] = []
    for split in sorted({video.split for video in settled.values() if not video.cause}):
        number = len(info.splits.get(split, []))
        members: list[tuple[str, tuple[str, ...]]] = []
        filled = 0
        for key, video in settled.items():
            if video.cause or video.split != split:
                continue
            size = sum(video.clips[index] for index in range(video.expected))
            if members and filled + size > shard_bytes:
                plan.append(steps.Shard(f"{split}-{number:05d}.tfrecord", tuple(members)))
                number, members, filled = number + 1, [], 0
            clips = tuple(f"{key}.{index:05d}.clip" for index in range(video.expected))
            members.append((video.mark, clips))
            filled += size
        plan.append(steps.Shard(f"{split}-{number:05d}.tfrecord", tuple(members)))
    failed = [(video.mark, ()) for video in settled.values() if video.cause]
    for start in range(0, len(failed), 1000):
        plan.append(steps.Shard("", tuple(failed[start : start + 1000])))
    return plan


def _commit(
    store: Store, info: DatasetInfo, plan: list[steps.Shard], versions: dict[str, str]
) -> DatasetInfo:
    """Make what was packed part of the data set, in one stroke, and tidy up."""
    sizes = store.list(store.root)
    splits = {split: list(shards) for split, shards in info.splits.items()}
    for shard in plan:
        if shard.file:
            listed = splits.setdefault(shard.file.split("-")[0], [])
            listed.append(ShardInfo(shard.file, shard.records, sizes[shard.file]))
    run = RunInfo(steps.ledger_name(store.run), versions)
    info = dataclasses.replace(info, splits=splits, runs=[*info.runs, run])
    store.write(store.path(INFO_NAME), info.to_json().encode())
    store.clear_work(before=store.run + 1)
    return info


def _versions() -> dict[str, str]:
    packages = ("soundnet", "apache-beam", "tensorflow", "keras", "yt-dlp", "pillow", "soundfile")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "ffmpeg": process.version(), "python": platform.python_version()}


def names_runner(beam_args: Sequence[str]) -> bool:
    """Whether Beam's options say where to run; else it is the local runner."""
    return any(arg.split("=")[0] == "--runner" for arg in beam_args)


def _pipeline(processes: int, beam_args: Sequence[str]) -> beam.Pipeline:
    """An empty graph, for the runner that Beam's options name, or else for so many processes here.

    The local runner is named: `DirectRunner` would try to download another.
    """
    options = PipelineOptions([*beam_args, f"--direct_num_workers={processes}"])
    if names_runner(beam_args):
        return beam.Pipeline(options=options)
    environment = None
    if processes > 1:
        environment = SubprocessSDKEnvironment.from_command_string(worker.COMMAND)
        # Each process has its own TensorFlow: together they should not outnumber the cores.
        threads = str(max(1, (os.cpu_count() or 1) // processes))
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", threads)
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    return beam.Pipeline(runner=FnApiRunner(environment), options=options)


def _run(pipeline: beam.Pipeline, store: Store) -> None:
    """Run a graph to its end.

    Raises:
        RunFailed: it didn't come to its end; the whole story is in the work folder's error.txt. A
            local worker that was killed counts too: Beam itself would wait for it for ever.
    """
    died: list[str] = []
    before = threading.excepthook

    def notice(failure: threading.ExceptHookArgs) -> None:
        if "Worker subprocess exited" in str(failure.exc_value):
            died.append(str(failure.exc_value))
            _thread.interrupt_main()
        elif not died:  # what else breaks then is Beam's pipes to that worker
            before(failure)

    threading.excepthook = notice
    try:
        state = pipeline.run().wait_until_finish()
        if state not in (None, "DONE"):
            raise RunFailed(f"the Beam job ended as {state}; the same command goes on from here")
    except KeyboardInterrupt:
        if not died:
            raise
        raise RunFailed(
            f"a worker process died ({died[0]}); was there enough memory? "
            "Run the same command again to go on, with fewer --processes if need be."
        ) from None
    except (OSError, RuntimeError) as error:
        if "KeyboardInterrupt" in str(error):  # it hit a DoFn that ran in this process
            raise KeyboardInterrupt from None
        if isinstance(error, RunFailed):
            raise
        report = store.work("error.txt")
        with contextlib.suppress(OSError):
            store.write(report, f"{error}\n".encode(errors="replace"))
        said = [line for line in str(error).splitlines() if _ERROR_LINE.match(line)]
        raise RunFailed(
            f"the run broke off: {(said or [str(error)])[-1][:500]} (more in {report}). "
            "Run the same command again to go on."
        ) from error
    finally:
        threading.excepthook = before
