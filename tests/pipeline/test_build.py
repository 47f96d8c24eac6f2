"""Real runs of the graphs on Beam's local runner."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import media
import teacher
from pipeline import graph, progress, steps
from pipeline.__main__ import read_list
from pipeline.build import build
from pipeline.running import RunFailed
from pipeline.settings import Settings
from pipeline.store import QUEUE, Store
from pipeline.todo import Todo, share_out
from schemas import SchemaError
from schemas.clip import ClipRecord
from schemas.dataset_info import DatasetInfo
from schemas.ledger import CAUSES, LedgerRow
from schemas.video_list import BadRow, VideoRow
from tests.processes import cmdline, started_by

SETTINGS = Settings(
    teachers=(teacher.parse_spec("imagenet"),),
    pictures="exact",
    validation_share=0,
    host_rate=50.0,
    backoff_seconds=0.1,
    allow_local_network=True,
)


def rows_of(folder: Path) -> list[VideoRow]:
    return [VideoRow(path.stem, str(path)) for path in sorted(folder.iterdir())]


def records(output: Path) -> dict[str, bytes]:
    """Every record of a data set by its clip's id, from the shards that its info names."""
    info = DatasetInfo.from_json((output / "dataset_info.json").read_text())
    found: dict[str, bytes] = {}
    for split, shards in info.splits.items():
        for shard in shards:
            path = output / shard.file
            assert path.stat().st_size == shard.bytes
            data = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
            assert len(data) == shard.records
            for record in data:
                clip_id = f"{split}:{ClipRecord.from_bytes(record).clip_id}"
                assert clip_id not in found
                found[clip_id] = record
    return found


def contents(output: Path) -> dict[str, bytes]:
    """The shards by name."""
    return {path.name: path.read_bytes() for path in output.glob("*.tfrecord")}


@pytest.fixture(scope="module")
def built(videos, tmp_path_factory):
    """A data set of the folder of small videos, made with one process."""
    output = tmp_path_factory.mktemp("data")
    bad = [BadRow(7, ",x,9,3", "line 7: end 3.0 is not after start 9.0")]
    summary = build(rows_of(videos), bad, str(output), SETTINGS)
    return output, summary


def test_every_row_is_done_or_has_its_cause(built):
    output, summary = built
    outcomes = {row.video_id: row.cause or row.outcome for row in summary.rows.values()}
    bad = next(video_id for video_id in outcomes if video_id.startswith("bad-row"))
    assert outcomes == {
        "long": "done",
        "short one": "done",
        "other": "done",
        "mute": "no_audio",
        "blip": "too_short",
        "words": "unreadable",
        bad: "bad_row",
    }
    assert summary.new == set(outcomes)
    assert "Invalid data found" in summary.rows["words"].message
    assert "not after start" in summary.rows[bad].message
    lines = (output / "ledger-00000.jsonl").read_text().splitlines()
    assert [LedgerRow.from_json(line) for line in lines] == list(summary.rows.values())
    assert not list(output.glob("work*"))


def test_records_hold_what_media_and_teacher_give(built, videos):
    output, summary = built
    found = records(output)
    assert sorted(found) == ["train:long/0", "train:long/1", "train:other/0", "train:short one/0"]
    ask = teacher.load(SETTINGS.teachers[0])
    for name in ("long", "other"):
        path = next(videos.glob(f"{name}.*"))
        for segment in media.extract(str(path)):
            record = ClipRecord.from_bytes(found[f"train:{name}/{segment.index}"])
            np.testing.assert_array_equal(record.pcm, segment.pcm)
            assert record.frame_times == segment.frame_times
            assert record.start_seconds == segment.start_seconds
            expected = ask(segment.frames).astype(np.float16)
            np.testing.assert_array_equal(record.probs["imagenet"], expected)
    long = summary.rows["long"]
    assert (long.clips, long.stage, long.attempts) == (2, "write", 1)
    assert 24 < long.media_seconds <= 27
    assert long.bytes == (videos / "long.mp4").stat().st_size


