"""Sounds with labels and folds, as their data sets lay them out."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import DatasetError

ESC_FOLDS = (1, 2, 3, 4, 5)
ESC_CLASSES = {"esc10": 10, "esc50": 50}


@dataclass(frozen=True)
class LabelledClip:
    """One sound of a data set.

    Attributes:
        path: its file.
        label: the name of its class.
        fold: the data set's own.
    """

    path: Path
    label: str
    fold: int


def read_esc(folder: Path, task: str) -> list[LabelledClip]:
    """The clips of ESC-50, or of its part ESC-10, in the list's order.

    K. J. Piczak: ESC: Dataset for Environmental Sound Classification, 2015. The folder has
    `meta/esc50.csv` (filename, fold, target, category, esc10, ...) and `audio/`.

    Args:
        task: `esc10` or `esc50`.

    Raises:
        DatasetError: no such layout, or not the task's classes and folds.
    """
    listing = folder / "meta" / "esc50.csv"
    try:
        with listing.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        clips = [
            LabelledClip(folder / "audio" / row["filename"], row["category"], int(row["fold"]))
            for row in rows
            if task == "esc50" or row["esc10"] == "True"
        ]
    except OSError as error:
        raise DatasetError(
            f"{listing} can't be read ({error.strerror}); --data takes the folder of ESC-50 as "
            "its author publishes it, with meta/esc50.csv and audio/"
        ) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:  # TypeError: a row that is short
        raise DatasetError(f"{listing} is not the list of ESC-50: {error}") from error
    labels = {clip.label for clip in clips}
    if len(labels) != ESC_CLASSES[task]:
        raise DatasetError(
            f"{listing} has {len(labels)} classes for {task}; {ESC_CLASSES[task]} are wanted"
            + (". It holds ESC-10 alone: judge with esc10" if len(labels) == 10 else "")
        )
    if {clip.fold for clip in clips} != set(ESC_FOLDS):
        raise DatasetError(f"{listing} doesn't have the folds 1 to 5 for {task}")
    return clips
