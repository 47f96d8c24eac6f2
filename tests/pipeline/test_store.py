import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import steps
from pipeline.build import plan_shards
from pipeline.store import Store, WorkVideo, video_key
from schemas import SchemaError
from schemas.dataset_info import DatasetInfo
from schemas.ledger import LedgerRow

ROW = LedgerRow("v1", "u", "train", "write", "done", clips=2)
EMPTY = DatasetInfo(teachers=[], audio_codec="flac")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "out"))


def test_a_file_is_there_in_whole_or_not_at_all(store):
    def breaks():
        yield b"first half"
        raise OSError("the disk is full")

    path = store.work("a.clip")
    with pytest.raises(OSError, match="full"):
        store.write(path, breaks())
    assert store.list(store.work()) == {}
    assert list(store.scratch().iterdir()) == []
    store.write(path, b"all of it")
    store.write(path, [b"once ", b"more"])
    assert store.read(path) == b"once more"
    assert store.list(store.work()) == {"a.clip": 9}


def test_a_video_is_settled_when_all_its_clips_are_there(store):
    store.mark(ROW)
    store.write(store.clip_path("v1", 0), b"x")
    (video,) = store.videos().values()
    assert not video.is_settled
    store.write(store.clip_path("v1", 1), b"xy")
    (video,) = store.videos().values()
    assert video.is_settled
    assert (video.clips, video.split) == ({0: 1, 1: 2}, "train")


def test_a_video_that_failed_is_settled_whatever_clips_it_has(store):
    failed = dataclasses.replace(ROW, outcome="failed", cause="teacher_error", clips=0)
    store.mark(ROW)
    store.mark(failed)
    (video,) = store.videos().values()
    assert video.is_settled
    assert video.cause == "teacher_error"
    (shard,) = plan_shards(store.videos(), EMPTY, 100)
    assert shard.file == ""
    assert shard.videos == (steps.Packed(f"{video_key('v1')}.train.failed-teacher_error.json"),)


def test_a_video_tried_twice_is_done_if_it_was_done_once(store):
    """As where a cluster runs a bundle again."""
    for cause in ("network", "timeout"):
        store.mark(dataclasses.replace(ROW, outcome="failed", cause=cause, clips=0))
    assert store.videos()[video_key("v1")].cause == "timeout"
    store.mark(ROW)
    for number in range(3):  # the first attempt was of a longer file
        store.write(store.clip_path("v1", number), b"x")
    (video,) = store.videos().values()
    assert (video.cause, video.expected, video.is_settled) == ("", 2, True)
    (shard,) = plan_shards(store.videos(), EMPTY, 100)
    assert shard.records == 2
    assert shard.videos[0].mark == f"{video_key('v1')}.train.done-2.json"


def test_what_is_not_settled_is_not_planned(store):
    """A video of a killed run that the list no longer has."""
    store.write(store.clip_path("gone", 0), b"x")
    store.mark(dataclasses.replace(ROW, video_id="half", clips=3))
    store.write(store.clip_path("half", 0), b"x")
    assert plan_shards(store.videos(), EMPTY, 100) == []


def test_a_listing_survives_files_that_come_and_go(store):
    store.write(store.work("a.clip"), b"x")
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            store.write(store.work("b.clip"), b"y" * 100)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            assert store.list(store.work())["a.clip"] == 1
    finally:
        stop.set()
        thread.join()


def test_two_runs_cannot_be_at_work_in_one_folder(store):
    with (
        store.locked(),
        pytest.raises(SchemaError, match="another run is at work"),
        Store(store.root).locked(),
    ):
        pass
    with store.locked():
        pass


video = st.builds(
    lambda split, sizes: WorkVideo(
        clips=dict(enumerate(sizes)), split=split, expected=len(sizes), mark="m"
    ),
    st.sampled_from(["train", "validation"]),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=32, max_size=32), video), st.data())
def test_the_plan_holds_every_clip_once_in_shards_of_the_wanted_size(videos, data):
    plan = plan_shards(videos, EMPTY, 100)
    assert [steps.Shard.from_json(shard.to_json()) for shard in plan] == plan
    planned = [clip for shard in plan for packed in shard.videos for clip in packed.clips]
    assert sorted(planned) == sorted(
        f"{key}.{n:05d}.clip" for key, video in videos.items() for n in video.clips
    )
    for shard in plan:
        clips = [clip for packed in shard.videos for clip in packed.clips]
        size = sum(videos[clip[:32]].clips[int(clip[33:38])] for clip in clips)
        assert size <= 100 or len(shard.videos) == 1
    mixed = dict(data.draw(st.permutations(list(videos.items()))))
    assert plan_shards(mixed, EMPTY, 100) == plan
