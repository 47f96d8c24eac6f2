"""One file for the embeddings of many sounds: Parquet or HDF5.

A table is written anew, beside the old one, and then takes its place; a sound's rows stay together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np

from soundnet.bulk.records import Identity, Made, Record, written_whole

GROUP_BYTES = 2**25
"""Of embeddings, from which on a Parquet row group is full (a sound is never cut)."""

HDF5_CHUNK_BYTES = 2**18

KEY = "soundnet"
"""In a table's metadata: how it was made, as JSON."""


class TableError(Exception):
    """A table that can't be read, or a package that is missing; the message says what to do."""


class Table(Protocol):
    """A kind of file that holds many sounds."""

    def facts(self, path: Path) -> tuple[list[Identity], Made]:
        """The sounds in a table, in order, and how all of them were made."""

    def read(self, path: Path) -> Iterator[Record]:
        """The sounds in a table, in order, few at a time in memory."""

    def write(self, path: Path, records: Iterable[Record], made: Made) -> None:
        """A table of these sounds (one at least), whole or not at all."""


class Parquet:
    """A row for each embedding; how all were made, as JSON in the file's metadata `soundnet`.

    Columns: `source`, `time` (seconds), `centre_half_samples`, `embedding` (a list of fixed
    length), `duration`, `tiled`, `source_bytes`, `source_mtime_ns`.
    """

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise TableError(
                "Parquet needs the package pyarrow: pip install 'soundnet[parquet]' (or write "
                ".h5, which needs no more)"
            ) from error
        self._arrow, self._parquet = pyarrow, pyarrow.parquet

    def facts(self, path: Path) -> tuple[list[Identity], Made]:
        with self._opened(path) as file:
            names = list(Identity.__dataclass_fields__)
            found: dict[tuple, None] = {}
            for group in range(file.num_row_groups):
                columns = file.read_row_group(group, names).to_pydict().values()
                found |= dict.fromkeys(zip(*columns, strict=True))
            return [Identity(*values) for values in found], self._made(path, file)

    def read(self, path: Path) -> Iterator[Record]:
        with self._opened(path) as file:
            for group in range(file.num_row_groups):
                yield from self._records(file.read_row_group(group))

    def write(self, path: Path, records: Iterable[Record], made: Made) -> None:
        groups = _groups(records)
        first = next(groups)
        schema = self._schema(first[0].embeddings.shape[1], made)
        options = {"compression": "zstd", "use_dictionary": ["source"]}
        with (
            written_whole(path) as out,
            self._parquet.ParquetWriter(out, schema, **options) as writer,
        ):
            for some in itertools.chain([first], groups):
                writer.write_table(self._table(some, schema))

    def _schema(self, numbers: int, made: Made):
        arrow = self._arrow
        columns = {
            "source": arrow.string(),
            "time": arrow.float64(),
            "centre_half_samples": arrow.int64(),
            "embedding": arrow.list_(arrow.float32(), numbers),
            "duration": arrow.float64(),
            "tiled": arrow.bool_(),
            "source_bytes": arrow.int64(),
            "source_mtime_ns": arrow.int64(),
        }
        return arrow.schema(list(columns.items()), {KEY: made.to_json()})

    def _table(self, records: list[Record], schema):
        rows = [len(record.embeddings) for record in records]
        flat = np.concatenate([record.embeddings for record in records]).ravel()
        columns = {
            "time": np.concatenate([record.times for record in records]),
            "centre_half_samples": np.concatenate([r.centre_half_samples for r in records]),
            "embedding": self._arrow.FixedSizeListArray.from_arrays(
                self._arrow.array(flat), schema.field("embedding").type.list_size
            ),
            "duration": np.repeat([record.duration for record in records], rows),
            "tiled": np.repeat([record.tiled for record in records], rows),
        }
        for name in Identity.__dataclass_fields__:
            values = [getattr(record.identity, name) for record in records]
            columns[name] = np.repeat(np.array(values, object if name == "source" else None), rows)
        return self._arrow.table([columns[name] for name in schema.names], schema=schema)

    def _records(self, table) -> Iterator[Record]:
        sources = table["source"].to_numpy()
        starts = np.flatnonzero(np.r_[True, sources[1:] != sources[:-1]])
        for begin, end in zip(starts, np.r_[starts[1:], len(sources)], strict=True):
            rows = table.slice(begin, end - begin).combine_chunks()
            first = rows.slice(0, 1).to_pylist()[0]
            column = rows["embedding"].combine_chunks()
            yield Record(
                Identity(**{name: first[name] for name in Identity.__dataclass_fields__}),
                first["duration"],
                first["tiled"],
                rows["centre_half_samples"].to_numpy(),
                column.flatten().to_numpy().reshape(end - begin, -1),
            )

    def _opened(self, path: Path):
        try:
            return self._parquet.ParquetFile(path)
        except (OSError, self._arrow.ArrowException) as error:
            raise _unreadable(path, error) from error

    def _made(self, path: Path, file) -> Made:
        try:
            return Made.from_json(file.schema_arrow.metadata[KEY.encode()])
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(path, error) from error


