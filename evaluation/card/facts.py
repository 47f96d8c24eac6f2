"""What a network, its training and its evaluations say of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from evaluation.errors import EvaluationError
from evaluation.report import Cell, Column, Table
from schemas.dataset_info import FILE_NAME, DatasetInfo
from schemas.waveform import SAMPLE_RATE
from soundnet import load_model, weights
from trainer.config import Config, Settings
from trainer.data import read_info
from trainer.supervised.config import LabelConfig

MOST_ROWS = 20
"""A longer table stays in the file of results."""

_BY_CLASS = ("classes-", "confusion-")
"""How the names of tables begin that go into single classes."""


@dataclass(frozen=True)
class Result:
    """What one evaluation found.

    Attributes:
        title: of the experiment.
        tables: those that fit a card.
        made: settings, versions and machine, a line.
    """

    title: str
    tables: list[Table]
    made: str


@dataclass(frozen=True)
class Facts:
    """What is known of a network.

    Attributes:
        name: what it was loaded by; a file's name without its folders.
        sha256: of its weights.
        heads: by the name of a head, what it gives in words.
        layers: name, values a step, seconds from a step to the next and that a step hears.
        shortest: seconds of sound that its heads need for a step.
        training: the run's settings; None where they aren't beside the weights.
        summary: the run's `summary.json`.
        data: the data set that it learnt from; None where there is none to read.
        data_sha256: of that data set's `dataset_info.json`.
    """

    name: str
    sha256: str
    depth: int
    parameters: int
    heads: dict[str, str]
    layers: list[tuple[str, int, float, float]]
    shortest: float
    training: Settings | None = None
    summary: dict = field(default_factory=dict)
    data: DatasetInfo | None = None
    data_sha256: str = ""
    results: list[Result] = field(default_factory=list)

    @property
    def published(self) -> bool:
        return self.name == weights.PUBLISHED


def read(name: str, results: Sequence[Path], data: str | None = None) -> Facts:
    """What there is to know of a network.

    Args:
        name: of weights, see `soundnet.load_model`.
        results: JSON files of evaluations, or folders of them; those of other weights are left out,
            which is said.
        data: folder of the data set that it learnt from, where its settings name another or none.

    Raises:
        WeightsError: no such weights.
        EvaluationError: a file that isn't what it should be, or no results of these weights.
        SchemaError: the data set can't be read.
    """
    model = load_model(name)
    network, architecture = model.network, model.network.architecture
    last = architecture.names[-1]
    layers, values = [], 1
    for row in architecture.table[:-1]:
        values = row.filters or values
        hop, hears = architecture.hop(row.name), architecture.receptive_field(row.name)
        layers.append((row.name, values, hop / SAMPLE_RATE, hears / SAMPLE_RATE))
    training, summary = _training(name)
    if data is None and isinstance(training, Config) and _is_data_set(training.data):
        data = training.data
    return Facts(
        name=name if name == weights.PUBLISHED else Path(name.partition("#")[0]).name,
        sha256=model.sha256,
        depth=network.depth,
        parameters=network.count_params(),
        heads={
            head: f"an embedding of {len(classes):,} numbers"
            if head in network.embeddings
            else f"probabilities of {len(classes):,} classes"
            for head, classes in model.heads.items()
        },
        layers=layers,
        shortest=architecture.min_samples(last) / SAMPLE_RATE,
        training=training,
        summary=summary,
        data=read_info(data) if data else None,
        data_sha256=_sha256(data) if data else "",
        results=_results(results, model.sha256),
    )


def _is_data_set(folder: str) -> bool:
    return tf.io.gfile.exists(f"{folder.rstrip('/')}/{FILE_NAME}")


def _sha256(folder: str) -> str:
    with tf.io.gfile.GFile(f"{folder.rstrip('/')}/{FILE_NAME}", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _training(name: str) -> tuple[Settings | None, dict]:
    """A run's settings and summary, from the folder that it left the network in."""
    if name == weights.PUBLISHED or name.startswith(("http://", "https://")):
        return None, {}
    folder = Path(name).absolute().parent
    if folder.name.startswith("fold-"):
        folder = folder.parent
    text = _text(folder / "config.json")
    if text is None:
        return None, {}
    try:
        kind = LabelConfig if "task" in json.loads(text) else Config
        settings = kind.from_json(text)
        summary = json.loads(_text(folder / "summary.json") or "{}")
    except (ValueError, TypeError) as error:
        raise EvaluationError(f"{folder} holds no training run of ours: {error}") from error
    return settings, summary if isinstance(summary, dict) else {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def changed(settings: Settings) -> dict[str, object]:
    """The settings in which a run differs from the defaults; none that name a place or are of the
    machine alone."""
    places = {"data", "model_dir", "weights", "audio", "task", "profile", "keep"}
    return {
        one.name: getattr(settings, one.name)
        for one in dataclasses.fields(settings)
        if one.name not in places
        and not one.name.endswith("_every")
        and one.default is not dataclasses.MISSING
        and getattr(settings, one.name) != one.default
    }


def _results(places: Sequence[Path], sha256: str) -> list[Result]:
    files = [
        path
        for place in places
        for path in (sorted(place.glob("*.json")) if place.is_dir() else [place])
    ]
    found, others = [], []
    for path in files:
        result, weights_sha256 = _result(path)
        if weights_sha256 == sha256:
            found.append(result)
        else:
            others.append(str(path))
    if places and not found:
        raise EvaluationError(
            f"no results of these weights (SHA-256 {sha256}) in {', '.join(map(str, places))}; "
            "`python -m evaluation esc10 --output DIR` and the others write some"
        )
    if others:
        print(f"of other weights, left out: {', '.join(others)}", file=sys.stderr)
    return found


def _result(path: Path) -> tuple[Result, str | None]:
    """What an evaluation found, and the hash of the weights that it judged."""
    try:
        report = json.loads(path.read_text("utf-8"))
        tables = [
            Table(
                table["name"],
                table["title"],
                tuple(map(Column, table["columns"])),
                [tuple(map(_rounded, row)) for row in table["rows"]],
                table["note"],
            )
            for table in report["tables"]
            if len(table["rows"]) <= MOST_ROWS and not table["name"].startswith(_BY_CLASS)
        ]
        made = [f"{name} {said(value)}" for name, value in report["settings"].items()]
        made += [f"{name} {number}" for name, number in report["versions"].items() if number]
        words = f"{', '.join(made)}; {report['machine']['cpu']}"
        return Result(report["title"], tables, words), report["weights"].get("sha256")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationError(
            f"{path} is no JSON file that `python -m evaluation` wrote: {error!r}"
        ) from error


def _rounded(cell: Cell) -> Cell:
    return round(cell, 2) if isinstance(cell, float) else cell


def said(value: object) -> str:
    """A setting's value as it is given on a command line."""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
