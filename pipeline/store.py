"""The output folder: finished data, and beside it the work of the run under way.

    DIR/dataset_info.json             written last: what it names is the data set
    DIR/train-00000.tfrecord ...      shards, never touched again
    DIR/ledger-00000.jsonl ...        one a run
    DIR/work-00001/                   the run under way (here the second): what is in it is done
        recipe.json                   what its records are like
        lanes.jsonl, plan.jsonl       the videos to read, the shards to write
        <key>.<number>.clip           one clip record, framed as in a shard
        <key>.<split>.done-<n>.json   ledger row of a video whose n clips are (being) written
        <key>.<split>.failed-<cause>.json
        error.txt                     why it broke off
        tmp/                          downloads, files not yet whole (on a disk)

Names say everything that resuming needs, so one listing of the folder is enough, and a step that is
run twice writes the same file twice. A file is there in whole or not at all. A run that has ended
leaves nothing: a folder of work whose run `dataset_info.json` counts is only waiting to be removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from pipeline.object_store import set_options
from schemas import SchemaError
from schemas.dataset_info import FILE_NAME as INFO_NAME
from schemas.dataset_info import DatasetInfo, RunInfo
from schemas.ledger import DONE, LedgerRow

RECIPE, QUEUE, PLAN = "recipe.json", "lanes.jsonl", "plan.jsonl"
"""Names in the work folder."""

_CLIP = re.compile(r"([0-9a-f]{32})\.(\d{5})\.clip")
_WEIGHTIEST = "teacher_error"
_MARK = re.compile(r"([0-9a-f]{32})\.([a-z]+)\.(?:done-(\d+)|failed-([a-z_]+))\.json")


def video_key(video_id: str) -> str:
    """The name of a video in file names: safe, of one length, spread evenly."""
    return hashlib.sha256(video_id.encode()).hexdigest()[:32]


@dataclass
class WorkVideo:
    """What the work folder holds of one video.

    Attributes:
        clips: size in bytes of each clip file, by its number.
        split: its split; "" before it was read to its end.
        expected: how many clips the video has; None before it was read to its end.
        cause: why it failed; "" if it did not.
        mark: name of its ledger row.
    """

    clips: dict[int, int] = field(default_factory=dict)
    split: str = ""
    expected: int | None = None
    cause: str = ""
    mark: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do for the video."""
        if self.cause:
            return True
        return self.expected is not None and self.clips.keys() >= set(range(self.expected))


class Store:
    """One output folder, seen by one run; picklable, so that workers carry it.

    Args:
        root: on any filesystem that Beam knows.
        run: number of the run under way, 0 for a data set's first.
        beam_args: Beam's own options, which may say where an object store is. A cluster's workers
            are not told them by Beam.
    """

    def __init__(self, root: str, run: int = 0, beam_args: Sequence[str] = ()) -> None:
        self.beam_args = tuple(beam_args)
        self.is_local = "://" not in root
        self.root = os.path.abspath(root) if self.is_local else root
        self.run = run

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        set_options(self.beam_args)

    def path(self, *names: str) -> str:
        return FileSystems.join(self.root, *names)

    def work(self, *names: str) -> str:
        return self.path(f"work-{self.run:05d}", *names)

    def list(self, folder: str) -> dict[str, int]:
        """Size in bytes of every file of a folder, by name; empty if there is no such folder."""
        if not self.is_local:
            found = FileSystems.match([folder.rstrip("/") + "/*"])[0].metadata_list
            return {FileSystems.split(item.path)[1]: item.size_in_bytes for item in found}
        sizes = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as all_:
            for entry in all_:
                with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                    if entry.is_file():
                        sizes[entry.name] = entry.stat().st_size
        return sizes

    def exists(self, path: str) -> bool:
        return FileSystems.exists(path)

    def read(self, path: str) -> bytes:
        with FileSystems.open(path, compression_type="uncompressed") as file:
            return file.read()

    def write(self, path: str, data: bytes | Iterable[bytes]) -> None:
        """Write a file so that it is there in whole or not at all."""
        chunks = [data] if isinstance(data, bytes) else data
        folder = self.scratch()
        if folder is None:
            # An object is there when it is closed, also by an error: so first have all of it.
            whole = b"".join(chunks)
            with FileSystems.create(path, "application/octet-stream", "uncompressed") as file:
                file.write(whole)
            return
        part = folder / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def scratch(self) -> Path | None:
        """A local folder for what is not yet whole; None for the system's own."""
        if not self.is_local:
            return None
        folder = Path(self.work("tmp"))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sweep(self) -> None:
        """Remove what a run that was killed left half done."""
        if folder := self.scratch():
            shutil.rmtree(folder, ignore_errors=True)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files of the work folder."""
        if paths := [self.work(name) for name in names]:
            FileSystems.delete(paths)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of the folder. On object stores nothing does.

        Raises:
            SchemaError: there is another run.
        """
        if not self.is_local:
            yield
            return
        os.makedirs(self.root, exist_ok=True)
        with open(self.path(".lock"), "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SchemaError(
                    f"another run is at work in {self.root}; wait for its end, or end it"
                ) from None
            yield

    # What is finished.

    def info(self) -> DatasetInfo | None:
        """`dataset_info.json`, or None before the first run has ended."""
        path = self.path(INFO_NAME)
        if not self.exists(path):
            return None
        return DatasetInfo.from_json(self.read(path).decode(), path)

    def ledger(self, runs: Iterable[RunInfo]) -> Iterator[LedgerRow]:
        """The ledger rows of some runs, in their order."""
        for run in runs:
            path = self.path(run.ledger)
            for line in self.read(path).decode().splitlines():
                yield LedgerRow.from_json(line, path)

    # What is under way.

    def clip_path(self, video_id: str, number: int) -> str:
        return self.work(f"{video_key(video_id)}.{number:05d}.clip")

    def mark(self, row: LedgerRow) -> None:
        """Put down what became of a video."""
        outcome = f"done-{row.clips}" if row.outcome == DONE else f"failed-{row.cause}"
        name = f"{video_key(row.video_id)}.{row.split}.{outcome}.json"
        self.write(self.work(name), row.to_json().encode() + b"\n")

    def row(self, mark: str) -> LedgerRow:
        """The ledger row of that name (`WorkVideo.mark`)."""
        return LedgerRow.from_json(self.read(self.work(mark)).decode(), mark)

    def videos(self) -> dict[str, WorkVideo]:
        """What the work folder holds, by `video_key`.

        A video that was tried twice (a cluster runs a bundle again) may have several marks: being
        done counts more than having failed, except that a teacher failed on one of its clips.
        """
        videos: dict[str, WorkVideo] = {}
        for name, size in sorted(self.list(self.work()).items()):
            if match := _CLIP.fullmatch(name):
                videos.setdefault(match[1], WorkVideo()).clips[int(match[2])] = size
            elif match := _MARK.fullmatch(name):
                video = videos.setdefault(match[1], WorkVideo())
                split, expected, cause = match.groups()[1:]
                done = video.expected is not None
                if cause == _WEIGHTIEST or not (video.cause == _WEIGHTIEST or (done and cause)):
                    video.mark, video.split, video.cause = name, split, cause or ""
                    video.expected = int(expected) if expected else None
        return videos

    def clear_work(self, before: int) -> None:
        """Remove the work folders of the runs before one."""
        for run in range(before):
            folder = Store(self.root, run).work()
            if self.is_local:
                shutil.rmtree(folder, ignore_errors=True)
            elif self.list(folder):
                FileSystems.delete([f"{folder}/"])  # many a request; one by one takes three each
