"""The output folder: finished data beside `work/`, all on any of Beam's filesystems.

    DIR/dataset_info.json             written last: what it names is the data set
    DIR/train-00000.tfrecord ...      shards, never touched again
    DIR/ledger-00000.jsonl ...        one a run
    DIR/work/                         while a run is unfinished: what is in it is what is done
        run.json                      the run under way: its number, what its records are like
        todo.jsonl                    the videos to read
        <key>.<number>.clip           one clip record
        <key>.<split>.done-<n>.json   ledger row of a video whose n clips are (being) written
        <key>.<split>.failed-<cause>.json

Names say everything that resuming needs, so one listing of `work/` is enough, and a step that is
run twice writes the same file twice. A file is there in whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from apache_beam.io.filesystems import FileSystems

from schemas.dataset_info import FILE_NAME as INFO_NAME
from schemas.dataset_info import DatasetInfo
from schemas.ledger import LedgerRow

_CLIP = re.compile(r"([0-9a-f]{32})\.(\d{5})\.clip")
_MARK = re.compile(r"([0-9a-f]{32})\.([a-z]+)\.(?:done-(\d+)|failed-([a-z_]+))\.json")


def video_key(video_id: str) -> str:
    """The name of a video in file names: safe, of one length, spread evenly."""
    return hashlib.sha256(video_id.encode()).hexdigest()[:32]


@dataclass
class WorkVideo:
    """What `work/` holds of one video.

    Attributes:
        clips: size in bytes of each clip file, by its number.
        expected: how many clips the video has; None before it was read to its end.
        marks: names of its ledger rows (a video that a teacher failed on has two).
    """

    clips: dict[int, int] = field(default_factory=dict)
    split: str = ""
    expected: int | None = None
    cause: str = ""
    marks: list[str] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do for the video."""
        return bool(self.cause) or (self.expected is not None and len(self.clips) == self.expected)


class Store:
    """One output folder; picklable, so that workers carry it."""

    def __init__(self, root: str) -> None:
        self.root = root if "://" in root else os.path.abspath(root)

    def path(self, *names: str) -> str:
        return FileSystems.join(self.root, *names)

    def work(self, name: str) -> str:
        return self.path("work", name)

    def list(self, *folder: str) -> dict[str, int]:
        """Size in bytes of every file of a folder, by name; empty if there is no such folder."""
        path = self.path(*folder)
        if "://" not in path:
            if not os.path.isdir(path):
                return {}
            with os.scandir(path) as entries:
                return {e.name: e.stat().st_size for e in entries if e.is_file()}
        found = FileSystems.match([path.rstrip("/") + "/*"])[0].metadata_list
        return {FileSystems.split(item.path)[1]: item.size_in_bytes for item in found}

    def read(self, path: str) -> bytes:
        with FileSystems.open(path, compression_type="uncompressed") as file:
            return file.read()

    def write(self, path: str, data: bytes | Iterable[bytes]) -> int:
        """Write a file so that it is there in whole or not at all; returns its size."""
        chunks = [data] if isinstance(data, bytes) else data
        local = "://" not in path
        if local:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        # An object store shows an object when it is closed; a disk needs a rename for that.
        target = f"{path}.{uuid.uuid4().hex}.part" if local else path
        size = 0
        try:
            with FileSystems.create(target, "application/octet-stream", "uncompressed") as file:
                for chunk in chunks:
                    file.write(chunk)
                    size += len(chunk)
                if local:
                    file.flush()
                    os.fsync(file.fileno())
            if local:
                os.replace(target, path)
        except BaseException:
            if local and os.path.exists(target):
                os.remove(target)
            raise
        return size

    def delete(self, paths: list[str]) -> None:
        if paths:
            FileSystems.delete(paths)

    # What is finished.

    def info(self) -> DatasetInfo | None:
        """`dataset_info.json`, or None before the first run has ended."""
        if INFO_NAME not in self.list():
            return None
        path = self.path(INFO_NAME)
        return DatasetInfo.from_json(self.read(path).decode(), path)

    def write_info(self, info: DatasetInfo) -> None:
        """Write `dataset_info.json`: from now on what it names is the data set."""
        self.write(self.path(INFO_NAME), info.to_json().encode())

    def ledger(self, info: DatasetInfo) -> Iterator[LedgerRow]:
        """All ledger rows of a data set, in the order of its runs."""
        for run in info.runs:
            path = self.path(run.ledger)
            for line in self.read(path).decode().splitlines():
                yield LedgerRow.from_json(line, path)

    # What is under way.

    def clip_path(self, video_id: str, number: int) -> str:
        return self.work(f"{video_key(video_id)}.{number:05d}.clip")

    def mark(self, row: LedgerRow) -> None:
        """Put down what became of a video."""
        outcome = f"failed-{row.cause}" if row.cause else f"done-{row.clips}"
        name = f"{video_key(row.video_id)}.{row.split}.{outcome}.json"
        self.write(self.work(name), row.to_json().encode() + b"\n")

    def videos(self, names: dict[str, int] | None = None) -> dict[str, WorkVideo]:
        """What `work/` holds (or the given listing of it), by `video_key`."""
        videos: dict[str, WorkVideo] = {}
        for name, size in (self.list("work") if names is None else names).items():
            if match := _CLIP.fullmatch(name):
                videos.setdefault(match[1], WorkVideo()).clips[int(match[2])] = size
            elif match := _MARK.fullmatch(name):
                video = videos.setdefault(match[1], WorkVideo())
                video.split = match[2]
                video.marks.append(name)
                if match[4]:
                    video.cause = match[4]
                else:
                    video.expected = int(match[3])
        return videos

    def clear_work(self) -> None:
        """Remove `work/`, once what was in it is in the shards."""
        if "://" not in self.root:
            shutil.rmtree(self.path("work"))
        else:
            self.delete([self.work(name) for name in self.list("work")])
