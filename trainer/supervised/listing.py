"""The list of a training with labels: files, their classes, what is held out."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from schemas import SchemaError

PATH_COLUMNS = ("path", "filename", "file")
LABEL_COLUMNS = ("label", "category", "class")
"""The first of these that the list has is meant. (ESC-50's own list has filename and category.)"""

TRAIN, HELD_OUT, IGNORED = ("train",), ("test", "validation"), ("",)
"""Values of the column `split`."""


@dataclass(frozen=True)
class LabelledSound:
    """One row.

    Attributes:
        name: the file as the list has it.
        path: where it is.
        label: the name of its class.
        fold, split: as the list has them; "" where it has none.
    """

    name: str
    path: Path
    label: str
    fold: str = ""
    split: str = ""


@dataclass(frozen=True)
class Part:
    """One network to train.

    Attributes:
        name: the fold that is held out; "" for the only part.
        train, test: places in the list.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


def read(path: str, audio: str = "") -> list[LabelledSound]:
    """The rows of a list, in its order. That the files can be read is not looked at.

    Raises:
        SchemaError: not a CSV with a path and a label in each row, a file twice, or fewer than two
            classes.
    """
    folder = Path(audio) if audio else Path(path).parent
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SchemaError(
            f"{path} can't be read as a list of sounds ({error}); --data takes a CSV file with a "
            f"column {PATH_COLUMNS[0]} and a column {LABEL_COLUMNS[0]}"
        ) from error

    def column(names: tuple[str, ...]) -> str:
        found = next((name for name in names if name in columns), None)
        if found is None:
            raise SchemaError(
                f"{path} has the columns {', '.join(map(str, columns)) or 'none'}; one called "
                f"{', '.join(names[:-1])} or {names[-1]} is wanted"
            )
        return found

    path_column, label_column = column(PATH_COLUMNS), column(LABEL_COLUMNS)
    sounds: list[LabelledSound] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        name, label, fold, split = (
            (row.get(key) or "").strip() for key in (path_column, label_column, "fold", "split")
        )
        if not name or not label:
            missing = label_column if name else path_column
            raise SchemaError(f"{path}, line {line}: no {missing}")
        if name in lines:
            raise SchemaError(f"{path}, line {line}: {name} is on line {lines[name]} already")
        lines[name] = line
        sounds.append(LabelledSound(name, folder / name, label, fold, split))
    labels = {sound.label for sound in sounds}
    if len(labels) < 2:
        raise SchemaError(
            f"{path} has {len(sounds)} sounds of {len(labels)} classes; at least 2 are wanted"
        )
    return sounds


def parts(
    sounds: list[LabelledSound], held_out: str = "auto", folds: tuple[str, ...] = ()
) -> list[Part]:
    """The networks to train, and what each is judged by.

    Args:
        held_out, folds: see `LabelConfig`.

    Raises:
        SchemaError: the list doesn't have that column, or not in each row, or both where it isn't
            said which is meant; or nothing is left to train on.
    """
    has_folds = any(sound.fold for sound in sounds)
    has_split = any(sound.split for sound in sounds)
    if held_out == "auto":
        if has_folds and has_split:
            raise SchemaError(
                "the list has the columns fold and split; say which with --held-out folds or "
                "--held-out split"
            )
        held_out = "folds" if has_folds else "split" if has_split else "none"
    everything = tuple(range(len(sounds)))
    if held_out == "none":
        found = [Part("", everything, ())]
    elif held_out == "split":
        found = [_split(sounds)]
    else:
        found = _folds(sounds, folds)
    if folds and held_out != "folds":
        raise SchemaError("--folds was given, and the list has no column fold")
    for part in found:
        there = {sounds[i].label for i in part.train}
        if lacking := sorted({sound.label for sound in sounds} - there):
            raise SchemaError(
                f"{_where(part)}nothing to train on is left of {', '.join(lacking[:5])}"
                + (f" and {len(lacking) - 5} more classes" if len(lacking) > 5 else "")
            )
    return found


def _split(sounds: list[LabelledSound]) -> Part:
    for sound in sounds:
        if sound.split not in (*TRAIN, *HELD_OUT, *IGNORED):
            raise SchemaError(
                f"{sound.name}: split {sound.split!r}; {', '.join((*TRAIN, *HELD_OUT))} or nothing "
                "(such a sound isn't used) is wanted"
            )
    train, test = (
        tuple(i for i, sound in enumerate(sounds) if sound.split in names)
        for names in (TRAIN, HELD_OUT)
    )
    if not train or not test:
        raise SchemaError(
            f"the list's column split gives {len(train)} sounds to train and {len(test)} to judge"
        )
    return Part("", train, test)


def _folds(sounds: list[LabelledSound], wanted: tuple[str, ...]) -> list[Part]:
    for sound in sounds:
        # It names a folder too.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", sound.fold):
            raise SchemaError(
                f"{sound.name}: fold {sound.fold!r}; letters, digits, '.', '_' and '-' are wanted"
            )
    names = sorted({sound.fold for sound in sounds}, key=lambda fold: (len(fold), fold))
    if len(names) < 2:
        raise SchemaError("the list has one fold; a second is wanted to train on")
    if strange := [fold for fold in wanted if fold not in names]:
        raise SchemaError(f"no fold {strange[0]}; the list has {', '.join(names)}")
    return [
        Part(
            fold,
            tuple(i for i, sound in enumerate(sounds) if sound.fold != fold),
            tuple(i for i, sound in enumerate(sounds) if sound.fold == fold),
        )
        for fold in names
        if not wanted or fold in wanted
    ]


def _where(part: Part) -> str:
    return f"without fold {part.name} " if part.name else ""
