"""What networks say of the sounds that were held out: accuracy, confusion matrix, each answer."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from trainer.progress import write_whole

UNREADABLE = "(unreadable)"

MOST_COLUMNS = 20
"""A confusion matrix of more classes isn't printed; its file has it."""


@dataclass(frozen=True)
class Answer:
    """What a network said of one sound.

    Attributes:
        name: the file, as the list has it.
        fold: that it was held out with; "" where there are no folds.
        said: the likeliest class; `UNREADABLE` for a file that can't be decoded, which is wrong.
        probability: of that class, the mean over the sound's pieces; 0 for such a file.
    """

    name: str
    fold: str
    label: str
    said: str
    probability: float

    @property
    def right(self) -> bool:
        return self.said == self.label


def accuracy(answers: list[Answer]) -> float:
    """Percent of the answers that are right."""
    return 100 * sum(answer.right for answer in answers) / len(answers)


def confusion(answers: list[Answer], classes: list[str]) -> np.ndarray:
    """int64 (classes, classes + 1): how many sounds of a class (row) were taken for each (column);
    in the last column those that can't be read."""
    counts = np.zeros((len(classes), len(classes) + 1), np.int64)
    columns = {name: place for place, name in enumerate([*classes, UNREADABLE])}
    for answer in answers:
        counts[columns[answer.label], columns[answer.said]] += 1
    return counts


def recalls(counts: np.ndarray) -> np.ndarray:
    """Percent of each class's sounds that were named rightly; NaN for a class without any."""
    totals = counts.sum(1)
    return 100 * np.diag(counts[:, :-1]) / np.where(totals, totals, np.nan)


def write_csv(path: Path, answers: list[Answer], counts: np.ndarray, classes: list[str]) -> None:
    """`answers.csv` and `confusion.csv` in a folder."""
    lines = [
        [answer.name, answer.fold, answer.label, answer.said, f"{answer.probability:.6f}"]
        for answer in answers
    ]
    _write(path / "answers.csv", [["path", "fold", "label", "said", "probability"], *lines])
    rows = [[name, *map(int, row)] for name, row in zip(classes, counts, strict=True)]
    _write(path / "confusion.csv", [["label", *classes, UNREADABLE], *rows])


def _write(path: Path, rows: list[list]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(str(path), text.getvalue())


def table(counts: np.ndarray, classes: list[str]) -> Table:
    """The confusion matrix to print: a row a class, columns by their numbers."""
    title = "Confusion matrix: how many sounds of a class (row) were taken for which (column)"
    printed = Table(title=title, title_justify="left", show_edge=False)
    printed.add_column("class")
    unreadable = counts[:, -1].any()
    for number in range(1, len(classes) + 1):
        printed.add_column(str(number), justify="right")
    if unreadable:
        printed.add_column(UNREADABLE, justify="right")
    printed.add_column("right", justify="right")
    for number, (name, row, recall) in enumerate(
        zip(classes, counts, recalls(counts), strict=True), 1
    ):
        cells = [str(value) if value else "." for value in (row if unreadable else row[:-1])]
        right = "none" if np.isnan(recall) else f"{recall:.1f} %"
        printed.add_row(f"{number} {name}", *cells, right)
    return printed
