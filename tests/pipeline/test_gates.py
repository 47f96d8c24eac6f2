"""What is measured of clips, and which are left out."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest

import media
from media import Segment, process
from pipeline import gates
from pipeline.build import build
from pipeline.settings import Settings
from schemas import SchemaError
from schemas.ledger import CAUSES
from schemas.video_list import VideoRow
from schemas.waveform import SAMPLE_RATE
from tests.pipeline.test_build import records

SETTINGS = Settings(teachers=(), validation_share=0)


def segment(pcm, frames=(0, 100)) -> Segment:
    pictures = [np.full((64, 64, 3), value, np.uint8) for value in frames]
    return Segment(0, 20.0, pcm, pictures, [2.5 + 5 * n for n in range(len(pictures))])


def tone(level: float) -> np.ndarray:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return np.round(32767 * level * np.sin(880 * np.pi * time)).astype(np.int16)


def test_loudness_is_in_decibels_of_full_scale():
    assert gates.measure(segment(tone(1.0)), 0, False).loudness == pytest.approx(-3.0, abs=0.1)
    assert gates.measure(segment(tone(0.01)), 0, False).loudness == pytest.approx(-43.0, abs=0.1)
    facts = gates.measure(segment(np.zeros(SAMPLE_RATE, np.int16)), 3, False)
    assert (facts.number, facts.loudness, facts.seconds, facts.start_seconds) == (3, -120, 1, 20)


def test_each_gate_is_a_switch():
    silent = gates.measure(segment(np.zeros(SAMPLE_RATE, np.int16)), 0, False)
    static = gates.measure(segment(tone(0.5), (7, 7, 7)), 0, False)
    assert gates.fault(silent, ["silent", "static"]) == "silent"
    assert gates.fault(silent, ["static"]) == ""
    assert gates.fault(static, ["silent", "static"]) == "static"
    assert gates.fault(static, []) == ""


def test_of_one_picture_nobody_can_say_whether_it_moves():
    facts = gates.measure(segment(tone(0.5), (7,)), 0, False)
    assert facts.motion is None
    assert gates.fault(facts, ["static"]) == ""


def test_every_gate_is_a_cause_of_the_ledger():
    assert set(gates.GATES) < set(CAUSES)
    with pytest.raises(SchemaError, match="no gate 'ugly'; there are silent"):
        dataclasses.replace(SETTINGS, drop=("ugly",))


@pytest.fixture(scope="module")
def odd_videos(tmp_path_factory) -> Path:
    """One good video with its copies, one without a sound to hear, one without anything to see
    move, and one that falls silent after 20 s."""
    folder = tmp_path_factory.mktemp("odd")

    def make(name: str, picture: str, sound: str, *options: str) -> None:
        inputs = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound)
        codecs = options or ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
        command = [process.binary(), "-v", "error", "-y", *inputs, "-shortest", *codecs]
        subprocess.run([*command, str(folder / name)], check=True, timeout=60)

    moving = "mandelbrot=size=160x120:rate=10"
    chirp = "aevalsrc='0.3*sin(2*PI*t*(200+40*t))':d=11:s=44100"
    make("good.mp4", moving, chirp)
    make("mute.mp4", moving, "anullsrc=r=44100:d=11")
    make("slide.mp4", "color=c=gray:size=160x120:rate=10", "sine=frequency=300:duration=11")
    make("fades.mp4", moving, "aevalsrc='0.3*sin(2*PI*t*500)*lt(t,20)':d=40:s=44100")
    (folder / "good copy.mp4").write_bytes((folder / "good.mp4").read_bytes())
    subprocess.run(
        [
            *(process.binary(), "-v", "error", "-y", "-i", str(folder / "good.mp4")),
            *("-vf", "scale=128:96", "-c:v", "libx264", "-crf", "30", "-c:a", "libmp3lame"),
            *("-b:a", "64k", str(folder / "good again.mkv")),
        ],
        check=True,
        timeout=60,
    )
    return folder


def rows_of(folder: Path) -> list[VideoRow]:
    return [VideoRow(path.stem, str(path)) for path in sorted(folder.iterdir())]


def test_what_the_gates_leave_out_is_counted_and_named(odd_videos, tmp_path):
    settings = dataclasses.replace(SETTINGS, drop=("silent", "static"))
    summary = build(rows_of(odd_videos), [], str(tmp_path), settings, processes=2)
    outcomes = {row.video_id: row.cause or row.outcome for row in summary.rows.values()}
    assert outcomes == {
        "good": "done",
        "good copy": "done",
        "good again": "done",
        "fades": "done",
        "mute": "silent",
        "slide": "static",
    }
    fades = summary.rows["fades"]
    assert (fades.clips, fades.dropped, fades.media_seconds) == (1, {"silent": 1}, 20)
    assert summary.rows["mute"].dropped == {"silent": 1}
    assert "nothing but silence" in summary.rows["mute"].message
    assert "train:fades/0" in records(tmp_path)


def test_copies_are_left_out_and_their_original_is_named(odd_videos, tmp_path):
    settings = dataclasses.replace(SETTINGS, drop=("duplicate", "near_duplicate"))
    rows = [row for row in rows_of(odd_videos) if row.video_id.startswith("good")]
    summary = build(rows, [], str(tmp_path / "data"), settings)
    kept = [row for row in summary.rows.values() if row.outcome == "done"]
    lost = {row.video_id: row for row in summary.rows.values() if row.cause}
    assert len(kept) == 1
    for row in lost.values():
        assert row.message == f"clip 0 repeats {kept[0].video_id}/0, and no other is left"
        assert row.dropped == {row.cause: 1}
    assert "near_duplicate" in {row.cause for row in lost.values()}
    assert len(records(tmp_path / "data")) == 1
    # One of the two equal files must be known as such, whichever is first.
    exact = dataclasses.replace(settings, drop=("duplicate",))
    summary = build(rows, [], str(tmp_path / "exact"), exact)
    assert sorted(row.cause for row in summary.rows.values()) == ["", "", "duplicate"]


def test_copies_of_what_an_earlier_run_read_are_found(odd_videos, tmp_path):
    settings = dataclasses.replace(SETTINGS, drop=("duplicate", "near_duplicate"))
    first, *others = [row for row in rows_of(odd_videos) if row.video_id.startswith("good")]
    build([first], [], str(tmp_path), settings)
    summary = build([first, *others], [], str(tmp_path), settings)
    assert {row.video_id for row in summary.rows.values() if row.cause} == {
        row.video_id for row in others
    }


def test_real_videos_are_not_taken_for_each_other(data_dir):
    """And one that is encoded anew is."""
    twins = gates.Twins(["near_duplicate"])
    folder = data_dir / "videos"
    found = 0
    for path in itertools.islice(sorted(folder.glob("*.mp4")), 12):
        for part in media.extract(path, end=20.0, pictures="keyframes"):
            facts = gates.measure(part, part.index, likeness=True)
            assert twins.see(path.stem, facts) is None
            found += 1
    assert found >= 12
    for path in itertools.islice(sorted(folder.glob("*.mp4")), 2):
        (part, *_) = media.extract(path, end=20.0)
        facts = gates.measure(part, 0, likeness=True)
        assert twins.see("again", facts) == ("near_duplicate", f"{path.stem}/0")
