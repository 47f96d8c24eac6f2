"""The report of what was made, in Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pages import markdown
from schemas.dataset_info import DatasetInfo
from schemas.ledger import LedgerRow

LOSSES = 8
"""About so many of the training's losses are shown."""


@dataclass(frozen=True)
class Made:
    """What there is to report on.

    Attributes:
        folder: where it all is; the data set in `data`, the training in `model`.
        rows: the ledger's last word on each video.
        heard: by network the file with what it hears, as `soundnet predict --json` wrote it.
        judged: the pages of the evaluations.
        seconds: wall time of each part, by its name.
    """

    folder: Path
    info: DatasetInfo
    rows: list[LedgerRow]
    heard: dict[str, Path]
    judged: list[Path]
    seconds: dict[str, float]


def report(made: Made) -> str:
    """All of it."""
    parts = [
        "# SoundNet, reproduced\n",
        _data_set(made),
        _training(made),
        _heard(made),
        _evaluation(made),
        _places(made),
        "## Time\n\n" + "".join(f"- {part}: {s:.0f} s\n" for part, s in made.seconds.items()),
    ]
    return "\n".join(part for part in parts if part)


def _table(head: tuple[str, ...], rows: list[tuple]) -> str:
    cells = [[str(value) for value in row] for row in rows]
    return "".join(f"{line}\n" for line in markdown.table(head, cells))


def _data_set(made: Made) -> str:
    rows = [
        (
            row.video_id,
            f"{row.cause}: {row.message[:60]}" if row.cause else row.outcome,
            row.clips,
            f"{row.media_seconds:.1f}",
        )
        for row in made.rows
    ]
    text = _table(("video", "outcome", "clips", "seconds of sound"), rows)
    for split, shards in made.info.splits.items():
        size = sum(shard.bytes for shard in shards) / 1e6
        text += f"\n{split}: {made.info.records(split)} clips, {size:.1f} MB\n"
    return f"## The data set\n\n{text}"


def _training(made: Made) -> str:
    lines = (made.folder / "model" / "metrics.jsonl").read_text("utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    losses = [(row["step"], f"{row['loss']:.4f}") for row in metrics if row["split"] == "train"]
    every = max(1, len(losses) // LOSSES)
    return (
        "## The training\n\n"
        + _table(("step", "loss"), [*losses[:-1:every], losses[-1]])
        + "\nA handful of clips is learned by heart: the loss falls, and nothing general is "
        "learned. Give it more videos with `--videos` and more `--steps`.\n"
    )


def _heard(made: Made) -> str:
    """What the networks hear at the first step of each video."""
    rows = []
    for name, path in made.heard.items():
        for line in path.read_text("utf-8").splitlines():
            step = json.loads(line)
            for head, tops in step["heads"].items():
                best = ", ".join(f"{top['class']} {top['probability']:.1%}" for top in tops)
                rows.append((Path(step["file"]).name, f"{step['time']:.1f}", name, head, best))
    if not rows:
        return ""
    return "## What they hear\n\n" + _table(("video", "second", "network", "head", "hears"), rows)


def _evaluation(made: Made) -> str:
    """The evaluations' own tables, a level deeper."""
    text = "## Evaluation\n"
    for page in made.judged:
        own = page.with_suffix(".md").read_text("utf-8")
        text += "\n" + "".join(
            f"##{line}" if line.startswith("#") else line for line in own.splitlines(keepends=True)
        )
    return text if made.judged else ""


def _places(made: Made) -> str:
    folder, model = made.folder, made.folder / "model"
    return (
        "## What is where\n\n"
        f"- `{folder / 'data'}`: shards, `dataset_info.json`, ledger\n"
        f"- `{folder / 'results' / 'data.html'}`: a page on the data set, with clips to play\n"
        f"- `{model}`: `model.keras`, `saved_model/`, checkpoints; curves: "
        f"`tensorboard --logdir {model}`\n"
        + "".join(
            f"- `{path}`: what the {name} network hears\n" for name, path in made.heard.items()
        )
        + "".join(f"- `{page}`: an evaluation, as a page\n" for page in made.judged)
    )
