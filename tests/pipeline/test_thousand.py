"""A thousand rows from a server that fails on purpose, in a network of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.pipeline import alone
from tests.pipeline.test_build import records


@pytest.fixture(scope="module")
def unshare() -> list[str]:
    """The command that gives a program a network of its own."""
    command = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("this machine gives no network namespace (unshare --map-root-user --net)")
    return command


@pytest.mark.slow
def test_of_a_thousand_rows_every_one_is_accounted_for(unshare, videos, streams, tmp_path):
    command = [sys.executable, "-m", "tests.pipeline.alone", str(videos), str(streams)]
    done = subprocess.run(
        [*unshare, *command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["wrong"] == {}
    assert sum(result["found"].values()) == alone.ROWS
    assert result["found"] == result["expected"]
    good = result["expected"]["done"]
    assert good == 680
    # long.mp4 gives two clips, the others one each.
    assert len(records(tmp_path / "data")) == result["clips"]
    assert result["clips"] > good
    # What can't help is not tried again; what may is, as often as asked for.
    assert result["asked"] == {"404": 1, "410": 1, "401": 1, "403": 1, "500": 2, "429": 2}
    # Nobody was led to the address that is not public.
    assert result["asked_of_inner"] == []
