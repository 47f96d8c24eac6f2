"""Reports on data sets written here: every figure against one worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import media
from pipeline import gates
from pipeline.report import ledgers
from pipeline.report.command import ReportSettings, main, report
from pipeline.store import Store
from schemas import SchemaError, tfrecord
from schemas.clip import ClipRecord
from schemas.dataset_info import DatasetInfo, RunInfo, ShardInfo, TeacherInfo
from schemas.ledger import ClipFacts, LedgerRow
from schemas.waveform import SAMPLE_RATE
from tests.conftest import ROOT, opened, requests

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e\ud800"
OBJECTS = TeacherInfo("objects", "vgg16", ["cat", "dog", "drum", "harp"], "caffe", "0" * 64)
SCENES = TeacherInfo("scenes", "squeezenet", ["/o/office", "/b/beach"], "caffe", "1" * 64)


def write(
    folder: Path,
    runs: list[list[LedgerRow]] | None = None,
    clips: dict[str, list[ClipRecord]] | None = None,
    teachers: tuple[TeacherInfo, ...] = (OBJECTS, SCENES),
    shards: int = 1,
    seconds: tuple[dict[str, float], ...] = (),
    **settings,
) -> str:
    """A data set as the pipeline leaves one, of one run of what the clips are of if no rows are
    given; returns its folder."""
    folder.mkdir()
    if runs is None:
        numbers = Counter((r.video_id, split) for split, rs in clips.items() for r in rs)
        runs = [[done(*video, tuple(map(fact, range(n)))) for video, n in numbers.items()]]
    splits = {}
    for split, records in (clips or {}).items():
        splits[split] = []
        for number in range(shards):
            part = records[number::shards]
            data = b"".join(tfrecord.frame(record.to_bytes()) for record in part)
            name = f"{split}-{number:05d}.tfrecord"
            (folder / name).write_bytes(data)
            splits[split].append(ShardInfo(name, len(part), len(data)))
    ledgers = []
    for number, rows in enumerate(runs):
        name = f"ledger-{number:05d}.jsonl"
        (folder / name).write_text("".join(row.to_json() + "\n" for row in rows))
        spent = seconds[number] if seconds else {}
        ledgers.append(RunInfo(name, {"ffmpeg": f"{5 + number}"}, spent))
    info = DatasetInfo(list(teachers), "flac", splits=splits, runs=ledgers, **settings)
    (folder / "dataset_info.json").write_text(info.to_json())
    return str(folder)


def clip(video_id: str, number: int = 0, teachers=(OBJECTS, SCENES), **fields) -> ClipRecord:
    """A clip of two label steps with probabilities drawn by its id."""
    draw = np.random.default_rng(ledgers.short_hash(f"{video_id}/{number}"))
    pcm = draw.integers(-9000, 9000, 2 * SAMPLE_RATE).astype(np.int16)
    probs = {
        teacher.name: draw.dirichlet([0.3] * len(teacher.classes), 2).astype(np.float16)
        for teacher in teachers
    }
    url = f"https://videos.example/{video_id}"
    usual = ClipRecord(video_id, number, url, 20.0 * number, pcm, "flac", [0.5, 1.5], probs)
    return dataclasses.replace(usual, **fields)


def fact(number: int = 0, **fields) -> ClipFacts:
    sound = f"{ledgers.short_hash(str(fields)):016x}"
    usual = ClipFacts(number, 0.0, seconds=10.0, loudness=-20.0, motion=30.0, sound=sound)
    return dataclasses.replace(usual, **fields)


def done(video_id: str, split: str = "train", facts: tuple = (), **fields) -> LedgerRow:
    facts = facts or (fact(sound=f"{ledgers.short_hash(video_id):016x}"),)
    length = sum(fact.seconds for fact in facts)
    usual = LedgerRow(
        video_id,
        f"https://videos.example/{video_id}",
        split,
        "write",
        "done",
        clips=len(facts),
        media_seconds=length,
        bytes=1_000_000,
        facts=facts,
    )
    return dataclasses.replace(usual, **fields)


def failed(video_id: str, cause: str, message: str = "", stage: str = "download", **fields):
    url = fields.pop("url", f"https://videos.example/{video_id}")
    return LedgerRow(video_id, url, "train", stage, "failed", cause, message, **fields)


def look(folder: str, **settings) -> dict:
    return report(ReportSettings(folder, **settings), Console(file=io.StringIO()))


def terminal(folder: str, **settings) -> str:
    """What the report looks like on a terminal."""
    out = io.StringIO()
    console = Console(file=out, width=120, markup=False, emoji=False, highlight=False)
    report(ReportSettings(folder, **settings), console)
    return out.getvalue()


@pytest.fixture(scope="module")
def ten_videos(tmp_path_factory) -> str:
    """Ten videos in two runs; the second settled again what had failed for `network`."""
    gone = "ERROR: [site] {}: the video was removed after 12 days"
    first = [
        done("a"),
        done("b", "validation", (fact(0), fact(1, seconds=4.0)), bytes=3_000_000, url="/b.mp4"),
        failed("c", "network", "reset by peer"),
        failed("d", "network", "reset by peer"),
        *(failed(f"gone{n}", "gone", gone.format(f"x{n}yz")) for n in range(4)),
        failed("mute", "no_audio", "no stream", stage="extract", bytes=500_000),
        failed("hush", "silent", stage="extract", dropped={"silent": 3}),
    ]
    second = [
        done("c", attempts=2, dropped={"duplicate": 1}),
        failed("d", "slow", "took 31 s", attempts=2),
    ]
    return write(tmp_path_factory.mktemp("r") / "data", [first, second])


class TestVideos:
    def test_each_video_counts_once_by_the_last_word_on_it(self, ten_videos):
        found = look(ten_videos)
        assert found["videos"] == {"done": 3, "failed": 7}
        assert found["clips"] == 4
        assert found["hours"] == pytest.approx((10 + 14 + 10) / 3600)
        assert found["attempts"] == {"1": 8, "2": 2}
        assert found["stages"] == {"list": 0, "download": 5, "extract": 2, "teach": 0, "write": 3}
        # "mute" was downloaded, "b" is a file of this machine.
        assert found["bytes"] == 5_500_000
        assert found["bytes_downloaded"] == 2_500_000
        assert found["splits"]["train"]["videos"] == 2
        assert found["splits"]["validation"]["clips"] == 2
        assert found["dropped"] == {"silent": 3, "duplicate": 1}

    def test_causes_come_with_meaning_messages_and_examples(self, ten_videos):
        found = look(ten_videos)
        causes = {lost["cause"]: lost for lost in found["causes"]}
        assert list(causes) == ["gone", "no_audio", "silent", "slow"]
        assert causes["gone"]["meaning"] == "the video was removed"
        assert causes["gone"]["permanent"]
        assert not causes["slow"]["permanent"]
        assert causes["gone"]["stages"] == {"download": 4}
        # Four videos, one message: their ids and the number of days are not told.
        assert causes["gone"]["messages"] == [
            {"message": "ERROR: [site] …: the video was removed after … days", "videos": 4}
        ]
        examples = causes["gone"]["examples"]
        assert {example["video_id"] for example in examples} == {f"gone{n}" for n in range(4)}
        assert "x0yz: the video was removed after 12 days" in str(examples)

    def test_the_terminal_tells_it_in_words(self, ten_videos):
        words = terminal(ten_videos)
        assert "10 videos, 3 done, 7 failed; 4 clips, 34 s of sound; 5.5 MB of media" in words
        assert re.search(r"gone +4 +the video was removed +gone\d, gone\d, gone\d", words)
        assert re.search(r"gone +4 +ERROR: \[site\] …: the video was removed after … days", words)
        assert re.search(r"silent +0 +3", words)

    def test_of_very_many_examples_and_messages_a_few_are_kept(self, tmp_path):
        words = [
            f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(3000)
        ]
        rows = [failed(f"v{n}", "refused", f"said {words[n]}") for n in range(3000)]
        rows += [failed(f"w{n}", "refused", "HTTP Error 403: Forbidden") for n in range(500)]
        found = look(write(tmp_path / "data", [rows]))
        (lost,) = found["causes"]
        assert lost["videos"] == 3500
        assert lost["messages"][0] == {"message": "HTTP Error 403: Forbidden", "videos": 500}
        assert len(lost["messages"]) == ledgers.MESSAGES
        drawn = sorted(rows, key=lambda row: ledgers.short_hash(row.video_id))[: ledgers.EXAMPLES]
        assert [e["video_id"] for e in lost["examples"]] == [row.video_id for row in drawn]

    def test_texts_without_end_do_not_make_a_page_without_end(self, tmp_path):
        long = "x" * 1_000_000
        rows = [
            failed(f"{long}{n}", "refused", long, url=f"https://{long}", extra={long: long})
            for n in range(3)
        ]
        look(write(tmp_path / "data", [rows]), page=str(tmp_path / "page.html"))
        assert (tmp_path / "page.html").stat().st_size < 100_000


class TestSound:
    def test_what_is_found_of_silence_still_pictures_and_duplicates(self, tmp_path):
        rows = [
            done(
                "a", facts=(fact(0, loudness=-90.0, sound="aa"), fact(1, motion=None, sound="bb"))
            ),
            done("b", facts=(fact(0, motion=0.2, sound="aa"), fact(1, sound="cc"))),
            done("c", facts=(fact(0, loudness=-61.0, sound="aa"), fact(1, sound="cc"))),
        ]
        facts = look(write(tmp_path / "data", [rows]))["facts"]
        assert (facts["clips"], facts["clips_without"]) == (6, 0)
        assert (facts["silent"], facts["still"], facts["clips_with_motion"]) == (2, 1, 5)
        assert (facts["shared_sounds"], facts["duplicates"]) == (2, 3)
        assert facts["duplicate_clips"] == [["a/0", "b/0", "c/0"], ["b/1", "c/1"]]
        assert facts["clips_likened"] == 0

    def test_near_duplicates_are_found_where_the_ledger_has_perceptual_hashes(self, tmp_path):
        one = "00ff00ff00ff00ff:1234567812345678"
        near = "00ff00ff00ff00fe:1234567812345678"
        far = "ff00ff00ff00ff00:8765432187654321"
        rows = [
            done(name, facts=(fact(sound=name * 2, likeness=likeness),))
            for name, likeness in (("a", one), ("b", near), ("c", far))
        ]
        facts = look(write(tmp_path / "data", [rows]))["facts"]
        assert (facts["clips_likened"], facts["near_duplicates"]) == (3, 1)
        assert facts["near_duplicate_pairs"] == [["a/0", "b/0"]]
        assert facts["duplicates"] == 0

    def test_lengths_and_loudness_are_spread_over_bins(self, tmp_path):
        loud = [-70.0, -60.0, -33.0, -3.0, 0.0]
        rows = [done(f"v{n}", facts=(fact(0, loudness=level, seconds=2.5 * n + 2),))
                for n, level in enumerate(loud)]  # fmt: skip
        rows.append(
            done("long", facts=tuple(fact(n, seconds=20.0, loudness=-33.0) for n in range(300)))
        )
        found = look(write(tmp_path / "data", [rows]))
        clips = found["loudness"]["clips"]
        assert clips["number"] == 305
        assert {(b["from"], b["to"]): b["count"] for b in clips["bins"] if b["count"]} == {
            (None, -60): 1, (-60, -55): 1, (-35, -30): 301, (-5, None): 2,
        }  # fmt: skip
        assert clips["quantiles"]["50"] == -33.0
        assert clips["quantiles"]["0"] == -70.0
        lengths = found["lengths"]["videos"]
        assert {b["from"]: b["count"] for b in lengths["bins"] if b["count"]} == {
            2: 2, 5: 2, 10: 1, 3600: 1,
        }  # fmt: skip
        assert lengths["mean"] == pytest.approx((2 + 4.5 + 7 + 9.5 + 12 + 6000) / 6)
        assert found["lengths"]["clips"]["bins"][-1] == {"from": 17.5, "to": 20.0, "count": 300}

    def test_a_video_is_as_loud_as_its_clips_together(self, tmp_path):
        """Power adds up, not decibels."""
        quiet_and_loud = (fact(0, loudness=-120.0), fact(1, loudness=-10.0))
        found = look(write(tmp_path / "data", [[done("a", facts=quiet_and_loud)]]))
        assert found["loudness"]["videos"]["mean"] == pytest.approx(-13.0, abs=0.05)

    def test_the_facts_are_what_the_pipeline_measures(self, tmp_path):
        """Of silence, digital and nearly so."""
        frames = [np.zeros((40, 40, 3), np.uint8)] * 2
        segments = [
            media.Segment(n, 0.0, np.full(SAMPLE_RATE, level, np.int16), frames, [0.2, 0.8])
            for n, level in enumerate((0, 1, 30000))
        ]
        facts = tuple(gates.measure(segment, segment.index, likeness=True) for segment in segments)
        found = look(write(tmp_path / "data", [[done("a", facts=facts)]]))["facts"]
        assert (found["silent"], found["still"]) == (2, 3)

    def test_ledgers_of_an_older_version_are_read_and_it_is_said_what_they_lack(self, tmp_path):
        folder = write(tmp_path / "data", None, {"train": [clip("a")]})
        row = json.loads(done("a").to_json())
        del row["facts"], row["dropped"]
        row["seconds"] = 1.25
        (tmp_path / "data" / "ledger-00000.jsonl").write_text(json.dumps(row) + "\n")
        found = look(folder, page=str(tmp_path / "page.html"))
        assert found["videos"]["done"] == 1
        assert not found["damage"]
        assert (found["facts"]["clips"], found["facts"]["clips_without"]) == (0, 1)
        assert found["throughput"] == []
        for words in (terminal(folder), (tmp_path / "page.html").read_text()):
            assert "made by an older version" in re.sub(r"\s+", " ", words)


@pytest.fixture(scope="module")
def drawn_clips() -> dict[str, list[ClipRecord]]:
    clips = [clip(f"v{n}", number) for n in range(20) for number in range(2)]
    return {"train": clips[:34], "validation": clips[34:]}


class TestClasses:
    def test_they_are_counted_as_numpy_would(self, drawn_clips, tmp_path):
        found = look(write(tmp_path / "data", None, drawn_clips, shards=3))
        assert not found["damage"]
        assert found["shards"] == {"read": 6, "of": 6, "records": 40}
        for said, teacher in zip(found["teachers"], (OBJECTS, SCENES), strict=True):
            records = drawn_clips["train"] + drawn_clips["validation"]
            each = np.stack([r.probs[teacher.name] for r in records]).astype(np.float64)
            each /= each.sum(axis=-1, keepdims=True)
            steps = each.reshape(-1, len(teacher.classes))
            mean = steps.mean(axis=0)
            assert (said["label_steps"], said["clips"]) == (80, 40)
            for index, name in enumerate(teacher.classes):
                (of,) = [of for of in said["classes"] if of["name"] == name]
                assert of["label_steps"] == (steps.argmax(axis=1) == index).sum()
                assert of["clips"] == (each.mean(axis=1).argmax(axis=1) == index).sum()
                assert of["mean_probability"] == pytest.approx(mean[index], abs=1e-6)
            counts = [of["label_steps"] for of in said["classes"]]
            assert counts == sorted(counts, reverse=True)

            def bits(probs):
                return -np.sum(probs * np.log2(np.maximum(probs, 1e-30)), axis=-1)

            entropy = said["entropy_bits"]
            assert entropy["of_the_mean"] == pytest.approx(bits(mean), abs=1e-5)
            assert entropy["mean"] == pytest.approx(bits(steps).mean(), abs=1e-5)
            assert entropy["most"] == pytest.approx(math.log2(len(teacher.classes)))
            assert said["mean_confidence"] == pytest.approx(steps.max(axis=1).mean(), abs=1e-6)

    def test_classes_never_seen_are_counted_and_named(self, tmp_path):
        sure = np.float16([[0, 1, 0, 0], [0, 0.9, 0.1, 0]])
        records = [clip("a", teachers=(OBJECTS,), probs={"objects": sure})]
        folder = write(tmp_path / "data", None, {"train": records}, (OBJECTS,))
        (said,) = look(folder, page=str(tmp_path / "page.html"))["teachers"]
        assert said["classes_never_seen"] == 3
        assert said["entropy_bits"]["mean"] == pytest.approx(0.469 / 2, abs=1e-3)
        page = (tmp_path / "page.html").read_text()
        assert "Never the likeliest: 3 classes" in page
        assert "cat, drum, harp" in page

    def test_a_few_shards_can_stand_for_all(self, drawn_clips, tmp_path):
        folder = write(tmp_path / "data", None, drawn_clips, shards=4)
        found = look(folder, shards=2)
        assert found["shards"]["read"] == 4
        assert found["shards"]["of"] == 8
        assert found["teachers"][0]["clips"] == found["shards"]["records"] < 40
        assert "from 4 of 8 shards" in terminal(folder, shards=2)

    def test_embeddings_are_checked_but_have_no_classes_to_show(self, tmp_path):
        looks = TeacherInfo("looks", "net", ["value 0", "value 1"], "", "0" * 64, "embedding")
        good = clip("a", teachers=(OBJECTS,), embeddings={"looks": np.float16([[-9, 3]] * 2)})
        short = clip("b", teachers=(OBJECTS,), embeddings={"looks": np.float16([[-9]] * 2)})
        folder = write(tmp_path / "data", None, {"train": [good, short]}, (OBJECTS, looks))
        found = look(folder, page=str(tmp_path / "page.html"))
        assert [teacher["name"] for teacher in found["teachers"]] == ["objects"]
        (fault,) = found["damage"]
        assert "looks gave no 2 numbers a label step" in fault["message"]
        assert "<audio" in (tmp_path / "page.html").read_text()

    def test_without_teachers_the_records_are_still_checked(self, tmp_path):
        folder = write(tmp_path / "data", None, {"train": [clip("a", probs={})]}, teachers=())
        found = look(folder, page=str(tmp_path / "page.html"))
        assert found["teachers"] == []
        assert found["shards"]["records"] == 1
        assert "<audio" in (tmp_path / "page.html").read_text()


def test_throughput_of_each_stage(tmp_path):
    first = [
        done("a", media_seconds=36.0, seconds={"download": 2.0, "extract": 1.0}),
        failed("b", "slow", seconds={"download": 8.0}),
        done("c", media_seconds=36.0, seconds={"extract": 3.0}, url="/c.mp4"),
    ]
    second = [done("b", media_seconds=72.0, seconds={"download": 2.0, "extract": 1.0})]
    seconds = ({"read": 20.0, "pack": 1.0, "teach/objects": 4.0}, {"read": 5.0})
    found = look(write(tmp_path / "data", [first, second], seconds=seconds))
    rows = {row["stage"]: row for row in found["throughput"]}
    assert list(rows) == ["download", "extract", "read", "pack", "teach/objects"]
    # The time of the try that failed counts, and so does what it was spent on.
    assert (rows["download"]["seconds"], rows["download"]["videos"]) == (12.0, 3)
    assert rows["download"]["bytes_per_second"] == pytest.approx(2_000_000 / 12)
    assert rows["extract"]["hours_per_hour"] == pytest.approx((36 + 36 + 72) / 5)
    assert rows["read"]["videos_per_second"] == pytest.approx(4 / 25)
    assert rows["pack"]["videos"] == 3
    assert rows["teach/objects"]["videos_per_second"] == pytest.approx(3 / 4)


@pytest.fixture(scope="module")
def mostly_cats() -> dict[str, list[ClipRecord]]:
    """Most are of a cat; three of a harp and one of a drum are among them."""
    probs = {name: np.float16([[*row], [*row]]) for name, row in {
        "cat": (0.7, 0.1, 0.1, 0.1), "drum": (0.1, 0.1, 0.7, 0.1), "harp": (0.1, 0.1, 0.1, 0.7),
    }.items()}  # fmt: skip
    classes = ["cat"] * 56 + ["harp"] * 3 + ["drum"]
    clips = [
        clip(f"{name}{n}", teachers=(OBJECTS,), probs={"objects": probs[name]})
        for n, name in enumerate(classes)
    ]
    return {"train": clips[4:], "validation": clips[:4]}


class TestSamples:
    def ids(self, page: Path) -> list[str]:
        return re.findall(r'<h3 class="id">(.*?)</h3>', page.read_text())

    def test_they_are_of_each_split_and_of_many_classes(self, mostly_cats, tmp_path):
        folder = write(tmp_path / "data", None, mostly_cats, (OBJECTS,))
        look(folder, page=str(tmp_path / "page.html"), samples=8)
        ids = self.ids(tmp_path / "page.html")
        assert len(set(ids)) == 8
        validation = {record.clip_id for record in mostly_cats["validation"]}
        assert len(validation & set(ids)) == 4
        names = sorted(re.sub(r"\d.*", "", name) for name in set(ids) - validation)
        assert set(names) == {"cat", "drum", "harp"}

    def test_they_are_the_same_however_the_records_lie(self, mostly_cats, tmp_path):
        pages = []
        for shards in (1, 5):
            folder = write(tmp_path / f"data{shards}", None, mostly_cats, (OBJECTS,), shards=shards)
            page = tmp_path / f"page{shards}.html"
            look(folder, page=str(page), samples=12)
            pages.append(self.ids(page))
        assert pages[0] == pages[1]

    def test_where_there_are_few_all_are_shown(self, mostly_cats, tmp_path):
        few = {"train": mostly_cats["train"][:3]}
        folder = write(tmp_path / "data", None, few, (OBJECTS,))
        look(folder, page=str(tmp_path / "page.html"))
        page = (tmp_path / "page.html").read_text()
        assert sorted(self.ids(tmp_path / "page.html")) == sorted(c.clip_id for c in few["train"])
        assert "python -m pipeline --frames" in page

    @pytest.mark.parametrize("codec", ["flac", "mp3", "pcm"])
    def test_the_sound_of_every_codec_can_be_played(self, codec, tmp_path):
        import base64

        import soundfile

        folder = write(tmp_path / "data", None, {"train": [clip("a", audio_codec=codec)]})
        look(folder, page=str(tmp_path / "page.html"))
        (sound,) = re.findall(
            r'src="data:audio/mpeg;base64,(.*?)"', (tmp_path / "page.html").read_text()
        )
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)), dtype="int16")
        assert rate == SAMPLE_RATE
        assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=1200)
        assert 3000 < np.abs(samples).mean() < 6000


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        clips = {"train": [clip(f"v{n}") for n in range(6)]}
        rows = [done(f"v{n}") for n in range(6)]
        return Path(write(tmp_path / "data", [rows[:3], rows[3:]], clips, shards=3))

    def test_nothing_is_said_where_there_is_none(self, folder, capsys):
        assert look(str(folder))["damage"] == []
        assert main([str(folder)]) == 0
        assert "Could not be read" not in capsys.readouterr().out

    def test_a_damaged_shard_is_named_and_the_rest_read(self, folder):
        shard = folder / "train-00001.tfrecord"
        data = bytearray(shard.read_bytes())
        at = len(tfrecord.frame(clip("v1").to_bytes()))
        data[at + 500] ^= 1
        shard.write_bytes(data)
        (folder / "train-00002.tfrecord").unlink()
        found = look(str(folder))
        assert found["teachers"][0]["clips"] == 3
        damage = {fault["file"]: fault for fault in found["damage"]}
        assert set(damage) == {"train-00001.tfrecord", "train-00002.tfrecord"}
        assert damage["train-00001.tfrecord"]["message"] == (
            f"the record at byte {at} is damaged: its checksum is wrong; "
            "1 of its 2 records were not read"
        )
        assert "2 of its 2 records were not read" in damage["train-00002.tfrecord"]["message"]

    def test_a_shard_with_fewer_records_than_told_is_named(self, folder):
        shard = folder / "train-00000.tfrecord"
        shard.write_bytes(tfrecord.frame(clip("v0").to_bytes()))
        (fault,) = look(str(folder))["damage"]
        assert fault["message"] == "1 records where there should be 2"

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (b"\xff\xfe", "utf-8"),
            (b"[1, 2]", "can't be read"),
            (b"[" * 100_000, "recursion"),
            (done("x").to_json().replace('"seconds": {}', '"seconds": [3]').encode(), "wrong kind"),
            (b'{"schema_version": 1, "video_id": "x"', "can't be read"),
            (done("x").to_json().encode()[:-20], "can't be read"),
            (done("x").to_json().replace('"clips": 1', '"clips": "many"').encode(), "wrong kind"),
            (done("x").to_json().replace("-20.0", "NaN").encode(), "wrong kind"),
            (done("x").to_json().replace("-20.0", "1" + "0" * 400).encode(), "wrong kind"),
            (done("x").to_json().replace('"extra": {}', '"extra": 3').encode(), "wrong kind"),
            (
                done("x").to_json().replace('"schema_version": 1', '"schema_version": 9').encode(),
                "9",
            ),
        ],
    )
    def test_a_damaged_line_of_a_ledger_is_named_and_the_rest_read(self, folder, line, why):
        ledger = folder / "ledger-00000.jsonl"
        ledger.write_bytes(line + b"\n" + ledger.read_bytes() + b"\n" + line + b"\n")
        found = look(str(folder), page=str(folder / "page.html"))
        assert found["videos"]["done"] == 6
        (fault,) = found["damage"]
        assert (fault["file"], fault["number"]) == (
            "ledger-00000.jsonl",
            3 if False else fault["number"],
        )
        assert fault["number"] in (2, 3)  # the empty line is none either
        assert why in fault["message"]
        assert main([str(folder)]) == 1

    def test_a_record_that_does_not_fit_the_description_is_named(self, tmp_path):
        wrong = [
            clip("good"),
            clip("few", probs={"objects": np.ones((2, 2), np.float16)}),
            clip("nothing", probs={"objects": np.zeros((2, 4), np.float16)}),
            clip("minus", probs={"objects": np.float16([[2, -1, 0, 0]] * 2)}),
        ]
        folder = Path(write(tmp_path / "data", None, {"train": wrong}, (OBJECTS,)))
        found = look(str(folder))
        (fault,) = found["damage"]
        assert fault["number"] == 3
        assert "2 classes where there should be 4" in fault["message"]
        assert found["teachers"][0]["clips"] == 1

    def test_a_lost_ledger_is_named(self, folder):
        (folder / "ledger-00001.jsonl").unlink()
        found = look(str(folder))
        assert found["videos"]["done"] == 3
        damage = {fault["file"]: fault["message"] for fault in found["damage"]}
        assert "No such file" in damage["ledger-00001.jsonl"]
        assert damage["dataset_info.json"] == "train: 6 records, but 3 clips in the ledgers"


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("two")
    same = [done(f"same{n}") for n in range(3)]
    here = [
        *same, done("only here"), done("lost", attempts=1), failed("won", "network", "reset"),
        failed("both", "network", "reset"), failed("alike", "gone", "after 3 days"),
        done("moved"), done("more"), done("other"), done("address"),
    ]  # fmt: skip
    there = [
        *same, done("only there"), failed("lost", "timeout", "ffmpeg took 300 s"),
        done("won", attempts=3), failed("both", "slow", "31 s"),
        failed("alike", "gone", "after 4 days"), done("moved", "validation"),
        done("more", facts=(fact(0), fact(1))), done("other", facts=(fact(sound="abc"),)),
        done("address", url="/videos/address.mp4"),
    ]  # fmt: skip
    scenes = dataclasses.replace(SCENES, sha256="2" * 64, classes=["/o/office", "/f/forest"])
    first = write(root / "here", [here], {"train": [clip("same0")]})
    second = write(
        root / "there", [there[:5], there[5:]], {}, (OBJECTS, scenes), pictures="keyframes"
    )
    return first, second


class TestCompared:
    def test_every_video_that_differs_is_told_with_how_and_why(self, two):
        found = look(two[0], compare=two[1])["compare"]
        ids = {
            kind: [video["video_id"] for video in videos]
            for kind, videos in found["videos"].items()
        }
        assert ids == {
            "only_here": ["only here"],
            "only_there": ["only there"],
            "failed_there": ["lost"],
            "failed_here": ["won"],
            "other_cause": ["both"],
            "other_split": ["moved"],
            "other_clips": ["more"],
            "other_sound": ["other"],
            "other_address": ["address"],
        }
        (lost,) = found["videos"]["failed_there"]
        assert lost["here"]["outcome"] == "done"
        assert (lost["there"]["cause"], lost["there"]["message"]) == (
            "timeout",
            "ffmpeg took 300 s",
        )
        assert (found["videos_here"], found["videos_there"]) == (12, 12)
        assert found["videos_equal"] == 4  # the three, and the one that failed alike

    def test_what_both_were_made_with_is_told_where_it_differs(self, two):
        found = look(two[0], compare=two[1])["compare"]
        assert found["settings"] == [
            {"name": "pictures", "here": "exact", "there": "keyframes"},
            {"name": "version of ffmpeg", "here": "5", "there": "5, 6"},
        ]
        assert found["teachers"] == [
            {"teacher": "scenes", "name": "classes", "here": "2 names, 1 not there",
             "there": "2 names, 1 not here"},
            {"teacher": "scenes", "name": "sha256", "here": "1" * 64, "there": "2" * 64},
        ]  # fmt: skip
        assert found["splits"] == {"train": {"here": 1, "there": 0}}

    def test_a_data_set_equals_itself(self, two):
        found = look(two[0], compare=two[0])["compare"]
        assert found["videos_equal"] == 12
        assert not any(found["videos"].values())
        assert found["settings"] == found["teachers"] == []

    def test_sound_is_compared_only_where_both_ledgers_tell_it(self, two, tmp_path):
        row = done("other")
        old = dataclasses.replace(row, facts=())
        found = look(write(tmp_path / "old", [[old]]), compare=write(tmp_path / "new", [[row]]))
        assert found["compare"]["videos_equal"] == 1

    def test_it_stands_on_the_terminal_and_on_the_page(self, two, tmp_path):
        words = terminal(two[0], compare=two[1], page=str(tmp_path / "page.html"))
        assert "4 videos are the same, of 12 here and 12 there" in words
        assert re.search(r"lost +done, train, 1 clip +timeout: ffmpeg took 300 s", words)
        page = Text((tmp_path / "page.html").read_text()).text
        assert "done here, failed there" in page
        assert "ffmpeg took 300 s" in page


class Text(HTMLParser):
    """What a browser shows of a page, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.links, self.tags, self._in = "", [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._in = tag
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        if self._in not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, str]:
    """A page, and what was on the terminal, of a data set in which every string is hostile."""
    root = tmp_path_factory.mktemp("hostile")
    bad = "javascript:alert(1)"
    teacher = dataclasses.replace(OBJECTS, classes=[f"{HOSTILE[:-1]}{n}" for n in range(4)])
    name = HOSTILE[:-1]  # a record's strings are UTF-8; half a character can't be in one
    rows = [
        done(HOSTILE, url=bad),
        failed(f"{HOSTILE}1", "gone", HOSTILE, url=bad, extra={HOSTILE: HOSTILE}),
        failed(f"{HOSTILE}2", "gone", HOSTILE, url=f"https://videos.example/{HOSTILE}"),
    ]
    clips = [clip(name, url=url, teachers=(teacher,), frames=[b"no JPEG"] * 2)
             for url in (bad, "https://videos.example/'\"><b>")]  # fmt: skip
    folder = write(root / "data", [rows], {"train": clips}, (teacher,), frames=True)
    (Path(folder) / "ledger-00000.jsonl").open("a").write(f"{HOSTILE[:-1]}\n")
    other = write(root / "other", [[failed(HOSTILE, "slow", HOSTILE)]], {}, (teacher,))
    page = root / "page.html"
    words = terminal(folder, page=str(page), compare=other)
    return page, words


