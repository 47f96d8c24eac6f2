"""What all rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real videos, sounds, pictures and weights (`SOUNDNET_TEST_DATA`).

    Not part of this repository: tests that need it skip where it is missing, and fail in CI.
    """
    path = Path(os.environ.get("SOUNDNET_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        message = f"no test data at {path}; set SOUNDNET_TEST_DATA to its folder"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path.resolve()
