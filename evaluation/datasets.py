"""Sounds with labels and folds, as their data sets lay them out."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from evaluation import protocol
from evaluation.errors import DatasetError

ESC_FOLDS = (1, 2, 3, 4, 5)
ESC_CLASSES = {"esc10": 10, "esc50": 50}

DCASE_CLASSES = (
    *("bus", "busystreet", "office", "openairmarket", "park"),
    *("quietstreet", "restaurant", "supermarket", "tube", "tubestation"),
)
DCASE_PARTS = {"train": ("scenes_stereo", "train"), "test": ("scenes_stereo_testset", "test")}
"""The folders that a part may be in: as its archive is called, or plainly."""

URBANSOUND8K_FOLDS = tuple(range(1, 11))
URBANSOUND8K_CLASSES = 10


@dataclass(frozen=True)
class LabelledClip:
    """One sound of a data set.

    Attributes:
        path: its file.
        label: the name of its class.
        fold: the data set's own; "train" or "test" where it is split in two.
        name: what it is called in results: its path within the data set.
    """

    path: Path
    label: str
    fold: int | str
    name: str


@dataclass(frozen=True)
class Dataset:
    """Sounds to tell apart, and how.

    Attributes:
        task: its name in commands and in `paper`.
        title: its name for people.
        clips: in its own order.
        tested: the folds that are each the test once, all others being learnt from.
        lengths: of clips and windows in the published protocol.
        about: where the folds are from, in a sentence.
    """

    task: str
    title: str
    clips: list[LabelledClip]
    tested: tuple[int | str, ...]
    lengths: protocol.Lengths = protocol.ESC
    about: str = "The data set's own folds."

    @property
    def classes(self) -> list[str]:
        """Names, sorted."""
        return sorted({clip.label for clip in self.clips})


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
    rows = _rows(listing, "the folder of ESC-50 as its author publishes it, with meta/esc50.csv")
    try:
        clips = [
            LabelledClip(
                folder / "audio" / row["filename"],
                row["category"],
                int(row["fold"]),
                row["filename"],
            )
            for row in rows
            if task == "esc50" or row["esc10"] == "True"
        ]
    except (KeyError, TypeError, ValueError) as error:  # TypeError: a row that is short
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


def read_dcase(folder: Path) -> list[LabelledClip]:
    """The clips of DCASE 2013's scenes: one part to learn from, one to be tested with.

    D. Giannoulis et al.: Detection and Classification of Acoustic Scenes and Events, 2013. Each
    part has 10 recordings of 30 s of 10 scenes, `busystreet01.wav` ... `tubestation10.wav`, in a
    folder called as its archive (`scenes_stereo`, `scenes_stereo_testset`), or `train` and `test`;
    folders within these don't matter.

    Raises:
        DatasetError: a part is missing, or has files of no known scene, or lacks a scene.
    """
    clips: list[LabelledClip] = []
    for part, names in DCASE_PARTS.items():
        root = next((folder / name for name in names if (folder / name).is_dir()), None)
        if root is None:
            raise DatasetError(
                f"{folder} has no folder {' or '.join(names)}; --data takes the folder that both "
                "parts of the DCASE 2013 scenes were unpacked into: scenes_stereo.zip and "
                "scenes_stereo_testset.zip"
            )
        files = sounds_under(root)
        labels = [re.sub(r"\d+$", "", path.stem).lower() for path in files]
        for path, label in zip(files, labels, strict=True):
            if label not in DCASE_CLASSES:
                raise DatasetError(
                    f"{path} is of no scene of DCASE 2013 ({', '.join(DCASE_CLASSES)}); files are "
                    "called as in busystreet01.wav"
                )
            clips.append(LabelledClip(path, label, part, path.relative_to(folder).as_posix()))
        if lacking := [name for name in DCASE_CLASSES if name not in labels]:
            raise DatasetError(f"{root} has no sound of {', '.join(lacking)}")
    return clips


def read_urbansound8k(folder: Path) -> list[LabelledClip]:
    """The clips of UrbanSound8K, in the list's order.

    J. Salamon, C. Jacoby, J. P. Bello: A Dataset and Taxonomy for Urban Sound Research, 2014. The
    folder has `metadata/UrbanSound8K.csv` (slice_file_name, fold, class, ...) and `audio/fold1` ...
    `audio/fold10`.

    Raises:
        DatasetError: no such layout, or not its classes and folds.
    """
    listing = folder / "metadata" / "UrbanSound8K.csv"
    rows = _rows(listing, "the folder of UrbanSound8K as unpacked, with metadata/UrbanSound8K.csv")
    try:
        clips = [
            LabelledClip(
                folder / "audio" / f"fold{int(row['fold'])}" / row["slice_file_name"],
                row["class"],
                int(row["fold"]),
                f"fold{int(row['fold'])}/{row['slice_file_name']}",
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{listing} is not the list of UrbanSound8K: {error}") from error
    if (number := len({clip.label for clip in clips})) != URBANSOUND8K_CLASSES:
        raise DatasetError(f"{listing} has {number} classes; {URBANSOUND8K_CLASSES} are wanted")
    if {clip.fold for clip in clips} != set(URBANSOUND8K_FOLDS):
        raise DatasetError(f"{listing} doesn't have the folds 1 to 10")
    return clips


def _rows(listing: Path, wanted: str) -> list[dict[str, str]]:
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DatasetError(
            f"{listing} can't be read ({error.strerror}); --data takes {wanted} and audio/"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{listing} is no list: {error}") from error


def sounds_under(root: Path) -> list[Path]:
    """The files under a folder, sorted; hidden ones and those of hidden folders aren't taken."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(p[0] == "." for p in path.relative_to(root).parts)
    )
