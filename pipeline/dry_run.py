"""`--dry-run`: what would be done, and one video taken all the way; writes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence

from rich.console import Console

import teacher
from pipeline.build import check_retry, look, missing, recipe_of
from pipeline.reading import LaneReader
from pipeline.settings import Settings
from pipeline.steps import clip_record
from pipeline.store import Store
from pipeline.todo import Todo, share_out
from schemas.clip import ClipRecord
from schemas.ledger import FAILED, LedgerRow
from schemas.video_list import BadRow, VideoRow

_SHOWN = 5


class _Notes(Store):
    """Keeps in mind what a lane says of its videos, and writes nothing but what is downloaded, into
    a folder of the system's that is removed."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.rows: list[LedgerRow] = []

    def mark(self, row: LedgerRow) -> None:
        self.rows.append(row)


def dry_run(
    rows: Sequence[VideoRow],
    bad_rows: Sequence[BadRow],
    output: str,
    settings: Settings,
    retry: Collection[str],
    console: Console,
) -> int:
    """Print what a build would do, and check its first video from the download to the record.

    Returns:
        Exit status: 0, or 1 if the sample failed.

    Raises:
        SchemaError: as `build`, where it could not begin.
    """
    check_retry(retry)
    info, known = look(output, recipe_of(settings))
    todos = missing(rows, bad_rows, known, settings, retry)
    console.print(f"{len(rows)} videos and {len(bad_rows)} rows that can't be used in the list")
    for bad in bad_rows[:_SHOWN]:
        console.print(f"  {bad.message}", markup=False)
    failed = Counter(one.cause for one in known.values() if one.cause)
    console.print(f"{len(known)} videos are in {output} already, {failed.total()} of them failed")
    for cause, number in failed.most_common():
        again = ", to be tried again" if cause in retry else ""
        console.print(f"  {number} {cause}{again}")
    console.print(f"{len(todos)} videos would be read")
    hosts = Counter(todo.host or "files" for todo in todos if not todo.problem)
    for host, number in hosts.most_common(_SHOWN):
        console.print(f"  {number} from {host}", markup=False)
    good = [todo for todo in todos if not todo.problem]
    splits = Counter(todo.split for todo in good)
    console.print("  " + ", ".join(f"{number} for {split}" for split, number in splits.items()))
    names = ", ".join(found.name for found in info.teachers) or "none"
    console.print(f"teachers: {names}; sound as {info.audio_codec}; pictures: {info.pictures}")
    if not good:
        return 0
    return _sample(good[0], settings, console)


def _sample(todo: Todo, settings: Settings, console: Console) -> int:
    """Take one video all the way."""
    console.print(f"\nsample: {todo.row.url}", markup=False)
    # One clip is enough; and nothing is kept.
    most = min(settings.first_seconds or 20.0, 20.0)
    settings = dataclasses.replace(settings, first_seconds=most, media=None, tries=1)
    with tempfile.TemporaryDirectory() as folder:
        notes = _Notes(folder)
        (lane,) = share_out([todo], 1, 1, settings)
        with contextlib.closing(LaneReader(settings, notes, lane).clips()) as clips:
            found = list(clips)
    (row,) = notes.rows
    if row.outcome == FAILED:
        console.print(f"  fails as {row.cause}: {row.message}", markup=False)
        return 1
    seconds = ", ".join(f"{stage} {taken:.1f} s" for stage, taken in row.seconds.items())
    console.print(f"  {row.bytes / 1e6:.1f} MB, {row.media_seconds:.1f} s of sound; {seconds}")
    clip = found[0]
    for spec in settings.teachers:
        looks = teacher.load(spec)
        clip.probs[spec.name] = looks(clip.frames).astype("float16")
        if spec.outputs == "embedding":
            says = f"gives {len(looks.classes)} values a picture"
        else:
            best = clip.probs[spec.name].argmax(axis=1)
            says = "sees " + ", ".join(dict.fromkeys(looks.classes[number] for number in best))
        console.print(f"  {spec.name} {says}", markup=False)
    data = clip_record(clip, settings).to_bytes()
    back = ClipRecord.from_bytes(data)
    console.print(
        f"  record {back.clip_id}: {len(data) / 1e3:.0f} kB, {len(back.pcm)} samples, "
        f"{len(back.frame_times)} label steps; it reads back",
        markup=False,
    )
    return 0