def test_hostile_names_stay_text_on_the_page(hostile):
    page = Text(hostile[0].read_text())
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [attrs for _, attrs in page.tags if any(name[:2] == "on" for name in attrs)]
    assert all(attrs["src"].startswith("data:") for tag, attrs in page.tags if tag == "img")
    web = [link for link in page.links if not link.startswith("#")]
    assert web == ["https://videos.example/'\"><b>"]  # the other has a space in it
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "javascript:alert(1)" in page.text


def test_hostile_names_do_not_steer_the_terminal(hostile):
    assert "<script>" in hostile[1]
    assert "\x1b" not in hostile[1]
    assert "\u202e" not in hostile[1]
    hostile[1].encode()


class TestCommand:
    def test_a_folder_that_is_no_data_set(self, tmp_path, capsys):
        assert main([str(tmp_path)]) == 2
        assert f"there is no dataset_info.json in {tmp_path}" in capsys.readouterr().err
        assert main([str(tmp_path / "nowhere")]) == 2
        assert main([f"unheard-of://{tmp_path}"]) == 2

    def test_a_run_under_way_is_told_and_its_files_are_left_alone(self, tmp_path, capsys):
        folder = Path(write(tmp_path / "data", None, {"train": [clip("a")]}))
        (folder / "ledger-00001.jsonl").write_text("half a li")
        (folder / "train-00001.tfrecord").write_bytes(b"half a record")
        store = Store(str(folder), run=1)
        store.write(store.work("recipe.json"), b"{}")
        assert main([str(folder)]) == 0
        words = capsys.readouterr().out
        assert "1 videos, 1 done" in words
        assert "A run is at work" in words

    def test_a_first_run_that_has_finished_nothing(self, tmp_path):
        store = Store(str(tmp_path), run=0)
        store.write(store.work("recipe.json"), b"{}")
        with pytest.raises(SchemaError, match="has finished nothing yet"):
            look(str(tmp_path))

    def test_json_has_what_the_report_has(self, tmp_path, capsys):
        folder = write(tmp_path / "data", None, {"train": [clip("a")]})
        target = tmp_path / "reports" / "data.json"
        assert main([folder, "--json", str(target), "--shards", "1", "--samples", "3"]) == 0
        assert json.loads(target.read_text()) == look(folder, shards=1)

    def test_files_that_cannot_be_written_are_named_after_all_was_shown(self, tmp_path, capsys):
        folder = write(tmp_path / "data", None, {"train": [clip("a")]})
        (tmp_path / "file").write_text("")
        assert main([folder, "--page", str(tmp_path / "file" / "page.html")]) == 2
        told = capsys.readouterr()
        assert "1 videos, 1 done" in told.out
        assert str(tmp_path / "file") in told.err

    def test_files_go_where_one_stands(self, tmp_path, monkeypatch):
        folder = write(tmp_path / "data", None, {"train": [clip("a")]})
        monkeypatch.chdir(tmp_path)
        assert main(["data", "--page", "page.html", "--json", "all.json"]) == 0
        assert (tmp_path / "page.html").is_file()
        assert json.loads((tmp_path / "all.json").read_text())["data"] == folder

    def test_an_empty_data_set(self, tmp_path):
        found = look(write(tmp_path / "data", [[]]), page=str(tmp_path / "page.html"))
        assert found["videos"] == {"done": 0, "failed": 0}
        assert "Clips to look at" not in (tmp_path / "page.html").read_text()

    def test_options_of_an_object_store_go_to_beam_and_others_are_refused(self, tmp_path, capsys):
        folder = write(tmp_path / "data", None, {"train": [clip("a")]})
        assert main([folder, "--s3_region_name=nowhere"]) == 0
        with pytest.raises(SystemExit):
            main([folder, "--sample", "3", "--colour"])
        assert "unknown options --colour" in capsys.readouterr().err

    def test_its_help_names_its_options(self, capsys):
        with pytest.raises(SystemExit):
            main(["--help"])
        words = capsys.readouterr().out
        for option in ("--page", "--compare", "--json", "--samples", "--shards"):
            assert option in words
        assert "python -m pipeline report data --page report.html" in words


