"""The command on a real Flink cluster on this machine: a job manager and two task managers."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.flink.cluster import Cluster, Unavailable
from pipeline.store import Store
from schemas.ledger import LedgerRow
from tests.pipeline.conftest import make_video
from tests.pipeline.test_build import records

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flink")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    try:
        cluster = Cluster(task_managers=2, slots=2)
    except Unavailable as error:
        pytest.skip(f"no Flink: {error}")
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data_dir) -> Path:
    """Twenty videos made here, two real ones, one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(20):
        make_video(folder / f"{number:02d}.mp4", 3 + 5 * number % 29, 300 + 20 * number)
    for path in sorted((data_dir / "videos").glob("*.mp4"))[:2]:
        shutil.copy(path, folder)
    (folder / "words.mp4").write_text("this is no video\n")
    return folder


def command(folder: Path, output: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pipeline", "--input", str(folder), "--output", str(output)),
        *("--teachers", "imagenet", "--lanes", "2", *options),
    ]


def ledger(output: Path) -> dict[str, LedgerRow]:
    """The rows by video, without what differs from run to run."""
    lines = (output / "ledger-00000.jsonl").read_text().splitlines()
    rows = [LedgerRow.from_json(line) for line in lines]
    found = {row.video_id: dataclasses.replace(row, seconds={}) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def local(folder, tmp_path_factory) -> Path:
    """The data set that the local runner makes of the folder."""
    output = tmp_path_factory.mktemp("local")
    subprocess.run(command(folder, output, "--processes", "2"), check=True, capture_output=True)
    assert len(records(output)) > 22
    return output


def test_flink_gives_the_records_of_the_local_runner(cluster, folder, local, tmp_path):
    output = tmp_path / "data"
    subprocess.run(command(folder, output, *cluster.options), check=True, capture_output=True)
    assert records(output) == records(local)
    assert ledger(output) == ledger(local)
    assert not list(output.glob("work*"))
    states = [job["state"] for job in cluster.ask("/jobs/overview")["jobs"]]
    assert states
    assert set(states) == {"FINISHED"}


def test_a_task_manager_killed_in_the_middle_loses_and_doubles_nothing(
    cluster, folder, local, tmp_path
):
    output = tmp_path / "data"
    run = subprocess.Popen(
        command(folder, output, *cluster.options), stderr=subprocess.PIPE, text=True
    )
    store = Store(str(output))
    end = time.monotonic() + 300
    while sum(video.is_settled for video in store.videos().values()) < 3:
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    (job,) = [job for job in cluster.ask("/jobs/overview")["jobs"] if job["state"] == "RUNNING"]
    cluster.task_manager[0].send_signal(signal.SIGKILL)
    _, words = run.communicate(timeout=600)
    assert run.returncode == 0, words
    assert cluster.ask("/overview")["taskmanagers"] == 1
    (trouble,) = cluster.ask(f"/jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    assert "no longer reachable" in trouble["stacktrace"]
    assert records(output) == records(local)
    assert ledger(output) == ledger(local)
    assert not list(output.glob("work*"))
