"""Photographs, and the two usual teachers, loaded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import teacher


@pytest.fixture(scope="session")
def photographs(data_dir: Path) -> dict[str, np.ndarray]:
    """RGB pictures, uint8 (H, W, 3), by the ImageNet synset that their file name starts with."""
    files = sorted((data_dir / "images").glob("n*.JPEG"))
    return {file.name[:9]: np.asarray(Image.open(file).convert("RGB")) for file in files}


@pytest.fixture(scope="session")
def imagenet() -> teacher.Teacher:
    return teacher.load(teacher.parse_spec("imagenet"))


@pytest.fixture(scope="session")
def places(data_dir: Path) -> teacher.Teacher:
    return teacher.load(
        teacher.parse_spec(f"places=squeezenet_places365,weights={data_dir / 'weights'}")
    )
