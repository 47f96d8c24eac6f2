"""`--dry-run` tells and checks, and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.test_build import SETTINGS, build, rows_of


def dry_run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "--dry-run", "--validation-share", "0"]
    return subprocess.run(
        [*command, "--allow-local-network", "--exact-frames", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
    )


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_sample_is_taken_all_the_way_and_nothing_is_written(videos, server, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{server.url}/long.mp4\n\n")
    shown = dry_run("--input", listed, "--output", tmp_path / "data", "--media", tmp_path / "kept")
    assert shown.returncode == 0, shown.stderr
    assert "1 videos would be read" in shown.stdout
    assert "1 from 127.0.0.1" in shown.stdout
    assert "imagenet sees " in shown.stdout
    assert "441000 samples, 4 label steps; it reads back" in shown.stdout
    assert sorted(os.listdir(tmp_path)) == ["list.txt"]


def test_a_sample_that_fails_says_why(videos, server, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{server.url}/fail/404/a.mp4\n")
    shown = dry_run("--input", listed, "--output", tmp_path / "data", "--teachers", "none")
    assert shown.returncode == 1
    assert "fails as not_found: " in shown.stdout
    assert sorted(os.listdir(tmp_path)) == ["list.txt"]


@pytest.mark.slow
def test_what_is_there_is_left_as_it_is(videos, tmp_path):
    output = tmp_path / "data"
    rows = [row for row in rows_of(videos) if row.video_id != "other"]
    build(rows, [], str(output), SETTINGS)
    before = contents(output)
    shown = dry_run("--input", videos, "--output", output, "--retry", "too_short")
    assert shown.returncode == 0, shown.stderr
    assert "are in" in shown.stdout
    assert "1 too_short, to be tried again" in shown.stdout
    assert contents(output) == before
    refused = dry_run("--input", videos, "--output", output, "--audio-codec", "mp3")
    assert refused.returncode == 2
    assert "audio_codec is 'flac' there and 'mp3' here" in refused.stderr
    assert contents(output) == before
