"""The authors' release, in small and in their format, becomes a data set that a network learns
from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import media
from media import process
from pipeline.__main__ import main
from pipeline.authors import release as authors
from pipeline.authors.release import TEACHERS, Listed, Release
from schemas import SchemaError, classes, tfrecord
from schemas.clip import ClipRecord
from schemas.dataset_info import DatasetInfo
from schemas.ledger import LedgerRow
from schemas.video_list import BadRow
from tests.conftest import ROOT

PREFIX = "/data/vision/torralba/crossmodal/flickr_videos/soundnet/frames/"


def frame(video: str, number: int) -> str:
    """A line of a list; `video` as in `videos/1/2/123`."""
    return f"{PREFIX}{video}.mp4/{number:08d}.jpg"


class Small:
    """A release in a folder, made list by list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lists", "features", "mp3"):
            (folder / name).mkdir(parents=True)

    def sound(self, video: str, seconds: float, tone: int = 440, volume: float = 1) -> Path:
        """An MP3 as theirs: stereo, 44,100 Hz; the tone is in the first channel alone."""
        path = self.folder / "mp3" / f"{video}.mp4.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        left = f"sine=frequency={tone}:duration={seconds}:sample_rate=44100"
        right = f"anullsrc=channel_layout=mono:sample_rate=44100:duration={seconds}"
        join = f"[0:a]volume={volume}[left];[left][1:a]join=inputs=2"
        command = [process.binary(), "-v", "error", "-y", "-f", "lavfi", "-i", left]
        command += ["-f", "lavfi", "-i", right, "-filter_complex", join]
        subprocess.run([*command, "-c:a", "libmp3lame", path], check=True, timeout=60)
        return path

    def list(self, split: str, number: int, lines: list[str], seed: int = 0) -> dict:
        """Write a list with labels drawn at random; returns these, by teacher (lines, classes)."""
        name = f"{split}_frames4_{number:04d}.txt"
        (self.folder / "lists" / name).write_text("".join(f"{line}\n" for line in lines))
        rng = np.random.default_rng([seed, number])
        labels = {}
        for kind, teacher, count in (("IMNET", "imagenet", 1000), ("PLACES2", "places", 401)):
            powers = np.exp(rng.normal(0, 3, (len(lines), count)))
            labels[teacher] = (powers / powers.sum(1, keepdims=True)).astype("<f4")
            path = self.binary(kind, split, number)
            path.parent.mkdir()
            labels[teacher].tofile(path)
        return labels

    def binary(self, kind: str, split: str, number: int) -> Path:
        folder = f"VGG16_{kind}_{split.upper()}_B{number:04d}"
        return self.folder / "features" / folder / "prob"

    def command(self, output: Path, *options: str) -> list[str]:
        lists = sorted(str(path) for path in (self.folder / "lists").iterdir())
        return [
            *("import", "--lists", *lists, "--labels", str(self.folder / "features")),
            *("--sounds", str(self.folder / "mp3"), "--output", str(output)),
            *("--processes", "2", *options),
        ]


def records(output: Path) -> dict[str, list[ClipRecord]]:
    info = DatasetInfo.from_json((output / "dataset_info.json").read_text())
    found = {}
    for split, shards in info.splits.items():
        found[split] = []
        for shard in shards:
            with (output / shard.file).open("rb") as file:
                found[split] += [ClipRecord.from_bytes(data) for data in tfrecord.read(file)]
    return found


