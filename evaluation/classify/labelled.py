"""Any labelled sounds: a folder with a sub-folder a class, or a list."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from evaluation import datasets, protocol
from evaluation.datasets import Dataset, LabelledClip
from evaluation.errors import DatasetError
from trainer.supervised import listing

TRAIN, TEST = "train", "test"


def read(
    source: Path, audio: Path | None, folds: int, lengths: protocol.Lengths = protocol.ESC
) -> Dataset:
    """The data set that is meant.

    Args:
        source: a folder whose sub-folders are classes; or a CSV list with path and label, and
            fold or split if it likes (see `trainer.supervised.listing`).
        audio: where a list's paths start from; by default its folder.
        folds: into how many parts it is divided, where the list has no folds and no split.

    Raises:
        DatasetError, SchemaError: it can't be used.
    """
    is_folder = source.is_dir()
    sounds = _of_folder(source) if is_folder else listing.read(str(source), str(audio or ""))
    title = source.stem
    if any(s.fold for s in sounds):
        parts = listing.parts(sounds, "folds")
        clips = [LabelledClip(s.path, s.label, s.fold, s.name) for s in sounds]
        tested = tuple(part.name for part in parts)
        return Dataset("folder", title, clips, tested, lengths, "The list's own folds.")
    if not any(s.split for s in sounds):
        dealt = deal([(s.name, s.label) for s in sounds], folds)
        clips = [
            LabelledClip(s.path, s.label, fold, s.name)
            for s, fold in zip(sounds, dealt, strict=True)
        ]
        about = f"{folds} folds, dealt class by class in the order of the names' SHA-256."
        return Dataset("folder", title, clips, tuple(range(1, folds + 1)), lengths, about)
    (part,) = listing.parts(sounds, "split")
    clips = [
        LabelledClip(sounds[i].path, sounds[i].label, fold, sounds[i].name)
        for fold, places in ((TRAIN, part.train), (TEST, part.test))
        for i in places
    ]
    return Dataset("folder", title, clips, (TEST,), lengths, "The list's own split.")


def deal(sounds: list[tuple[str, str]], folds: int) -> list[int]:
    """A fold, from 1, for each sound (name, label): alike for each class, and the same every time.

    Raises:
        DatasetError: a class of which nothing would be left to learn from, or too few sounds.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for place, (_, label) in enumerate(sounds):
        by_label[label].append(place)
    for label, places in sorted(by_label.items()):
        if len(places) < 2:
            raise DatasetError(
                f"the class {label} has one sound; at least 2 are wanted, one to learn from and "
                "one to be tested with"
            )
    if len(sounds) < folds:
        raise DatasetError(f"{len(sounds)} sounds can't be divided into {folds} folds")
    found, next_fold = [0] * len(sounds), 0
    for _, places in sorted(by_label.items()):
        places.sort(key=lambda place: hashlib.sha256(sounds[place][0].encode()).hexdigest())
        for place in places:
            found[place] = next_fold % folds + 1
            next_fold += 1  # goes on with the next class, so that the folds are alike in size
    return found


def _of_folder(folder: Path) -> list[listing.LabelledSound]:
    sounds = []
    for path in datasets.sounds_under(folder):
        name = path.relative_to(folder)
        if len(name.parts) > 1:  # a file beside the classes, a licence say, is none
            sounds.append(listing.LabelledSound(name.as_posix(), path, name.parts[0]))
    if (number := len({sound.label for sound in sounds})) < 2:
        raise DatasetError(
            f"{folder} has {number} sub-folders with sounds; a sub-folder a class is wanted, at "
            "least 2, or a CSV list with the columns path and label"
        )
    return sounds
