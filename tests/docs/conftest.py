"""What the tests of the documents share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.docs import workplace as making


@pytest.fixture(scope="session")
def workplace(data_dir, published_weights, tmp_path_factory) -> Path:
    """A folder as the pages assume it, made once for all of xdist's workers; to be copied."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "workplace", shared / "workplace-done"
    with (shared / "workplace-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            making.build(folder, data_dir, published_weights)
            done.touch()
    return folder
