"""Rows and seeds: each run trained by `python -m trainer.task`, and judged on ESC-10.

`OUTPUT/ablations.json` has every run; it is written after each, and the same command goes on where
it was stopped. Layers that are asked for later are judged without training anew.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation import machine
from evaluation.ablations.rows import LABELS, ROWS, Row
from evaluation.classify.evaluating import Settings, evaluate
from evaluation.datasets import read_esc
from evaluation.errors import EvaluationError
from evaluation.report import PACKAGES, write_whole
from schemas.dataset_info import DatasetInfo
from trainer.config import Config, option
from trainer.data import read_info
from trainer.task import build_parser

FILE = "ablations.json"

STATISTICS = 30
"""Batches that an untrained network hears to know the mean and spread of its values."""

STDERR = 2


@dataclass(frozen=True)
class Grid:
    """What is trained and judged.

    Attributes:
        data_set: a data set that the pipeline made.
        esc10: the folder of ESC-50, or of its ESC-10.
        output: a folder for all of it.
        rows: names in `ROWS`.
        layers: columns of the tables.
        epochs: of the rows from scratch.
        shared: options of `python -m trainer.task` that all rows share.
        cache: where features are kept.
    """

    data_set: str
    esc10: Path
    output: Path
    rows: tuple[str, ...]
    layers: tuple[str, ...]
    seeds: int
    epochs: int
    shared: tuple[str, ...]
    cache: Path

    def base(self) -> dict:
        """The settings of `Config` that all rows share."""
        required = ["--data", self.data_set, "--model-dir", str(self.output)]
        options = vars(build_parser().parse_args([*required, *self.shared]))
        if options["teachers"]:
            raise EvaluationError("--teachers: which teachers a row has is the row's to say")
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in options.items()
            if name not in ("task", "show_config", "data", "model_dir", "seed", "teachers")
        }

    def config(self, name: str, seed: int, info: DatasetInfo) -> Config:
        """The training of a row with a seed."""
        row = ROWS[name]
        teachers = tuple(t.name for t in info.teachers if t.target in row.targets)
        if not teachers:
            kinds = " or ".join(row.targets)
            raise EvaluationError(f"{name}: {self.data_set} has no teachers of {kinds}s")
        changes = {} if row.scratch else row.changes
        return Config(
            **{**self.base(), "teachers": teachers, **changes},
            data=self.data_set,
            model_dir=str(self.output / name / f"seed-{seed}"),
            seed=seed,
        )


def read(output: Path) -> dict | None:
    """What `ablations.json` holds; None where there is none.

    Raises:
        EvaluationError: it is no such file.
    """
    path = output / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        runs = [(run["row"], run["seed"], run["accuracy"]) for run in found["runs"]]
        if strange := {row for row, *_ in runs} - ROWS.keys():
            raise ValueError(f"rows {', '.join(sorted(strange))}")
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} doesn't hold ablations ({error!r})") from error
    return found


def run(grid: Grid) -> dict:
    """Train and judge what is missing; returns what `ablations.json` holds.

    Raises:
        EvaluationError: other runs lie in the folder; a training failed; a clip can't be read.
        SchemaError: the data set can't be used.
    """
    info = read_info(grid.data_set)
    alike = {"shared": json.loads(json.dumps(grid.base())), "epochs": grid.epochs}
    about = {**machine.describe(), "versions": machine.versions(PACKAGES)}
    found = read(grid.output) or {**alike, "machine": about, "runs": []}
    if any(found.get(name) != value for name, value in alike.items()):
        raise EvaluationError(
            f"{grid.output / FILE} holds runs with other options; choose another --output"
        )
    runs = {(one["row"], one["seed"]): one for one in found["runs"]}
    # Seed by seed, so that what is there when it is stopped can be compared.
    for seed, name in itertools.product(range(grid.seeds), grid.rows):
        row, one = ROWS[name], runs.get((name, seed))
        if one and not missing(row, one, grid.layers):
            continue
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        config = grid.config(name, seed, info)
        if not one:
            one = {"row": name, "seed": seed, **trained(row, config, grid)}
            found["runs"].append(one)
        if not row.scratch:
            judge(row, one, config, grid)
        write_whole(grid.output / FILE, json.dumps(found, indent=1) + "\n")
    return found


def missing(row: Row, one: dict, layers: Sequence[str]) -> dict[str, str]:
    """By column the layers that a run wasn't judged at yet."""
    if row.scratch:
        return {}
    wanted = {column: row.layer(column) for column in layers if column not in one["accuracy"]}
    return {column: layer for column, layer in wanted.items() if layer}


