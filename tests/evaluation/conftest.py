"""What the tests of the evaluation share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    """No test reads or fills the user's cache of features."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
