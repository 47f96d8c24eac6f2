"""The clips of a data set that `python -m pipeline` made, one after the other, in flat memory."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from schemas import SchemaError, tfrecord
from schemas.clip import ClipRecord
from schemas.dataset_info import ShardInfo
from trainer.damage import check_record
from trainer.data import read_info

THREADS = 2
"""Records decoded at a time; the decoders leave Python's lock."""

AHEAD = 8
"""Records that may wait, decoded."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a record lies: the number of its shard, and the byte at which it begins."""

    shard: int
    offset: int


class Clips:
    """A data set's clips: iterate over them as often as needed, or read one again with `at`.

    What can't be read is passed over and told in `unreadable`; a shard is read up to where it is
    damaged.

    Args:
        folder: local or gs://.
        most: read only so many of each split's shards, from everywhere among them (shards are
            mixed, so a few tell about all); None for all.

    Attributes:
        info: the data set's `dataset_info.json`.
        shards: those that are read.
        unreadable: by shard and byte what couldn't be read, and why.

    Raises:
        SchemaError: there is no data set in the folder, or no clip in it.
    """

    def __init__(self, folder: str, most: int | None = None) -> None:
        self.folder = folder
        self.info = read_info(folder)
        self.shards: list[ShardInfo] = []
        for shards in self.info.splits.values():
            number = len(shards) if most is None else min(most, len(shards))
            self.shards += [shards[at * len(shards) // number] for at in range(number)]
        self.unreadable: dict[str, str] = {}
        if not len(self):
            raise SchemaError(
                f"the data set in {folder} has no clips; its ledgers say why "
                f"(`python -m pipeline report {folder}`)"
            )

    def __len__(self) -> int:
        """How many clips there should be."""
        return sum(shard.records for shard in self.shards)

    def __iter__(self) -> Iterator[tuple[Place, ClipRecord]]:
        """Yields each clip that can be read, with where it lies; some are decoded ahead."""
        waiting: deque = deque()
        with ThreadPoolExecutor(THREADS) as threads:
            for place, data in self._records():
                waiting.append((place, threads.submit(self._decode, place, data)))
                if len(waiting) > AHEAD:
                    yield from _one(*waiting.popleft())
            while waiting:
                yield from _one(*waiting.popleft())

    def at(self, place: Place) -> ClipRecord:
        """The clip at a place that was read before.

        Raises:
            SchemaError: it can't be read any more.
        """
        import tensorflow as tf

        try:
            with _open(self._path(place.shard)) as file:
                file.seek(place.offset)
                data = next(tfrecord.read(file, place.offset), b"")
        except tf.errors.OpError as error:
            raise SchemaError(str(error).splitlines()[0]) from error
        return ClipRecord.from_bytes(data)

    def _records(self) -> Iterator[tuple[Place, bytes]]:
        import tensorflow as tf

        for number, shard in enumerate(self.shards):
            offset = found = 0
            try:
                with _open(self._path(number)) as file:
                    for data in tfrecord.read(file):
                        yield Place(number, offset), data
                        offset += len(data) + tfrecord.FRAMING
                        found += 1
            except (SchemaError, tf.errors.OpError) as error:
                words = str(error).splitlines()[0]
                lost = f"; {max(0, shard.records - found)} of its {shard.records} records are lost"
                self.unreadable[shard.file] = words + lost

    def _decode(self, place: Place, data: bytes) -> ClipRecord | None:
        try:
            record = ClipRecord.from_bytes(data)
            check_record(record, self.info)
            return record
        except ValueError as error:  # a SchemaError, or text that is none
            where = f"{self.shards[place.shard].file}, byte {place.offset}"
            self.unreadable[where] = str(error)
            return None

    def _path(self, shard: int) -> str:
        return posixpath.join(self.folder, self.shards[shard].file)


def _one(place: Place, decoded: Future[ClipRecord | None]) -> Iterator[tuple[Place, ClipRecord]]:
    if (record := decoded.result()) is not None:
        yield place, record


def _open(path: str) -> BinaryIO:
    """A file on any of TensorFlow's filesystems, for reading."""
    import tensorflow as tf

    return tf.io.gfile.GFile(path, "rb")