MEASURE = """
import io, resource, sys
from rich.console import Console
from pipeline.report.command import ReportSettings, report
found = report(ReportSettings(sys.argv[1], compare=sys.argv[1]), Console(file=io.StringIO()))
print(found["videos"]["done"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_grows_by_hashes_not_by_rows(tmp_path):
    """A row of a ledger is 400 bytes as text, and several times that as objects."""
    peaks = {}
    for rows in (1_000, 101_000):
        folder = write(tmp_path / str(rows), [[]])
        with open(f"{folder}/ledger-00000.jsonl", "w") as file:
            line, sound = done("v0").to_json(), done("v0").facts[0].sound
            for n in range(rows):
                file.write(line.replace("v0", f"v{n}").replace(sound, f"{n:016x}") + "\n")
        told = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEASURE, folder],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert int(told[0]) == rows
        peaks[rows] = int(told[1]) * 1024
    assert (peaks[101_000] - peaks[1_000]) / 100_000 < 300


# The page in a browser.


@pytest.fixture(scope="module")
def real(data_dir, tmp_path_factory) -> str:
    """A data set of real videos, with their pictures, as the usual teacher sees them."""
    from PIL import Image

    import teacher

    root = tmp_path_factory.mktemp("real")
    spec = teacher.parse_spec("imagenet")
    ask = teacher.load(spec)
    rows, clips = [], {"train": [], "validation": []}
    for at, name in enumerate(("0e908b69f9db", "1635973d80c5", "51bc6244e4df", "58ce80734e89")):
        split = ("train", "validation")[at % 2]
        facts = []
        for segment in media.extract(data_dir / "videos" / f"{name}.mp4"):
            frames = []
            for frame in segment.frames:
                out = io.BytesIO()
                Image.fromarray(frame).save(out, "JPEG")
                frames.append(out.getvalue())
            probs = {"imagenet": ask(segment.frames).astype(np.float16)}
            url, start = f"https://videos.example/{name}", segment.start_seconds
            times, number = segment.frame_times, segment.index
            record = ClipRecord(name, number, url, start, segment.pcm, "flac", times, probs, frames)
            clips[split].append(record)
            facts.append(gates.measure(segment, segment.index, likeness=False))
        rows.append(done(name, split, tuple(facts), seconds={"download": 1.0, "extract": 0.5}))
    rows.append(failed("lost", "gone", "the video was removed"))
    info = (teacher.describe(spec),)
    return write(root / "data", [rows], clips, info, frames=True, seconds=({"read": 2.0},))


PLAY = """
const [number, answer] = arguments;
const sound = document.querySelectorAll("audio")[number];
sound.play().then(() => setTimeout(() => answer([sound.readyState, sound.duration,
  sound.currentTime > 0, [...document.querySelectorAll("audio")].map((a) => !a.paused)]), 400),
  (error) => answer(String(error)));