def test_the_data_set_is_described(built):
    output, summary = built
    info = summary.info
    assert info == DatasetInfo.from_json((output / "dataset_info.json").read_text())
    assert info.teacher("imagenet").classes[1].endswith("goldfish")
    assert len(info.teacher("imagenet").classes) == 1000
    assert info.runs[0].versions["apache-beam"] == "2.72.0"
    assert "ffmpeg" in info.runs[0].versions


def test_a_second_run_has_nothing_to_do(built, videos):
    output, before = built
    stamps = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    summary = build(rows_of(videos), [], str(output), SETTINGS)
    assert summary.new == frozenset()
    assert summary.rows == before.rows
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == stamps


@pytest.mark.slow
def test_new_rows_add_shards_and_retry_tries_only_its_cause(videos, tmp_path, server):
    output = tmp_path / "data"
    missing = VideoRow("later", str(tmp_path / "later.mp4"))
    dead = VideoRow("dead", f"{server.url}/fail/404/a.mp4")
    first = [VideoRow("short one", str(videos / "short one.mp4")), missing, dead]
    build(first, [], str(output), SETTINGS)
    old = contents(output)
    (tmp_path / "later.mp4").write_bytes((videos / "other.mkv").read_bytes())
    asked = len(server.requests)

    web = VideoRow("web", f"{server.url}/other.mkv", start=0.0, end=6.0, split="test")
    unchanged = build([*first, web], [], str(output), SETTINGS)
    assert unchanged.new == {"web"}
    assert unchanged.rows["later"].cause == "not_found"
    assert server.requests[asked:]
    assert not any("404" in path for path in server.requests[asked:])

    summary = build([*first, web], [], str(output), SETTINGS, retry=["not_found"])
    assert summary.new == {"later", "dead"}
    assert summary.rows["later"].outcome == "done"
    assert summary.rows["later"].attempts == 2
    assert summary.rows["dead"].cause == "not_found"
    assert sorted(records(output)) == ["test:web/0", "train:later/0", "train:short one/0"]
    for name, data in old.items():
        assert (output / name).read_bytes() == data
    (clip,) = [r for name, r in records(output).items() if name.startswith("test")]
    assert len(ClipRecord.from_bytes(clip).frame_times) == 1


def test_other_settings_are_refused(built, videos):
    output, _ = built
    mp3 = dataclasses.replace(SETTINGS, audio_codec="mp3")
    with pytest.raises(SchemaError, match="audio_codec is 'flac' there and 'mp3' here"):
        build(rows_of(videos), [], str(output), mp3)
    with pytest.raises(SchemaError, match="teachers are"):
        build(rows_of(videos), [], str(output), dataclasses.replace(SETTINGS, teachers=()))
    with pytest.raises(SchemaError, match="no cause 'bad luck'"):
        build(rows_of(videos), [], str(output), SETTINGS, retry=["bad luck"])


def test_two_teachers_of_one_name_are_refused():
    with pytest.raises(SchemaError, match="two teachers are called 'imagenet'"):
        dataclasses.replace(SETTINGS, teachers=SETTINGS.teachers * 2)


def test_work_left_by_a_run_that_was_killed_while_tidying_up_is_not_counted_twice(
    videos, tmp_path, monkeypatch
):
    output = tmp_path / "data"
    monkeypatch.setattr(Store, "clear_work", lambda self, before: None)
    rows = [VideoRow("other", str(videos / "other.mkv"))]
    build(rows, [], str(output), SETTINGS)
    assert list(output.glob("work-00000/*.clip"))
    monkeypatch.undo()
    (output / "work-00000" / "recipe.json").unlink()
    more = [*rows, VideoRow("short", str(videos / "short one.mp4"))]
    summary = build(more, [], str(output), SETTINGS)
    assert summary.new == {"short"}
    assert sorted(records(output)) == ["train:other/0", "train:short/0"]
    assert not list(output.glob("work*"))