def ledger(output: Path) -> dict[str, LedgerRow]:
    rows = {}
    for path in sorted(output.glob("ledger-*.jsonl")):
        for line in path.read_text().splitlines():
            row = LedgerRow.from_json(line)
            assert row.video_id not in rows
            rows[row.video_id] = row
    return rows


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A release with all that can be wrong with a video, and the data set made of it."""
    small = Small(tmp_path_factory.mktemp("authors"))
    small.sound("videos/1/2/1200", 26)
    small.sound("videos2/3/4/3400", 11.3, 660)
    small.sound("videos/5/5500", 3, 880)
    small.sound("videos/6/6600", 20.2, 550)
    small.sound("videos/7/7700", 0.4)
    small.sound("videos/8/8800", 6, volume=0)
    broken = small.sound("videos/9/9900", 5)
    broken.write_bytes(b"this is no MP3 at all\n" * 40)
    lines = [
        *(frame("videos/1/2/1200", n) for n in (1, 2, 3, 4)),  # rows 0..3
        *(frame("videos2/3/4/3400", n) + " 0" for n in (1, 2, 3, 4)),  # rows 4..7
        "not/a/frame.jpg",  # row 8
        frame("videos/5/5500", 1),  # row 9
        *(frame("videos/6/6600", n) for n in (1, 2)),  # rows 10, 11: NaN
        frame("videos/7/7700", 1),  # row 12
        frame("videos/8/8800", 1),  # row 13
        frame("videos/9/9900", 1),  # row 14
        frame("videos/4/0400", 1),  # row 15: no such sound
        *(frame("videos/2/0200", n) for n in (1, 2, 3, 4, 5)),  # rows 16..20: too many
        frame("videos/5/5500", 2),  # row 21: again
    ]
    train = small.list("train", 1, lines)
    places = np.memmap(small.binary("PLACES2", "train", 1), "<f4", "r+").reshape(-1, 401)
    places[11, 400] = np.nan
    places.flush()
    small.sound("videos/3/0300", 20, 330)
    small.sound("videos/3/0301", 5, 330)
    small.sound("videos/3/0302", 5, 350)
    again = [frame("videos/1/2/1200", n) for n in (1, 2, 3, 4)]  # in the other split too
    lines = [
        frame("videos/3/0300", 1),
        *again,
        frame("videos/3/0301", 1),
        frame("videos/3/0302", 1),
    ]
    val = small.list("val", 1, lines, seed=1)
    imagenet = np.memmap(small.binary("IMNET", "val", 1), "<f4", "r+").reshape(-1, 1000)
    imagenet[5] *= 1.01
    imagenet[6, :2] = -0.25, 0.25
    imagenet.flush()
    output = small.folder / "data"
    assert main(small.command(output, "--drop", "silent")) == 0
    return small, output, train, val


def test_each_video_has_its_own_labels_and_sound(imported):
    small, output, train, val = imported
    found = records(output)
    clips = {record.video_id: record for record in found["train"]}
    assert clips.keys() == {"1200", "3400", "5500"}
    assert [record.video_id for record in found["validation"]] == ["0300"]
    # first row, label steps with sound, samples
    wanted = {"1200": (0, 4, 441_000), "3400": (4, 2, 220_500), "5500": (9, 1, None)}
    for video_id, (first, steps, samples) in wanted.items():
        clip = clips[video_id]
        for teacher, labels in train.items():
            expected = labels[first : first + steps].astype(np.float16)
            np.testing.assert_array_equal(clip.probs[teacher], expected)
        assert clip.frame_times == [2.5, 7.5, 12.5, 17.5][:steps]
        sound = media.load_waveform(small.folder / "mp3" / clip.url, channels="first")
        np.testing.assert_array_equal(clip.pcm, (sound * 128).astype(np.int16)[: steps * 110_250])
        assert samples is None or len(clip.pcm) == samples
        assert np.abs(clip.pcm).max() > 2000  # the first channel, not the mean with a silent one
    assert clips["5500"].url == "videos/5/5500.mp4.mp3"
    (clip,) = found["validation"]
    assert len(clip.pcm) == 110_250  # one frame, though there are 20 s of sound
    np.testing.assert_array_equal(clip.probs["places"], val["places"][:1].astype(np.float16))


def test_what_can_not_be_used_is_in_the_ledger_by_its_cause(imported):
    _, output, *_ = imported
    rows = ledger(output)
    failed = {v: row for v, row in rows.items() if row.cause and row.cause != "bad_row"}
    causes = {video_id: (row.stage, row.cause) for video_id, row in failed.items()}
    assert causes == {
        "6600": ("teach", "bad_labels"),
        "7700": ("extract", "too_short"),
        "8800": ("extract", "silent"),
        "9900": ("extract", "unreadable"),
        "0400": ("extract", "not_found"),
        "0301": ("teach", "bad_labels"),
        "0302": ("teach", "bad_labels"),
    }
    assert failed["6600"].message == "places, rows from 10 on: label step 1 holds NaN or infinity"
    assert "label step 0 add up to 1.01" in failed["0301"].message
    assert "label step 0 holds -0.25" in failed["0302"].message
    assert failed["0301"].split == "validation"
    assert "0400.mp4.mp3" in failed["0400"].message
    bad = sorted(row.message for row in rows.values() if row.cause == "bad_row")
    assert bad == [
        "line 17: 5 frames of videos/2/0200.mp4; 4 are the most",
        "line 22: the video 5500 stands in train_frames4_0001.txt:10 already",
        "line 2: the video 1200 stands in train_frames4_0001.txt:1 already",
        "line 9 names no frame: not/a/frame.jpg",
    ]
    done = rows["3400"]
    assert done.extra == {"list": "train_frames4_0001.txt", "line": "5", "steps": "4"}
    assert (done.clips, done.media_seconds) == (1, 10.0)
    assert done.bytes > 10_000


def test_the_data_set_says_who_taught(imported):
    _, output, *_ = imported
    info = DatasetInfo.from_json((output / "dataset_info.json").read_text())
    assert {t.name: t.classes for t in info.teachers} == {
        "imagenet": list(classes.load("imagenet1000")),
        "places": list(classes.load("places401")),
    }
    assert info.channels == "first"
    assert (info.records("train"), info.records("validation")) == (3, 1)


def test_a_second_run_does_only_what_is_missing(imported, capsys):
    small, output, *_ = imported
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    command = small.command(output, "--drop", "silent")
    assert main(command) == 0
    assert "0 videos in this run" in capsys.readouterr().out
    assert {p.name: p.read_bytes() for p in output.iterdir() if p.is_file()} == before
    small.sound("videos/4/0400", 5)
    assert main([*command, "--retry", "not_found"]) == 0
    (small.folder / "mp3" / "videos/4/0400.mp4.mp3").unlink()
    assert "1 videos in this run" in capsys.readouterr().out
    assert "0400" in {record.video_id for record in records(output)["train"]}
    assert main(small.command(output, "--audio-codec", "pcm")) == 2
    assert "audio_codec is 'flac' there and 'pcm' here" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_learns_from_it(imported, tmp_path):
    _, output, *_ = imported
    command = [sys.executable, "-m", "trainer.task", "--data", str(output)]
    command += ["--model-dir", str(tmp_path), "--depth", "5", "--batch-size", "2", "--steps", "2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 0 < summary["train"]["loss"] < 10
    assert 0 < summary["validation"]["loss"] < 10


@pytest.fixture
def small(tmp_path) -> Small:
    """A release of one video with two label steps."""
    small = Small(tmp_path / "authors")
    small.sound("videos/1/0100", 10)
    small.list("train", 7, [frame("videos/1/0100", n) for n in (1, 2)])
    return small


def refused(small: Small, capsys) -> str:
    output = small.folder / "data"
    assert main(small.command(output)) == 2
    assert not output.exists()
    return capsys.readouterr().err


def test_binaries_of_another_size_are_refused_before_anything_is_written(small, capsys):
    binary = small.binary("IMNET", "train", 7)
    whole = binary.read_bytes()
    binary.write_bytes(whole[:-1])
    said = refused(small, capsys)
    assert f"{binary} has 7,999 bytes; 2 lines of" in said
    assert "x 1000 classes x 4 bytes are 8,000" in said
    binary.unlink()
    small.binary("PLACES2", "train", 7).write_bytes(whole)  # the other teacher's
    said = refused(small, capsys)
    assert f"there is no {binary}" in said
    assert "x 401 classes x 4 bytes are 3,208" in said


def test_lists_that_can_not_be_told_apart_are_refused(small, capsys):
    lists = small.folder / "lists"
    (lists / "train_frames4_0007.txt").rename(lists / "frames.txt")
    assert "frames.txt is not called as the authors' lists are" in refused(small, capsys)
    (lists / "frames.txt").rename(lists / "train_frames4_0007.txt")
    path = lists / "train_frames4_0007.txt"
    path.write_text(path.read_text().replace("\n", "\n\n", 1))
    assert "train_frames4_0007.txt: line 2 is empty" in refused(small, capsys)
    path.write_text("\n")
    assert "train_frames4_0007.txt is empty" in refused(small, capsys)


def test_a_folder_of_sounds_that_is_not_there_is_refused(small, capsys):
    (small.folder / "mp3").rename(small.folder / "sounds")
    assert "there is no folder" in refused(small, capsys)


def test_names_do_not_lead_out_of_the_folder(tmp_path):
    path = tmp_path / "train_frames4_0001.txt"
    hostile = [
        "/frames/videos/../../../etc/1.mp4/00000001.jpg",
        "/frames/../videos/1/1.mp4/00000001.jpg",
        "/frames/videos/1/../1.mp4/00000001.jpg",
        "frames/videos/1/1.mp4/../0001.jpg",
    ]
    good = ["frames/videos/1/2/12.mp4/00000001.jpg", "x/frames/videos2/..mp4/abcdefgh.jpg\t3"]
    path.write_text("\n".join([*hostile, *good]))
    *bad, one, two = authors.read_list(path)
    assert [type(entry) for entry in bad] == [BadRow] * len(hostile)
    assert one == Listed("12", 5, 1, "videos/1/2/12.mp4.mp3")
    assert two == Listed(".", 6, 1, "videos2/..mp4.mp3")


def test_labels_are_not_read_into_memory(small):
    release = Release(str(small.folder / "features"), str(small.folder / "mp3"))
    binary = small.binary("IMNET", "train", 7)
    os.truncate(binary, 8000 * 10**7)  # 80 GB, of which the disk holds none
    rows = release.open(TEACHERS[0], "train_frames4_0007.txt")
    assert isinstance(rows, np.memmap)
    assert rows.shape == (2 * 10**7, 1000)
    assert not authors.fault(np.array(rows[:2]))
    assert authors.fault(np.array(rows[-2:])) == "the probabilities of label step 0 add up to 0"


def test_a_list_is_refused_that_is_not_the_authors(tmp_path):
    with pytest.raises(SchemaError, match=r"urls_public\.txt is not called"):
        authors.split_of(tmp_path / "urls_public.txt")


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_shards(tmp_path):
    small = Small(tmp_path / "authors")
    one = small.sound("videos/0/0000", 12)
    lines = []
    for number in range(60):
        path = one.parent.parent / str(number % 10) / f"{number:04d}.mp4.mp3"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.hardlink_to(one)
        lines += [frame(f"videos/{number % 10}/{number:04d}", n) for n in (1, 2)]
    small.list("train", 1, lines[:60])
    small.list("train", 2, lines[60:])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(small.command(whole)) == 0
    command = [sys.executable, "-m", "pipeline", *small.command(killed)]
    kills = 0
    for marks, work in ((5, "work-00000"), (20, "work-00000"), (10, "work-00001")):
        running = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        while running.poll() is None:
            if len(list((killed / work).glob("*.json"))) >= marks:
                os.killpg(running.pid, signal.SIGKILL)
                kills += running.wait() == -signal.SIGKILL
                break
            time.sleep(0.02)
    assert kills == 3
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    shards = {path.name: path.read_bytes() for path in whole.glob("*.tfrecord")}
    assert len(shards) == 2
    assert {path.name: path.read_bytes() for path in killed.glob("*.tfrecord")} == shards
    assert ledger(killed).keys() == ledger(whole).keys()
