"""The folder that the documents' commands are run in: what a reader who follows them would have.

Real videos and sounds under the names that the pages use, a small data set and a network that was
trained on it for two steps, made by the project's own commands.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import soundfile

from evaluation.datasets import DCASE_CLASSES, LabelledClip, read_esc
from soundnet import weights
from tests.conftest import ROOT
from tests.docs.reading import Block, commands

VIDEOS = {
    "dog.mp4": "899dd6f44e9c.mp4",
    "rain on a roof.mp4": "6b1eae45e709.mp4",
    "train.webm": "28582bcd25f1.mp4",
    "a.mov": "e18faf4b9a9d.mov",
    "b.mov": "578bb1a5a6ab.mov",
    "c.mov": "07d5cfd988a1.mov",
    "d.mp4": "79d49f42a5a4.mp4",
    "e.mov": "3a09a1f9312e.mov",
    "f.mov": "19802f710b48.mov",
    "g.mov": "f0a31b831557.mov",
}
"""By the name in the workplace the file of the test data."""


def environment(home: Path) -> dict[str, str]:
    """The commands are this interpreter's; what they keep at home they keep in the workplace."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("XDG_")}
    env.pop("KERAS_HOME", None)
    return env | {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def build(folder: Path, data: Path, published: Path) -> None:
    """Make the whole of it; `data` are the test data."""
    clips = read_esc(data / "esc10", "esc10")
    _videos(folder, data / "videos")
    _esc50(folder / "ESC-50-master", clips)
    _dcase(folder / "dcase2013", clips)
    _urbansound8k(folder / "UrbanSound8K", clips)
    _labelled(folder, _some(clips, classes=3, folds=5))
    _sounds(folder, clips)
    _authors(folder)
    (folder / "weights").symlink_to(data / "weights")
    models = folder / ".keras" / "models"
    models.mkdir(parents=True)
    (models / weights.published_path().name).symlink_to(published)
    (folder / "bin").mkdir()
    if not shutil.which("ffmpeg"):
        from media import process

        (folder / "bin" / "ffmpeg").symlink_to(process.binary())
    if sys.prefix != sys.base_prefix:
        (folder / ".venv").symlink_to(sys.prefix)
    _run(folder, "-m", "pipeline", "--input", "videos.csv", "--output", "data")
    shutil.copytree(folder / "data", folder / "old")
    _run(folder, *("-m", "trainer.task", "--data", "data", "--model-dir", "model"),
         *("--batch-size", "4", "--steps", "2"))  # fmt: skip


def lay_out(source: Path, folder: Path, blocks: Iterable[Block]) -> None:
    """A workplace of a page's own: all but what its commands make themselves."""
    lacking = made(blocks)
    for path in source.iterdir():
        if path.name in lacking:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, folder / path.name, symlinks=True)
        else:
            shutil.copy2(path, folder / path.name, follow_symlinks=False)


def made(blocks: Iterable[Block]) -> set[str]:
    """The folders that a page's commands write before any of them reads there."""
    written: set[str] = set()
    read: set[str] = set()
    for block in blocks:
        for words in commands(block.text) if block.language == "sh" else ():
            for before, word in zip(["", *words], words, strict=False):
                name = word.split("/")[0]
                if before in ("--output", "--model-dir") and name not in read:
                    written.add(name)
                elif name not in written:
                    read.add(name)
    return written


def _run(folder: Path, *arguments: str) -> None:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


def _videos(folder: Path, videos: Path) -> None:
    for place in ("videos", "demo/videos"):
        (folder / place).mkdir(parents=True)
    for name, file in VIDEOS.items():
        shutil.copy(videos / file, folder / "videos" / name)
    for name in ("testMovie.mp4", "another.mp4"):
        shutil.copy(videos / VIDEOS["dog.mp4"], folder / "demo" / "videos" / name)
    ids = [name.split(".")[0].split()[0] for name in VIDEOS]
    labels = ["loud" if at % 2 else "quiet" for at in range(len(ids))]
    _table(
        folder / "videos.csv",
        ("url", "id", "label", "split"),
        [
            (f"videos/{name}", of, label, "validation" if of == "g" else "train")
            for name, of, label in zip(VIDEOS, ids, labels, strict=True)
        ],
    )
    _table(folder / "labels.csv", ("video_id", "label"), zip(ids, labels, strict=True))
    (folder / "videos.txt").write_text("videos/dog.mp4\nvideos/d.mp4\n")
    (folder / "options.json").write_text('{"sleep_interval_requests": 1.5}\n')


