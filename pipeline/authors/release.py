"""What the authors published: lists of frames, label binaries, sounds.

    train_frames4_NNNN.txt, val_frames4_NNNN.txt
        one frame a line, .../frames/videos[2]/<a digit a level>/<Flickr's id>.mp4/<8 signs>.jpg and
        perhaps more after a space; consecutive lines of one video are its 1 to 4 label steps
    VGG16_IMNET_TRAIN_BNNNN/prob, VGG16_PLACES2_TRAIN_BNNNN/prob
        a row a line of the list of that number: float32, little-endian, 1000 and 401 classes, each
        row a softmax; no header
    mp3/videos[2]/<a digit a level>/<Flickr's id>.mp4.mp3
        the sound

As their loader reads them (github.com/cvondrick/soundnet, `data/donkey_audio.lua` and
`main_train.lua`). The binaries of the validation lists are taken to say VAL where these say TRAIN.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas import SchemaError, classes
from schemas.dataset_info import TeacherInfo
from schemas.video_list import BadRow

STEPS = 4
"""Label steps of a video, at most."""

SUM_TOLERANCE = 1e-3
"""How far a row's sum may be from 1 (that of the authors' loader)."""

SPLITS = {"train": "train", "val": "validation"}
"""By the beginning of a list's name our name of the split."""

BINARIES = {
    "imagenet": "VGG16_IMNET_{split}_B{number}",
    "places": "VGG16_PLACES2_{split}_B{number}",
}
"""By the teacher's name the folder of its labels, in which they are called `prob`."""

TEACHERS = tuple(
    TeacherInfo(
        name=name,
        network="VGG16, as the authors ran it",
        classes=list(classes.load(names)),
        preprocessing="the authors' own; the labels were imported",
        sha256="",
    )
    for name, names in (("imagenet", "imagenet1000"), ("places", "places401"))
)
"""Who made the labels, in the order of the classes of the published weights."""

_LIST = re.compile(r"(train|val)_frames4_(\d{4})\.txt")
_FRAME = re.compile(
    r"(?:.*/)?frames/(?P<video>videos2?/(?:[0-9]/)*(?P<id>[^/\s]+)\.mp4)/[^/\s]{8}\.jpg"
)


@dataclass(frozen=True)
class Listed:
    """A video of a list.

    Attributes:
        line: of its first frame, from 1 on; its labels begin in the row before (from 0 on).
        steps: frames, and so label steps.
        sound: its file, relative to the folder of sounds.
    """

    video_id: str
    line: int
    steps: int
    sound: str


@dataclass(frozen=True)
class Release:
    """Where the release lies.

    Attributes:
        labels: folder of the folders of binaries.
        sounds: folder of the sounds, in which there are `videos` and `videos2`.
    """

    labels: str
    sounds: str

    def binary(self, teacher: str, list_name: str) -> Path:
        """The labels that a teacher gave to the frames of a list."""
        split, number = _named(list_name)
        folder = BINARIES[teacher].format(split=split.upper(), number=number)
        return Path(self.labels) / folder / "prob"

    def open(self, teacher: TeacherInfo, list_name: str) -> np.ndarray:
        """Those labels, float32 (lines, classes), not read but mapped into memory."""
        path = self.binary(teacher.name, list_name)
        return np.memmap(path, "<f4", "r").reshape(-1, len(teacher.classes))


def split_of(path: Path) -> str:
    """Our name of a list's split; raises `SchemaError` for what isn't called as the lists are."""
    return SPLITS[_named(path.name)[0]]


def check(release: Release, lists: list[Path]) -> None:
    """See that every list has its binaries, a row for each line.

    Raises:
        SchemaError: naming each file that is missing or has another size. Which row belongs to
            which frame can't be known then.
    """
    faults = []
    seen: dict[str, Path] = {}
    for path in lists:
        split_of(path)
        if (other := seen.setdefault(path.name, path)) is not path:
            faults.append(f"{path} and {other} have one name; each number is one list")
        lines = sum(1 for _ in _lines(path))
        if not lines:
            faults.append(f"{path} is empty")
        for teacher in TEACHERS:
            binary = release.binary(teacher.name, path.name)
            wanted = lines * len(teacher.classes) * 4
            size = binary.stat().st_size if binary.is_file() else None
            if size is None:
                faults.append(f"there is no {binary}, the labels of {path}")
            elif size != wanted:
                faults.append(
                    f"{binary} has {size:,} bytes; {lines:,} lines of {path} x "
                    f"{len(teacher.classes)} classes x 4 bytes are {wanted:,}"
                )
    if not os.path.isdir(release.sounds):
        faults.append(f"there is no folder {release.sounds} of sounds")
    if faults:
        raise SchemaError(
            f"lists and labels don't fit: {'; '.join(faults)}. Copy these files again, or leave "
            "the lists out"
        )


def read_list(path: Path) -> Iterator[Listed | BadRow]:
    """The videos of a list, and the lines that name none, in order.

    Raises:
        SchemaError: there is an empty line, so it can't be known which row belongs to which frame.
    """
    video: str | None = None
    video_id, first, steps = "", 0, 0
    number = 0

    def done() -> Iterator[Listed | BadRow]:
        if video is None:
            return
        if steps > STEPS:
            text = f"{path.name}:{first} {video}"
            yield BadRow(first, text, f"line {first}: {steps} frames of {video}; 4 are the most")
        else:
            yield Listed(video_id, first, steps, f"{video}.mp3")

    for number, line in _lines(path):
        frame = line.split(maxsplit=1)[0]
        match = _FRAME.fullmatch(frame)
        if match and match["video"] == video:
            steps += 1
            continue
        yield from done()
        if match:
            video, video_id, first, steps = match["video"], match["id"], number, 1
        else:
            video = None
            text = f"{path.name}:{number} {line[:1000]}"
            yield BadRow(number, text, f"line {number} names no frame: {frame[:200]}")
    yield from done()


def fault(rows: np.ndarray) -> str:
    """What is wrong with labels, float32 (label steps, classes), in words; "" if nothing is."""
    for step, row in enumerate(rows):
        if not np.isfinite(row).all():
            return f"label step {step} holds NaN or infinity"
        if row.min() < 0:
            return f"label step {step} holds {row.min():.3g}, which is no probability"
        if abs(total := float(row.sum(dtype=np.float64)) - 1) > SUM_TOLERANCE:
            return f"the probabilities of label step {step} add up to {total + 1:.6g}"
    return ""


def _named(list_name: str) -> tuple[str, str]:
    match = _LIST.fullmatch(list_name)
    if not match:
        raise SchemaError(
            f"{list_name} is not called as the authors' lists are, train_frames4_NNNN.txt or "
            "val_frames4_NNNN.txt; the name tells the split and the label binaries"
        )
    return match[1], match[2]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list with their numbers, from 1 on."""
    empty = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                empty = empty or number
                continue
            if empty:
                raise SchemaError(
                    f"{path}: line {empty} is empty, so it can't be known which labels belong to "
                    "the frames after it; copy the list again"
                )
            yield number, line