def test_beam_counts_under_the_names_of_the_progress(videos, tmp_path):
    store = Store(str(tmp_path / "data"))
    todos = [Todo(row, "train") for row in rows_of(videos)]
    lanes = share_out(todos, 2, 1, SETTINGS)
    store.write(store.work(QUEUE), (f"{lane.to_json()}\n".encode() for lane in lanes))
    pipeline = beam.Pipeline(runner=FnApiRunner())
    graph.read_videos(pipeline, SETTINGS, store)
    result = pipeline.run()
    found = {
        counter.key.metric.name: counter.committed
        for counter in result.metrics().query(
            beam.metrics.MetricsFilter().with_namespace(steps.COUNTERS)
        )["counters"]
    }
    shown = dataclasses.asdict(progress.count(store))
    assert shown == {"videos_done": 3, "videos_failed": 3, "clips": 4}
    assert {name: found[name] for name in ("videos_done", "videos_failed")} == {
        name: shown[name] for name in ("videos_done", "videos_failed")
    }
    # What a video gave before it failed is counted by Beam as it comes.
    assert found["clips"] == 5
    assert {name for name in found if name.startswith("failed_")} == {
        "failed_no_audio",
        "failed_too_short",
        "failed_unreadable",
    }


def test_pictures_and_mp3_when_asked_for(videos, tmp_path):
    output = tmp_path / "data"
    wanted = dataclasses.replace(SETTINGS, audio_codec="mp3", frames=True, channels="first")
    build([VideoRow("other", str(videos / "other.mkv"))], [], str(output), wanted)
    (data,) = records(output).values()
    record = ClipRecord.from_bytes(data)
    assert record.audio_codec == "mp3"
    assert len(record.frames) == len(record.frame_times) == 2
    assert tf.io.decode_jpeg(record.frames[0]).shape == (256, 341, 3)


def test_every_cause_of_the_media_room_is_a_cause_of_the_ledger():
    assert set(media.CAUSES) <= set(CAUSES)


