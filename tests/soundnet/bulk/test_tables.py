"""Embeddings of many sounds in one file."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pyarrow.parquet
import pytest

from soundnet.bulk import tables
from soundnet.bulk.records import Identity, Made, Record
from soundnet.bulk.tables import KINDS, Parquet, TableError

MADE = Made("pool5", "none", None, 8192 / 22050, False, 0.79, "published", "ab" * 32)


def record(name: str, rows: int) -> Record:
    rng = np.random.default_rng(rows)
    return Record(
        Identity(name, 1000 + rows, 1_795_746_867_218_639_954),
        duration=rows / 3,
        tiled=rows == 1,
        centre_half_samples=4573 + 16384 * np.arange(rows),
        embeddings=rng.normal(size=(rows, 4)).astype(np.float32),
    )


RECORDS = [record("a.wav", 5), record("b/ü ☃.wav", 1), record("-", 300)]


@pytest.fixture(params=sorted(KINDS))
def table(request, tmp_path):
    """A kind of table, and the path of one of `RECORDS`."""
    path = tmp_path / f"x{request.param}"
    kind = KINDS[request.param]()
    kind.write(path, iter(RECORDS), MADE)
    return kind, path


def test_what_is_written_is_read(table, monkeypatch):
    kind, path = table
    identities, made = kind.facts(path)
    assert identities == [record.identity for record in RECORDS]
    assert made.differs_from(MADE) == []
    for found, expected in zip(kind.read(path), RECORDS, strict=True):
        assert (found.identity, found.duration) == (expected.identity, expected.duration)
        assert found.tiled == expected.tiled
        for name in ("centre_half_samples", "embeddings", "times"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            assert getattr(found, name).dtype == getattr(expected, name).dtype
    monkeypatch.setattr(tables, "GROUP_BYTES", 60)  # a Parquet row group or two
    kind.write(path, iter(RECORDS), MADE)
    assert [found.identity for found in kind.read(path)] == identities


def test_the_same_sounds_give_the_same_bytes(table, tmp_path):
    kind, path = table
    again = tmp_path / f"again{path.suffix}"
    kind.write(again, kind.read(path), MADE)
    assert again.read_bytes() == path.read_bytes()


def test_a_table_is_whole_or_not_there(table):
    kind, path = table
    before = path.read_bytes()

    def interrupted():
        yield RECORDS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kind.write(path, interrupted(), MADE)
    assert path.read_bytes() == before


def test_other_files_are_no_tables(table):
    kind, path = table
    path.write_bytes(b"something else" * 100)
    with pytest.raises(TableError, match="is no table of embeddings"):
        kind.facts(path)
    with h5py.File(path, "w") if path.suffix != ".parquet" else path.open("wb"):
        pass
    with pytest.raises(TableError, match="is no table of embeddings"):
        kind.facts(path)


def test_parquet_is_read_by_others(tmp_path):
    path = tmp_path / "x.parquet"
    Parquet().write(path, iter(RECORDS), MADE)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["source"] for row in rows] == ["a.wav"] * 5 + ["b/ü ☃.wav"] + ["-"] * 300
    assert rows[4]["time"] == (4573 + 16384 * 4) / 44100
    assert rows[5]["embedding"] == RECORDS[1].embeddings[0].tolist()


def test_hdf5_is_read_by_others(tmp_path):
    path = tmp_path / "x.h5"
    KINDS[".h5"]().write(path, iter(RECORDS), MADE)
    with h5py.File(path) as file:
        at = list(file["sources/source"].asstr()).index("-")
        mine = file["source_index"][:] == at
        np.testing.assert_array_equal(file["embeddings"][mine], RECORDS[2].embeddings)
        np.testing.assert_array_equal(file["times"][mine], RECORDS[2].times)


def test_parquet_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match=r"pip install 'soundnet\[parquet\]'"):
        Parquet()
