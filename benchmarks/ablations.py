"""The paper's ablations, and what is beyond the paper, on one data set: every row trained alike.

    python -m benchmarks.ablations --data data --esc10 ESC-50-master --output ablations \\
        --seeds 3 -- --batch-size 16 --steps 130 --shift --gain-db 6

(On two quiet cores a step of 16 clips takes 0.54 s with 8 layers, 0.74 s with 18, 1.3 s with 5; to
start and to judge a run takes about half a minute. So the six usual rows with three seeds take some
40 minutes.)

What stands behind `--` are options of `python -m trainer.task` that all rows share. Each run (a row
with a seed) is trained by that command in a process of its own and judged on ESC-10 by the paper's
protocol, at pool5 and conv7 (of 5 layers at conv4). Where a row doesn't say which, its teachers are
all those of distributions. `OUTPUT/ablations.json` has every run; it is written after each, and the
same command goes on where it was stopped. `ablations.md` is the table: mean and standard deviation
over the seeds, beside the paper's figure; then the paper's orderings, each by the differences of
runs of one seed (they see the same clips in the same order).

Rows `scratch8` and `scratch5` are trained on ESC-10's labels instead, fold by fold (`--epochs`,
the rest as the authors fine-tuned); their figure is that of the network's own answers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import machine
from trainer.config import Config, option
from trainer.data import read_info
from trainer.progress import write_whole
from trainer.task import build_parser

COLUMNS = ("pool5", "conv7")
LAYERS = {8: {"pool5": "pool5", "conv7": "conv7"}, 5: {"pool5": "conv4"}}
LAYERS[18] = LAYERS[8]
"""By depth, the layers that stand in the table's columns. conv4 of 5 layers has the frames and
channels of pool5 of 8."""

STATISTICS = 30
"""Batches that an untrained network hears to know the mean and spread of its values."""

LABELS = "labels"
"""The column of networks that are trained with labels."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        words: what it is.
        changes: the settings in which it differs from the published recipe.
        paper: the paper's accuracy on ESC-10 (at pool5, or from scratch on the labels).
        trained: whether it is; a fresh network shows what training is worth.
        scratch: trained on the labels.
        targets: the kinds of teachers that it learns from, where `changes` names none.
    """

    words: str
    changes: dict = field(default_factory=dict)
    paper: float | None = None
    trained: bool = True
    scratch: bool = False
    targets: tuple[str, ...] = ("distribution",)


ROWS = {
    "published": Row("8 layers, KL loss, both teachers", paper=92.2),
    "l2": Row("8 layers, l2 loss", {"loss": "l2"}, 81.5),
    "imagenet": Row("ImageNet teacher only", {"teachers": ("imagenet",)}, 89.8),
    "places": Row("Places teacher only", {"teachers": ("places",)}, 89.5),
    "depth5": Row("5 layers", {"depth": 5}, 86.8),
    "align": Row("aligned label steps", {"align": True}),
    "residual": Row("18 layers, residual", {"depth": 18}),
    "crop": Row("pieces of 15 s, aligned", {"align": True, "crop": 15.0}),
    "mix": Row("mixed clips", {"mix": 0.3}),
    "cosine": Row("cosine schedule", {"schedule": "cosine"}),
    "average": Row("averaged weights", {"average": 0.99}),
    "embedding": Row("teachers of embeddings too", targets=("distribution", "embedding")),
    "embeddings": Row("teachers of embeddings alone", targets=("embedding",)),
    "untrained": Row("8 layers, not trained", trained=False),
    "scratch8": Row("8 layers, from scratch on the labels", {"depth": 8}, 75.5, scratch=True),
    "scratch5": Row("5 layers, from scratch on the labels", {"depth": 5}, 82.3, scratch=True),
}

USUAL = ("published", "l2", "imagenet", "places", "depth5", "align")

ORDERINGS = (
    ("published", "l2"),
    ("published", "imagenet"),
    ("published", "places"),
    ("imagenet", "places"),
    ("published", "depth5"),
    ("published", "untrained"),
    ("published", "scratch8"),
    ("scratch5", "scratch8"),
)
"""Of each pair the paper has the first ahead (the untrained one isn't in the paper)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="a data set that the pipeline made")
    parser.add_argument(
        "--esc10", type=Path, required=True, help="ESC-50 as published, or its ESC-10"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for all of it")
    parser.add_argument("--rows", nargs="+", default=USUAL, choices=ROWS, metavar="ROW",
                        help=f"{', '.join(ROWS)} (default: {' '.join(USUAL)})")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="runs of a row (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=50, help="of the rows from scratch")
    parser.add_argument("shared", nargs="*", help="options of trainer.task, behind --")
    args = parser.parse_args()
    run(args.data, args.esc10, args.output, args.rows, args.seeds, args.epochs, args.shared)


def run(
    data: str,
    esc10: Path,
    output: Path,
    rows: list[str],
    seeds: int,
    epochs: int,
    shared: list[str],
) -> dict:
    """Train and judge what is missing; returns what `ablations.json` holds."""
    required = ["--data", data, "--model-dir", str(output)]
    options = vars(build_parser().parse_args([*required, *shared]))
    base = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if name not in ("task", "show_config", "data", "model_dir", "seed", "teachers")
    }
    if options["teachers"]:
        sys.exit("--teachers: which teachers a row has is the row's to say")
    info = read_info(data)
    output.mkdir(parents=True, exist_ok=True)
    file = output / "ablations.json"
    alike = {"shared": json.loads(json.dumps(base)), "epochs": epochs}
    found: dict = {**alike, "machine": machine.describe(), "runs": []}
    if file.exists():
        found = json.loads(file.read_text("utf-8"))
        if any(found[name] != value for name, value in alike.items()):
            sys.exit(f"{file} holds runs with other options; choose another --output")
    done = {(one["row"], one["seed"]) for one in found["runs"]}
    # Seed by seed, so that what is there when it is stopped can be compared.
    for seed in range(seeds):
        for name in rows:
            if (name, seed) in done:
                continue
            folder = output / name / f"seed-{seed}"
            row = ROWS[name]
            teachers = [t.name for t in info.teachers if t.target in row.targets]
            if not teachers:
                sys.exit(f"{name}: {data} has no teachers of {' or '.join(row.targets)}s")
            config = Config(
                **{**base, "teachers": tuple(teachers), **({} if row.scratch else row.changes)},
                data=data,
                model_dir=str(folder),
                seed=seed,
            )
            print(f"{name}, seed {seed}", flush=True)
            result = from_scratch(row, config, esc10, epochs) if row.scratch else (
                distilled(row, config, esc10)
            )  # fmt: skip
            found["runs"].append({"row": name, "seed": seed, **result})
            write_whole(str(file), json.dumps(found, indent=1) + "\n")
            write_whole(str(output / "ablations.md"), page(found))
    print(page(found))
    return found


def distilled(row: Row, config: Config, esc10: Path) -> dict:
    """Train a network on the data set, and judge its layers on ESC-10."""
    from evaluation.classify.evaluating import Settings, evaluate

    started = time.monotonic()
    if row.trained:
        command = [sys.executable, "-m", "trainer.task", *arguments(config)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        summary = json.loads((Path(config.model_dir) / "summary.json").read_text("utf-8"))
        weights, about = summary["model"], {k: summary[k] for k in ("train", "validation")}
    else:
        weights, about = untrained(config), {}
    trained = time.monotonic()
    layers = LAYERS[config.depth]
    judged = evaluate(Settings("esc10", esc10, weights, tuple(layers.values())))
    if judged.unreadable:
        sys.exit(f"{len(judged.unreadable)} clips of {esc10} can't be read: {judged.unreadable}")
    return {
        "accuracy": {column: judged.mean(layer) for column, layer in layers.items()},
        "layers": layers,
        "weights_sha256": judged.weights_sha256,
        "training_seconds": round(trained - started, 1),
        "judging_seconds": round(time.monotonic() - trained, 1),
        **about,
    }


def untrained(config: Config) -> str:
    """The network that a training of this seed begins with, as a file; its weights are random, its
    normalization knows the data set's sounds."""
    import itertools

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
    path = str(Path(config.model_dir) / "model.keras")
    export.save_keras(network, path)
    return path


def from_scratch(row: Row, config: Config, esc10: Path, epochs: int) -> dict:
    """Train networks on ESC-10's labels, fold by fold."""
    started = time.monotonic()
    command = [sys.executable, "-m", "trainer.task", "--task", "scratch"]
    command += ["--data", str(esc10_alone(esc10, Path(config.model_dir)))]
    command += ["--audio", str(esc10 / "audio"), "--model-dir", config.model_dir]
    command += ["--depth", str(row.changes["depth"]), "--seed", str(config.seed)]
    command += ["--epochs", str(epochs), "--batch-size", "64", "--unreadable", "stop"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((Path(config.model_dir) / "summary.json").read_text("utf-8"))
    seconds = round(time.monotonic() - started, 1)
    return {"accuracy": {LABELS: summary["accuracy"]}, "training_seconds": seconds}


def esc10_alone(esc10: Path, folder: Path) -> Path:
    """The list of ESC-10 as a training with labels takes it."""
    import csv

    from evaluation.datasets import read_esc

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


def page(found: dict) -> str:
    """The tables, as Markdown."""
    lines = ["| row | seeds | pool5 | conv7 | own answers | paper, ESC-10 | seconds a run |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name in dict.fromkeys(one["row"] for one in found["runs"]):
        runs = [one for one in found["runs"] if one["row"] == name]
        cells = [spread([r["accuracy"].get(c) for r in runs]) for c in (*COLUMNS, LABELS)]
        seconds = [r["training_seconds"] + r.get("judging_seconds", 0) for r in runs]
        paper = "" if ROWS[name].paper is None else f"{ROWS[name].paper}"
        lines.append(
            f"| {ROWS[name].words} | {len(runs)} | {' | '.join(cells)} | {paper} "
            f"| {statistics.mean(seconds):.0f} |"
        )
    lines += ["", "ESC-10, percent: mean ± standard deviation over the seeds.", ""]
    orders = orderings(found["runs"])
    if orders:
        lines += ["| ahead in the paper | of | by, at pool5 | here, at pool5 | here, at conv7 |"]
        lines += ["|---|---|---:|---:|---:|"]
        for first, second, ours in orders:
            papers = [ROWS[name].paper for name in (first, second)]
            by = "" if None in papers else f"{papers[0] - papers[1]:+.1f}"
            cells = [spread(ours[column], sign=True) for column in COLUMNS]
            names = f"{ROWS[first].words} | {ROWS[second].words}"
            lines.append(f"| {names} | {by} | {' | '.join(cells)} |")
        lines += [
            "",
            "Differences between runs of one seed: mean ± standard deviation. Where the deviation "
            "is not small beside the mean, the order isn't shown.",
        ]
    return "\n".join(lines) + "\n"


def orderings(runs: list[dict]) -> list[tuple[str, str, dict[str, list[float]]]]:
    """The paper's pairs of which there are runs of the same seeds: by column their differences.

    A network that is trained with labels stands by its own answers, beside the other's layer.
    """
    by = {(one["row"], one["seed"]): one["accuracy"] for one in runs}
    found = []
    for first, second in ORDERINGS:
        seeds = [seed for row, seed in by if row == first and (second, seed) in by]
        if seeds:
            pairs = [(by[first, seed], by[second, seed]) for seed in seeds]
            found.append((first, second, {c: _differences(pairs, c) for c in COLUMNS}))
    return found


def _differences(pairs: list[tuple[dict, dict]], column: str) -> list[float]:
    both = [[of.get(column, of.get(LABELS)) for of in pair] for pair in pairs]
    return [ours - theirs for ours, theirs in both if None not in (ours, theirs)]


def spread(values: list[float | None], sign: bool = False) -> str:
    """Mean and standard deviation in words; "" for nothing."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    mean = statistics.mean(there)
    deviation = statistics.stdev(there) if len(there) > 1 else math.nan
    shown = f"{mean:+.1f}" if sign else f"{mean:.1f}"
    return shown if math.isnan(deviation) else f"{shown} ± {deviation:.1f}"


if __name__ == "__main__":
    main()