class HDF5:
    """Arrays with a row for each embedding, and a group with an entry for each sound.

    `embeddings`, `times`, `centre_half_samples`, `source_index`; in `sources`: `source`,
    `source_bytes`, `source_mtime_ns`, `duration`, `tiled`, `first_row`, `rows`. How all were made
    is in the file's attribute `soundnet`, as JSON.
    """

    def facts(self, path: Path) -> tuple[list[Identity], Made]:
        with self._opened(path) as file:
            return self._identities(file), Made.from_json(file.attrs[KEY])

    def read(self, path: Path) -> Iterator[Record]:
        with self._opened(path) as file:
            sounds = {name: values[:] for name, values in file["sources"].items()}
            for at, identity in enumerate(self._identities(file)):
                first, rows = int(sounds["first_row"][at]), int(sounds["rows"][at])
                yield Record(
                    identity,
                    float(sounds["duration"][at]),
                    bool(sounds["tiled"][at]),
                    file["centre_half_samples"][first : first + rows],
                    file["embeddings"][first : first + rows],
                )

    def write(self, path: Path, records: Iterable[Record], made: Made) -> None:
        import h5py

        with written_whole(path) as out, h5py.File(out, "w") as file:
            file.attrs[KEY] = made.to_json()
            columns: dict[str, list] = {}
            total = 0
            for at, record in enumerate(records):
                rows = len(record.embeddings)
                arrays = {
                    "embeddings": record.embeddings,
                    "times": record.times,
                    "centre_half_samples": record.centre_half_samples,
                    "source_index": np.full(rows, at, np.int64),
                }
                for name, values in arrays.items():
                    self._append(file, name, values)
                sound = {**asdict(record.identity), "duration": record.duration}
                sound |= {"tiled": record.tiled, "first_row": total, "rows": rows}
                for name, value in sound.items():
                    columns.setdefault(name, []).append(value)
                total += rows
            for name, column in columns.items():
                kind = h5py.string_dtype() if name == "source" else None
                file.create_dataset(f"sources/{name}", data=column, dtype=kind)

    @staticmethod
    def _append(file, name: str, values: np.ndarray) -> None:
        if name not in file:
            row = values[:1].nbytes
            file.create_dataset(
                name,
                shape=(0, *values.shape[1:]),
                maxshape=(None, *values.shape[1:]),
                chunks=(max(1, HDF5_CHUNK_BYTES // row), *values.shape[1:]),
                dtype=values.dtype,
            )
        data = file[name]
        before = len(data)
        data.resize(before + len(values), axis=0)
        data[before:] = values

    @staticmethod
    def _identities(file) -> list[Identity]:
        group = file["sources"]
        columns = (
            group["source"].asstr()[:],
            group["source_bytes"][:],
            group["source_mtime_ns"][:],
        )
        return [Identity(str(a), int(b), int(c)) for a, b, c in zip(*columns, strict=True)]

    @staticmethod
    def _opened(path: Path):
        import h5py

        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise _unreadable(path, error) from error
        if KEY not in file.attrs or "sources" not in file:
            file.close()
            raise _unreadable(path, "it lacks what says how it was made")
        return file


def _unreadable(path: Path, error: object) -> TableError:
    return TableError(
        f"{path} is no table of embeddings ({error}); choose another --output, or --overwrite it"
    )


KINDS: dict[str, type[Table]] = {".parquet": Parquet, ".h5": HDF5, ".hdf5": HDF5}
"""By the ending of the file."""


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records together, so that a row group is neither tiny nor huge."""
    some: list[Record] = []
    size = 0
    for record in records:
        some.append(record)
        size += record.embeddings.nbytes
        if size >= GROUP_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
