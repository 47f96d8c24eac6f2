"""Which video is what: a CSV file, or a column of the video list that a data set was made from."""

from __future__ import annotations

import csv
import os
import posixpath
from dataclasses import dataclass

from evaluation.errors import DatasetError
from schemas.dataset_info import DatasetInfo
from schemas.ledger import LedgerRow, latest

NAMES = ("video_id", "url")
"""Columns that say which video is meant, the first that there is."""


@dataclass(frozen=True)
class Label:
    """What a video is.

    Attributes:
        group: what its label belongs to (the paper's six: urban, nature, ...); the label itself
            where there are no groups.
    """

    label: str
    group: str


class Labels:
    """The labels of videos, by id or address.

    Args:
        rows: (id or address, label, group) each; a group may be "".
        where: they are from, for messages.

    Raises:
        DatasetError: a video with two labels, or fewer than two labels.
    """

    def __init__(self, rows: list[tuple[str, str, str]], where: str) -> None:
        self.where = where
        self._labels: dict[str, Label] = {}
        for name, text, group in rows:
            label = Label(text, group or text)
            if self._labels.setdefault(name, label) != label:
                raise DatasetError(
                    f"{where}: {name} is {self._labels[name].label!r} and {text!r}; a video has "
                    "one label"
                )
        number = len({label.label for label in self._labels.values()})
        if number < 2:
            raise DatasetError(f"{where} has {number} labels; at least 2 are wanted")

    def __len__(self) -> int:
        return len(self._labels)

    def of(self, video_id: str, url: str) -> Label | None:
        """A video's label; None where it has none."""
        return self._labels.get(video_id) or self._labels.get(url)

    def some(self) -> str:
        """A name in the list, for messages."""
        return next(iter(self._labels))


def read(labels: str, data: str, info: DatasetInfo) -> Labels:
    """The labels that `--labels` names.

    Args:
        labels: a CSV file, or the name of a column; the column `group` goes with it.
        data, info: the data set, whose ledgers carry the list's columns.

    Raises:
        DatasetError: neither can be read, or it isn't labels.
    """
    if os.path.exists(labels) or labels.lower().endswith(".csv"):
        return Labels(_from_file(labels), labels)
    return Labels(_from_ledgers(labels, data, info), f"column {labels!r} of the video list")


def _from_file(path: str) -> list[tuple[str, str, str]]:
    wanted = (
        "--labels takes a CSV file with the columns video_id (or url), label and, optional, group"
    )
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            found = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} can't be read ({error}); {wanted}") from error
    name = next((name for name in NAMES if name in columns), None)
    if name is None or "label" not in columns:
        raise DatasetError(
            f"{path} has the columns {', '.join(map(str, columns)) or 'none'}; {wanted}"
        )
    rows = []
    for line, row in found:
        who, label = ((row[key] or "").strip() for key in (name, "label"))
        if not who or not label:
            raise DatasetError(f"{path}, line {line}: no {name if label else 'label'}")
        rows.append((who, label, (row.get("group") or "").strip()))
    return rows


def _from_ledgers(column: str, data: str, info: DatasetInfo) -> list[tuple[str, str, str]]:
    import tensorflow as tf

    rows: list[LedgerRow] = []
    for run in info.runs:
        path = posixpath.join(data, run.ledger)
        try:
            with tf.io.gfile.GFile(path) as file:
                rows += [LedgerRow.from_json(line, path) for line in file if line.strip()]
        except tf.errors.OpError as error:
            raise DatasetError(f"{path} can't be read: {error.message}") from error
    videos = latest(rows).values()
    found = [
        (
            video.video_id,
            str(video.extra[column]).strip(),
            str(video.extra.get("group", "")).strip(),
        )
        for video in videos
        if str(video.extra.get(column) or "").strip()
    ]
    if not found:
        known = sorted({name for video in videos for name in video.extra})
        raise DatasetError(
            f"{column!r} is no file, and no column of the list that {data} was made from "
            f"(it had {', '.join(known) or 'no columns of its own'})"
        )
    return found
