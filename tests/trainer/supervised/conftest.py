"""A small list of tones and hisses to tell apart."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import soundfile

RATE = 44_100
BROKEN = "broken.wav"


def write_sound(path: Path, label: str, number: int, seconds: float = 5.0) -> None:
    """A stereo tone, or a stereo hiss, each a little different."""
    random = np.random.default_rng(number)
    time = np.arange(round(seconds * RATE)) / RATE
    if label == "tone":
        sound = 0.4 * np.sin(2 * np.pi * random.uniform(300, 500) * time)
    else:
        sound = random.normal(0, 0.1, len(time))
    soundfile.write(path, np.stack([sound, 0.5 * sound], axis=1), RATE, subtype="PCM_16")


@pytest.fixture(scope="session")
def sound_list(tmp_path_factory) -> Path:
    """Eight sounds in two folds, of 5 s, of 3 s and of 12 s; a ninth file is no sound."""
    folder = tmp_path_factory.mktemp("list")
    lines = ["filename,category,fold,split"]
    for number in range(8):
        label = ("tone", "hiss")[number % 2]
        name = f"{number}-{label}.wav"
        write_sound(folder / name, label, number, {2: 3.0, 5: 12.0}.get(number, 5.0))
        lines.append(f"{name},{label},{number // 4 + 1},{'train' if number < 6 else 'test'}")
    (folder / BROKEN).write_bytes(b"RIFF this is no sound")
    lines.append(f"{BROKEN},hiss,2,test")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder / "list.csv"