def trained(row: Row, config: Config, grid: Grid) -> dict:
    """Train a run."""
    started = time.monotonic()
    if row.scratch:
        about = from_scratch(row, config, grid)
    elif row.trained:
        about = {"accuracy": {}, **distilled(config)}
    else:
        untrained(config)
        about = {"accuracy": {}}
    return {**about, "training_seconds": round(time.monotonic() - started, 1)}


def judge(row: Row, one: dict, config: Config, grid: Grid) -> None:
    """Put into a run what the layers are worth on ESC-10 that it wasn't judged at yet."""
    started = time.monotonic()
    layers = missing(row, one, grid.layers)
    weights = str(Path(config.model_dir) / "model.keras")
    settings = Settings(
        "esc10", grid.esc10, weights, tuple(dict.fromkeys(layers.values())), cache=grid.cache
    )
    judged = evaluate(settings)
    if judged.unreadable:
        raise EvaluationError(
            f"{len(judged.unreadable)} clips of {grid.esc10} can't be read: {judged.unreadable}"
        )
    one["accuracy"] |= {column: judged.mean(layer) for column, layer in layers.items()}
    one["layers"] = one.get("layers", {}) | layers
    one["weights_sha256"] = judged.weights_sha256
    seconds = one.get("judging_seconds", 0) + time.monotonic() - started
    one["judging_seconds"] = round(seconds, 1)


def distilled(config: Config) -> dict:
    """Train a network on the data set; the last metrics."""
    train(*arguments(config))
    summary = json.loads((Path(config.model_dir) / "summary.json").read_text("utf-8"))
    return {name: summary[name] for name in ("train", "validation")}


def untrained(config: Config) -> None:
    """Write the network that a training of this seed begins with; its weights are random, its
    normalization knows the data set's sounds."""
    import keras
    import tensorflow as tf

    from trainer import data, export
    from trainer.network import SoundNet

    keras.utils.set_random_seed(config.seed + 1)
    info = data.usable_info(config)
    network = SoundNet(config.depth, {t.name: t.classes for t in info.teachers})
    hear = tf.function(lambda waveform: network(waveform, training=True), autograph=False)
    for batch in itertools.islice(data.train_batches(config, info), STATISTICS):
        hear(batch["waveform"])
    Path(config.model_dir).mkdir(parents=True, exist_ok=True)
    export.save_keras(network, str(Path(config.model_dir) / "model.keras"))


def from_scratch(row: Row, config: Config, grid: Grid) -> dict:
    """Train networks on ESC-10's labels, fold by fold; their own answers' accuracy."""
    train(
        *("--task", "scratch", "--data", str(esc10_alone(grid.esc10, Path(config.model_dir)))),
        *("--audio", str(grid.esc10 / "audio"), "--model-dir", config.model_dir),
        *("--depth", str(row.changes["depth"]), "--seed", str(config.seed)),
        *("--epochs", str(grid.epochs), "--batch-size", "64", "--unreadable", "stop"),
    )
    summary = json.loads((Path(config.model_dir) / "summary.json").read_text("utf-8"))
    return {"accuracy": {LABELS: summary["accuracy"]}}


def train(*options: str) -> None:
    """Train in a process of its own, which ends with this one; its progress goes to stderr."""
    command = [sys.executable, "-m", "trainer.task", *options]
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:  # `run` kills what it runs when it is left by an exception
        status = subprocess.run(command, stdout=STDERR).returncode
    finally:
        signal.signal(signal.SIGTERM, before)
    if status:
        raise EvaluationError(
            f"a training ended with status {status}, see above; the same command goes on from "
            f"there: {' '.join(command[1:])}"
        )


def esc10_alone(esc10: Path, folder: Path) -> Path:
    """The list of ESC-10 as a training with labels takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "esc10.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "fold"])
        writer.writerows([c.path.name, c.label, c.fold] for c in read_esc(esc10, "esc10"))
    return path


def arguments(config: Config) -> list[str]:
    """The options of `python -m trainer.task` that give a configuration."""
    found = []
    for setting in dataclasses.fields(Config):
        value = getattr(config, setting.name)
        if isinstance(value, bool):
            found += [option(setting.name)] if value else []
        elif isinstance(value, tuple):
            found += [option(setting.name), *value] if value else []
        else:
            found += [option(setting.name), str(value)]
    return found
