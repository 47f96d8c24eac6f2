"""What is kept of a sound, and files that keep one sound each.

A file is there whole or not at all, and says itself what it was made of and how; that is what a
later run goes by. The same sound gives the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from schemas.waveform import SAMPLE_RATE


@dataclass(frozen=True)
class Identity:
    """Which sound it was: its name as it was given, and the file's size and time of change.

    Size and time are -1 for what lies on the web; its address is all that tells it from others.
    """

    source: str
    source_bytes: int = -1
    source_mtime_ns: int = -1

    @classmethod
    def of(cls, name: str) -> Identity:
        """Of a file as it is now; raises OSError where there is none."""
        status = os.stat(name)
        return cls(name, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Made:
    """How embeddings were made; all rows of a table share it.

    Attributes:
        layer: of the network.
        pooling: "none" (a row is a step of the layer), or a kind of `soundnet.pooling`.
        window_seconds: None where nothing or the whole sound is pooled.
        hop_seconds: from row to row; None where the whole sound is one.
        centred: the first window is centred at 0.
        hears_seconds: how much sound a step of the layer hears.
        weights, weights_sha256: the network; the hash is of its numbers.
    """

    layer: str
    pooling: str
    window_seconds: float | None
    hop_seconds: float | None
    centred: bool
    hears_seconds: float
    weights: str
    weights_sha256: str

    def to_json(self) -> str:
        """For a table's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Made:
        """What `to_json` gave; raises ValueError or TypeError for other text."""
        return cls(**json.loads(text))

    def differs_from(self, other: Made) -> list[str]:
        """The names of what isn't the same, what the weights are called apart."""
        theirs = asdict(other)
        return [
            name
            for name, value in asdict(self).items()
            if name != "weights" and value != theirs[name]
        ]


@dataclass(frozen=True)
class Record:
    """The embedding of one sound.

    Attributes:
        duration: seconds of the sound.
        tiled: it was repeated, being shorter than a step needs.
        centre_half_samples: int64 (rows,), where the rows are, exactly: half samples from the
            sound's start, 44,100 of them a second.
        embeddings: float32 (rows, numbers).
    """

    identity: Identity
    duration: float
    tiled: bool
    centre_half_samples: np.ndarray
    embeddings: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """The same in seconds, float64 (rows,)."""
        return self.centre_half_samples / (2 * SAMPLE_RATE)


ARRAYS = ("embeddings", "times", "centre_half_samples")
FACTS = tuple(field.name for kind in (Identity, Made) for field in fields(kind))


def write_npz(path: Path, record: Record, made: Made) -> None:
    """One `.npz`: the arrays `ARRAYS`, and all else by its name as a scalar (NaN for None)."""
    arrays = {name: getattr(record, name) for name in ARRAYS}
    for name, value in _facts(record, made).items():
        arrays[name] = np.array(math.nan if value is None else value)
    with written_whole(path) as file:
        np.savez(file, **arrays)


def read_npz(path: Path) -> tuple[Record, Made]:
    """What `write_npz` wrote; raises ValueError for another file, OSError for none."""
    with _opened(path) as arrays:
        identity, made = _read_facts(_scalars(arrays))
        return (
            Record(
                identity,
                float(arrays["duration"]),
                bool(arrays["tiled"]),
                arrays["centre_half_samples"],
                arrays["embeddings"],
            ),
            made,
        )


def read_npz_facts(path: Path) -> tuple[Identity, Made]:
    """Of which sound a file is, and how it was made, without its numbers; raises as `read_npz`."""
    with _opened(path) as arrays:
        return _read_facts(_scalars(arrays))


def write_npy(path: Path, record: Record, made: Made) -> None:
    """`X.npy` (the embeddings), beside it `X.times.npy` (seconds) and `X.json` (all else).

    The last tells that the others are whole; it goes first and comes last.
    """
    note = path.with_suffix(".json")
    note.unlink(missing_ok=True)
    with written_whole(path.with_suffix(".times.npy")) as file:
        np.save(file, record.times)
    with written_whole(path) as file:
        np.save(file, record.embeddings)
    with written_whole(note) as file:
        file.write(json.dumps(_facts(record, made), indent=1).encode() + b"\n")


def read_npy_facts(path: Path) -> tuple[Identity, Made]:
    """As `read_npz_facts`."""
    facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
    if not (isinstance(facts, dict) and path.with_suffix(".times.npy").is_file()):
        raise ValueError(f"{path} is not whole")
    path.stat()
    return _read_facts(facts)


FORMATS = {"npz": (write_npz, read_npz_facts), "npy": (write_npy, read_npy_facts)}
"""By the ending of the files: what writes one, and what tells what one was made of."""


def is_done(path: Path, identity: Identity, made: Made, read=read_npz_facts) -> bool:
    """Whether a file holds this sound, embedded so."""
    try:
        found, how = read(path)
    except (OSError, ValueError, KeyError):
        return False
    return found == identity and not how.differs_from(made)


def _facts(record: Record, made: Made) -> dict[str, Any]:
    return {
        "duration": record.duration,
        "tiled": record.tiled,
        **asdict(made),
        **asdict(record.identity),
    }


def _scalars(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The scalars of an `.npz`; raises KeyError where one is missing."""
    values = {name: arrays[name].item() for name in FACTS}
    return {name: None if value != value else value for name, value in values.items()}  # NaN


def _read_facts(values: Mapping[str, Any]) -> tuple[Identity, Made]:
    """Raises KeyError where one is missing."""
    identity = Identity(**{field.name: values[field.name] for field in fields(Identity)})
    return identity, Made(**{field.name: values[field.name] for field in fields(Made)})


@contextlib.contextmanager
def _opened(path: Path):
    """An `.npz`; whatever is wrong with it is a ValueError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no embedding of this project: {error}") from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its place when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w+b") as file:
        yield file
    os.replace(part, path)