"""


def shown(browser) -> list[str]:
    headings = browser.find_elements("css selector", ".clip h3")
    return [heading.text for heading in headings if heading.is_displayed()]


@pytest.mark.slow
def test_the_page_works_from_disk_in_a_browser(real, browser, tmp_path):
    page = tmp_path / "page.html"
    found = look(real, page=str(page))
    assert page.stat().st_size < 3_000_000
    chrome = opened(browser, page)
    assert chrome.title == real
    assert len(shown(chrome)) == found["clips"] == 5
    lengths = []
    for number in range(5):
        state, length, moved, playing = chrome.execute_async_script(PLAY, number)
        assert state == 4  # enough is there to play to the end
        assert moved
        assert playing == [at == number for at in range(5)]  # one at a time
        lengths.append(length)
    assert sum(lengths) / 5 == pytest.approx(found["lengths"]["clips"]["mean"], abs=0.1)
    heights = chrome.execute_script("return [...document.images].map((i) => i.naturalHeight)")
    assert heights == [256] * found["teachers"][0]["label_steps"]
    for width, height in ((1280, 900), (400, 800)):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wide = chrome.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    assert requests(chrome) <= {"file", "data"}
    assert chrome.get_log("browser") == []


@pytest.mark.slow
def test_the_search_field_shows_only_what_it_asks_for(real, browser, tmp_path):
    page = tmp_path / "page.html"
    look(real, page=str(page))
    chrome = opened(browser, page)
    field = chrome.find_element("css selector", "input[type=search]")
    everything = shown(chrome)
    field.send_keys("Validation bullet")
    assert shown(chrome) == ["1635973d80c5/0"]
    assert chrome.find_element("css selector", "output").text == "1 of 5"
    field.clear()
    field.send_keys("58ce8")
    assert sorted(shown(chrome)) == ["58ce80734e89/0", "58ce80734e89/1"]
    field.send_keys(" no such word")
    assert shown(chrome) == []
    field.clear()
    field.send_keys(" ")
    assert shown(chrome) == everything


def test_hostile_names_do_nothing_in_a_browser(hostile, browser):
    chrome = opened(browser, hostile[0])
    chrome.execute_script("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    links = chrome.execute_script("return [...document.links].map((a) => a.protocol)")
    assert set(links) <= {"file:", "https:"}
    assert chrome.execute_script("return document.scripts.length") == 1
    assert requests(chrome) <= {"file", "data"}
    # No dialog is open, and nothing was tried that the page's own rules had to stop.
    assert [
        entry for entry in chrome.get_log("browser") if "Security Policy" in entry["message"]
    ] == []
    assert chrome.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