def _some(clips: Sequence[LabelledClip], classes: int, folds: int) -> list[LabelledClip]:
    """One clip of each of the first classes and folds."""
    found = {(clip.label, clip.fold): clip for clip in reversed(clips)}
    names = sorted({clip.label for clip in clips})[:classes]
    return [found[name, fold] for name in names for fold in range(1, folds + 1)]


def _esc50(folder: Path, clips: Sequence[LabelledClip]) -> None:
    """ESC-10's classes with a clip a fold, and 40 more classes of the same sounds."""
    chosen = _some(clips, classes=10, folds=5)
    rows = [(clip, clip.label, clip.fold, True) for clip in chosen]
    rows += [
        (chosen[(7 * number + fold) % 50], f"other_{number}", fold, False)
        for number in range(40)
        for fold in (1 + number % 5, 1 + (number + 2) % 5)
    ]
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    listed = []
    for number, (clip, label, fold, of_ten) in enumerate(rows):
        name = f"{fold}-{number}-A-0.ogg"
        (folder / "audio" / name).symlink_to(clip.path)
        listed.append((name, fold, 0, label, of_ten))
    _table(
        folder / "meta" / "esc50.csv", ("filename", "fold", "target", "category", "esc10"), listed
    )


def _dcase(folder: Path, clips: Sequence[LabelledClip]) -> None:
    sounds = defaultdict(list)
    for clip in clips:
        sounds[clip.label].append(clip.path)
    for part, first in (("scenes_stereo", 0), ("scenes_stereo_testset", 2)):
        (folder / part).mkdir(parents=True)
        for scene, paths in zip(DCASE_CLASSES, sounds.values(), strict=True):
            for number in (1, 2):
                (folder / part / f"{scene}{number:02d}.wav").symlink_to(paths[first + number])


def _urbansound8k(folder: Path, clips: Sequence[LabelledClip]) -> None:
    rows = []
    for number, clip in enumerate(_some(clips, classes=10, folds=5)):
        fold = 1 + number % 10
        (folder / "audio" / f"fold{fold}").mkdir(parents=True, exist_ok=True)
        (folder / "audio" / f"fold{fold}" / f"{number}.wav").symlink_to(clip.path)
        rows.append((f"{number}.wav", fold, clip.label))
    (folder / "metadata").mkdir()
    _table(folder / "metadata/UrbanSound8K.csv", ("slice_file_name", "fold", "class"), rows)


def _labelled(folder: Path, clips: Sequence[LabelledClip]) -> None:
    """Sounds of one's own: a folder with a sub-folder a class, and the same as a list."""
    rows = []
    for clip in clips:
        path = folder / "sounds" / clip.label / clip.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip.path, path)
        rows.append((path.relative_to(folder), clip.label, clip.fold))
    _table(folder / "list.csv", ("path", "label", "fold"), rows)


def _sounds(folder: Path, clips: Sequence[LabelledClip]) -> None:
    """A few files that pages call by name, in several formats."""
    paths = {clip.label: clip.path for clip in clips}
    shutil.copy(paths["dog"], folder / "dog.ogg")
    (folder / "2026-11").mkdir()
    for name, label in {
        "dog.wav": "dog",
        "2026-11/rain.mp3": "rain",
        "hen.flac": "rooster",
    }.items():
        soundfile.write(folder / name, *soundfile.read(paths[label]))


def _authors(folder: Path) -> None:
    """Two videos of the authors' release."""
    from tests.pipeline.authors.test_import import Small  # which imports Beam

    small = Small(folder / "release")
    lines = {}
    for split, video in (("train", "videos/1/2/1200"), ("val", "videos2/3/4/3400")):
        small.sound(video, 20)
        lines[split] = [f"/data/frames/{video}.mp4/{number:08d}.jpg" for number in range(4)]
        small.list(split, 0, lines[split])
    for name in ("lists", "features", "mp3"):
        (folder / "release" / name).rename(folder / name)
    (folder / "release").rmdir()


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
