"""What the tests of the evaluation share."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import media
from evaluation.datasets import LabelledClip, read_esc
from schemas import tfrecord
from schemas.clip import ClipRecord
from schemas.dataset_info import DatasetInfo, ShardInfo, TeacherInfo


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    """No test reads or fills the user's cache of features."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


VIDEOS = ("28582bcd25f1", "4db0035d39ce", "6b1eae45e709", "899dd6f44e9c", "a315228a5bc9")
"""Real ones: drums, a cock, a swing, shots, drums."""

TEACHERS = (
    TeacherInfo("imagenet", "vgg16", ["n0 drum", "n1 cock", "n2 rifle"], "caffe", "0" * 64),
    TeacherInfo("places", "squeezenet", ["/b/bar", "/y/yard"], "caffe", "1" * 64),
    TeacherInfo("looks", "lite0", ["0", "1", "2", "3"], "caffe", "2" * 64, "embedding"),
)


def write_data_set(folder: Path, records: list[ClipRecord], frames: bool, shards: int = 1) -> str:
    """A data set of some records as the pipeline leaves one; returns its folder."""
    folder.mkdir()
    listed = []
    for number in range(shards):
        part = records[number::shards]
        data = b"".join(tfrecord.frame(record.to_bytes()) for record in part)
        name = f"train-{number:05d}.tfrecord"
        (folder / name).write_bytes(data)
        listed.append(ShardInfo(name, len(part), len(data)))
    info = DatasetInfo(list(TEACHERS), "flac", frames=frames, splits={"train": listed})
    (folder / "dataset_info.json").write_text(info.to_json())
    return str(folder)


@pytest.fixture(scope="session")
def records(data_dir) -> list[ClipRecord]:
    """Clips of real videos, sound and pictures; what the teachers said is drawn."""
    draw, found = np.random.default_rng(0), []
    for name in VIDEOS:
        for segment in media.extract(data_dir / "videos" / f"{name}.mp4"):
            steps, frames = len(segment.frame_times), []
            for frame in segment.frames:
                out = io.BytesIO()
                Image.fromarray(frame).save(out, "JPEG")
                frames.append(out.getvalue())
            said = {
                teacher.name: draw.dirichlet([0.3] * len(teacher.classes), steps).astype("f2")
                for teacher in TEACHERS
            }
            looks = {"looks": said.pop("looks")}
            place = f"https://videos.example/{name}", segment.start_seconds, segment.pcm, "flac"
            found.append(
                ClipRecord(name, segment.index, *place, segment.frame_times, said, frames, looks)
            )
    return found


@pytest.fixture(scope="session")
def data_set(records, tmp_path_factory) -> str:
    """These clips as a data set of two shards."""
    return write_data_set(tmp_path_factory.mktemp("clips") / "data", records, True, shards=2)


@pytest.fixture
def few(data_dir) -> list[LabelledClip]:
    """Of ESC-10 one clip a class and fold."""
    clips = {}
    for clip in read_esc(data_dir / "esc10", "esc10"):
        clips.setdefault((clip.label, clip.fold), clip)
    return list(clips.values())


@pytest.fixture
def small_esc(few, tmp_path):
    """Those 50 in ESC's layout, one of which is damaged."""
    folder = tmp_path / "esc"
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    with (folder / "meta" / "esc50.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "fold", "target", "category", "esc10"])
        for clip in few:
            rows.writerow([clip.path.name, clip.fold, 0, clip.label, "True"])
            (folder / "audio" / clip.path.name).symlink_to(clip.path)
    damaged = folder / "audio" / clip.path.name
    damaged.unlink()
    damaged.write_bytes(b"not sound")
    return folder, damaged.name
