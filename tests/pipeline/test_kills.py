"""Whatever is killed, and when, the data set comes out the same.

`KILLS=100 pytest -m slow tests/pipeline/test_kills.py` for more kills than a test run has time for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.ledger import LedgerRow
from tests.pipeline.conftest import make_video
from tests.pipeline.test_build import contents, records
from tests.processes import children, cmdline

KILLS = int(os.environ.get("KILLS", "20"))


@pytest.fixture
def video_list(videos, server, tmp_path) -> Path:
    """Files and downloads, good and bad, of three portions."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(3):
        make_video(folder / f"{number}.mp4", 5 + 10 * number, 200 + 50 * number)
    urls = [str(path) for path in sorted([*folder.iterdir(), *videos.iterdir()])]
    urls += [f"{server.url}/{name}" for name in ("long.mp4", "other.mkv", "short%20one.mp4")]
    urls += [f"{server.url}/fail/404/a.mp4", f"{server.url}/fail/first/500/1/other.mkv"]
    rows = [{"url": url, "id": f"video {number}"} for number, url in enumerate(urls)]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def command(video_list: Path, output: Path) -> list[str]:
    run = [sys.executable, "-m", "pipeline", "--input", str(video_list), "--output", str(output)]
    run += ["--teachers", "none", "--processes", "2", "--downloads", "2", "--portion", "5"]
    return [*run, "--host-rate", "100", "--allow-local-network", "--validation-share", "0.3"]


def outcomes(output: Path) -> list[tuple]:
    """What the ledgers say of each video, once, but for how long it took and how often."""
    rows = [
        LedgerRow.from_json(line)
        for path in sorted(output.glob("ledger-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return sorted((r.video_id, r.outcome, r.cause, r.clips, r.media_seconds, r.facts) for r in rows)


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(video_list, tmp_path):
    """The launcher with all it started, or alone, or one of those that it started."""
    calm = tmp_path / "calm"
    started = time.monotonic()
    subprocess.run(command(video_list, calm), check=True, capture_output=True)
    seconds = time.monotonic() - started
    expected, told = contents(calm), outcomes(calm)
    assert len(records(calm)) == 13
    chance = random.Random(0)
    kills = sets = 0
    while kills < KILLS:
        output = tmp_path / f"set {sets}"
        sets += 1
        while True:
            process = subprocess.Popen(
                command(video_list, output), start_new_session=True, stderr=subprocess.PIPE
            )
            try:
                _, words = process.communicate(timeout=chance.uniform(0.2, 1.1) * seconds)
                assert process.returncode == 0, words.decode()
                break
            except subprocess.TimeoutExpired:
                kills += 1
                kill_something(process, chance)
                process.communicate()
        assert contents(output) == expected
        assert outcomes(output) == told
        assert not list(output.glob("work*"))


def kill_something(process: subprocess.Popen, chance: random.Random) -> None:
    """SIGKILL for the launcher, at times with all that it started, in any order."""
    below = children(process.pid)
    chance.shuffle(below)
    victims = {"alone": [process.pid], "all": [*below, process.pid], "first": [process.pid, *below]}
    for victim in victims[chance.choice(list(victims))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


@pytest.mark.slow
def test_an_ffmpeg_or_a_download_that_is_killed_is_tried_again(video_list, tmp_path):
    """As where memory runs out and the system chooses whom to kill."""
    calm, output = tmp_path / "calm", tmp_path / "data"
    subprocess.run(command(video_list, calm), check=True, capture_output=True)
    process = subprocess.Popen(command(video_list, output), stderr=subprocess.DEVNULL)
    killed: set[int] = set()
    while process.poll() is None:
        for pid in set(children(process.pid)) - killed:
            at_work = re.search(rb"-filter_threads|downloads.downloading", cmdline(pid))
            if at_work and len(killed) < 3:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.05)
    assert process.wait() == 0
    assert len(killed) == 3
    assert contents(output) == contents(calm)
    assert outcomes(output) == outcomes(calm)