def test_what_a_folder_or_a_list_says_in_odd_ways(tmp_path):
    """Names that no list could hold, lists that are none."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in (b"#1.mp4", b"a:b.mp4", "日本　語.mp4".encode(), b"\xff.mp4", b"-x.mp4"):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(b"")
    rows, bad = read_list(str(folder))
    assert {Path(row.url).name for row in rows} == {"#1.mp4", "a:b.mp4", "日本　語.mp4", "-x.mp4"}
    assert all(row.is_local for row in rows)
    assert len(bad) == 1
    for content, words in (
        (b"url\n\xff\xfe", "no text in UTF-8"),
        (b'url\n"' + b"a\n" * 100_000, "field larger"),
    ):
        (tmp_path / "list.csv").write_bytes(content)
        with pytest.raises(SchemaError, match=words):
            read_list(str(tmp_path / "list.csv"))


def test_separators_in_a_message_leave_the_ledger_readable(videos, tmp_path):
    output = tmp_path / "data"
    bad = [BadRow(1, "x", "line 1: a\u2028b\u0085c\ud800d")]
    summary = build([], bad, str(output), SETTINGS)
    assert "a\u2028b" in summary.rows[bad[0].video_id].message
    again = build([], bad, str(output), SETTINGS)
    assert again.rows == summary.rows


def test_other_addresses_of_known_ids_are_told(built, videos):
    output, _ = built
    rows = [dataclasses.replace(row, url=row.url + "x") for row in rows_of(videos)[:2]]
    summary = build(rows, [], str(output), SETTINGS)
    assert summary.elsewhere == tuple(row.video_id for row in rows)
    assert summary.new == frozenset()


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", *args]


@pytest.mark.slow
def test_help_and_errors_in_a_process_of_its_own(tmp_path):
    shown = subprocess.run(command("--help"), capture_output=True, text=True, check=True)
    for word in ("--input", "--teachers", "--retry", "places", "examples:"):
        assert word in shown.stdout
    typo = command("--input", "x", "--output", "y", "--proceses", "4")
    refused = subprocess.run(typo, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--proceses" in refused.stderr
    (tmp_path / "list.csv").write_text("link\nx\n")
    for source, words in (("list.csv", "no column 'url'"), ("none.csv", "none.csv")):
        failed = subprocess.run(
            command("--input", str(tmp_path / source), "--output", str(tmp_path / "data")),
            capture_output=True,
            text=True,
            check=False,
        )
        assert failed.returncode == 2
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["2", "9"])
def test_the_command_gives_the_same_shards(built, videos, tmp_path, processes):
    """With several videos at a time, and with several worker processes; and says how far it is."""
    listed = tmp_path / "list.jsonl"
    rows = [{"url": row.url, "id": row.video_id} for row in rows_of(videos)]
    listed.write_text("\n".join(json.dumps(row) for row in rows))
    output = tmp_path / "data"
    done = subprocess.run(
        command(
            *("--input", str(listed), "--output", str(output), "--processes", processes),
            *("--validation-share", "0", "--exact-frames"),
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert contents(output) == contents(built[0])
    assert "3 done, 3 failed, 4 clips" in done.stderr
    assert "no_audio" in done.stdout


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(built, videos, tmp_path):
    """Killed with all its processes at three moments; what comes out is the same."""
    listed = tmp_path / "list.csv"
    lines = [f'"{row.url}",{row.video_id}' for row in rows_of(videos)]
    listed.write_text("\n".join(["url,id", *lines]))
    output = tmp_path / "data"
    run = command("--input", str(listed), "--output", str(output), "--processes", "1")
    run += ["--validation-share", "0", "--exact-frames"]
    for marks in (1, 3, 6):
        process = subprocess.Popen(run, start_new_session=True, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(output.glob("work-00000/*.*-*.json"))) < marks:
            if process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    half = output / "work-00000" / "tmp" / "left by a kill"
    half.mkdir(parents=True, exist_ok=True)
    subprocess.run(run, check=True, capture_output=True)
    assert contents(output) == contents(built[0])
    assert not list(output.glob("work*"))


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_and_the_next_goes_on(built, videos, tmp_path):
    output = tmp_path / "data"
    # More than READERS_PER_PROCESS: two worker processes.
    run = command("--input", str(videos), "--output", str(output), "--processes", "9")
    process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    workers: list[int] = []
    while len(workers) < 2 and time.monotonic() < deadline:
        workers = started_by(process.pid, b"pipeline.worker")
        time.sleep(0.05)
    os.kill(workers[0], signal.SIGKILL)
    _, words = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "worker process died" in words
    deadline = time.monotonic() + 20
    while any(cmdline(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(cmdline(pid) for pid in workers)
    subprocess.run(run, check=True, capture_output=True)
    assert len(records(output)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "moment"), [("1", "reading"), ("9", "reading"), ("9", "starting")]
)
def test_ctrl_c_is_answered_and_the_next_run_goes_on(videos, tmp_path, processes, moment):
    output = tmp_path / "data"
    run = command("--input", str(videos), "--output", str(output), "--processes", processes)
    run += ["--validation-share", "0"]
    process = subprocess.Popen(run, start_new_session=True, stderr=subprocess.PIPE, text=True)

    def has_come() -> bool:
        if moment == "reading":
            return bool(list(output.glob("work-00000/*.*-*.json")))
        # Beam waits for them to report.
        return len(started_by(process.pid, b"pipeline.worker")) == 2

    deadline = time.monotonic() + 120
    while not has_come() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = started_by(process.pid, b"pipeline.worker")
    os.killpg(process.pid, signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert "The same command goes on from here" in words
    assert "Traceback" not in words
    assert not any(cmdline(pid) for pid in workers)
    subprocess.run(run, check=True, capture_output=True)
    assert len(records(output)) == 4


def test_a_full_disk_ends_the_run_in_words(videos, tmp_path, monkeypatch):
    output = tmp_path / "data"

    def full(self, path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    rows = [VideoRow("other", str(videos / "other.mkv"))]
    with monkeypatch.context() as patch:
        patch.setattr(steps.WriteClip, "process", lambda self, clip: full(self, "", b""))
        with pytest.raises(RunFailed, match="No space left on device.*same command"):
            build(rows, [], str(output), SETTINGS)
    assert "No space left" in (output / "work-00000" / "error.txt").read_text()
    assert build(rows, [], str(output), SETTINGS).new == {"other"}
