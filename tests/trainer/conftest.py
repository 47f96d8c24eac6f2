"""Small data sets of valid records, written through `schemas`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import tensorflow as tf

from schemas.clip import ClipRecord
from schemas.dataset_info import FILE_NAME, DatasetInfo, ShardInfo, TeacherInfo
from schemas.waveform import SAMPLE_RATE

CLASSES = {"imagenet": 12, "places": 7}


def make_clip(number: int, steps: int = 4, codec: str = "pcm", seconds: float | None = None):
    """A clip whose sound and labels go together: a tone a class, another in each label step."""
    random = np.random.default_rng(number)
    length = 5 * steps if seconds is None else seconds
    time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
    kinds = random.integers(7, size=steps)
    pitch = 110 * 2.0 ** kinds[np.minimum(time // 5, steps - 1).astype(int)]
    sound = 0.3 * np.sin(2 * np.pi * pitch * time) + random.normal(0, 0.02, len(time))
    probs = {}
    for name, classes in CLASSES.items():
        values = np.full((steps, classes), 0.1 / classes)
        values[np.arange(steps), kinds] += 0.9
        probs[name] = values.astype(np.float16)
    return ClipRecord(
        video_id=f"video{number}",
        number=0,
        url=f"https://example.org/{number}",
        start_seconds=0.0,
        pcm=(sound * 32767).astype(np.int16),
        audio_codec=codec,
        frame_times=[2.5 + 5 * step for step in range(steps)],
        probs=probs,
    )


def write_data_set(
    folder: Path, splits: dict[str, list[list[ClipRecord]]], codec: str = "pcm", **changes
) -> Path:
    """Write clips, by split and shard, with the `dataset_info.json` that fits them."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {}
    for split, shards in splits.items():
        described[split] = []
        for number, clips in enumerate(shards):
            path = folder / f"{split}-{number:05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for clip in clips:
                    writer.write(clip.to_bytes())
            described[split].append(ShardInfo(path.name, len(clips), path.stat().st_size))
    teachers = [
        TeacherInfo(name, "test", [f"{name} {i}" for i in range(classes)], "none", "0" * 64)
        for name, classes in CLASSES.items()
    ]
    some = next((clip for shards in splits.values() for clips in shards for clip in clips), None)
    for name, values in (some.embeddings if some else {}).items():
        names = [f"value {i}" for i in range(values.shape[1])]
        teachers.append(TeacherInfo(name, "test", names, "none", "0" * 64, "embedding"))
    values = {"teachers": teachers, "audio_codec": codec, "splits": described} | changes
    (folder / FILE_NAME).write_text(DatasetInfo(**values).to_json())
    return folder


@pytest.fixture
def clip_maker() -> Callable:
    return make_clip


@pytest.fixture
def data_set_writer() -> Callable:
    return write_data_set


SHORT = {"clip_seconds": 10.0}
"""SoundNet-5 gives 2 outputs for clips of 10 s with 2 label steps, at a fraction of the time."""


@pytest.fixture(scope="session")
def short_data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven clips to train in two shards, three to validate; 10 s each, for SoundNet-5."""
    clips = [make_clip(i, steps=2) for i in range(10)]
    return write_data_set(
        tmp_path_factory.mktemp("short"),
        {"train": [clips[:4], clips[4:7]], "validation": [clips[7:]]},
        **SHORT,
    )


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven clips to train in two shards, three to validate."""
    return write_data_set(
        tmp_path_factory.mktemp("data"),
        {
            "train": [[make_clip(i) for i in range(4)], [make_clip(i) for i in range(4, 7)]],
            "validation": [[make_clip(i) for i in range(7, 10)]],
        },
    )
