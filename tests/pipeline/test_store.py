import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.build import plan_shards
from pipeline.store import Store, WorkVideo, video_key
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
    assert store.list("work") == {}
    assert store.write(path, b"all of it") == 9
    assert store.write(path, [b"once ", b"more"]) == 9
    assert store.read(path) == b"once more"
    assert store.list("work") == {"a.clip": 9}


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
    plan, marks = plan_shards(store.videos(), EMPTY, 100)
    assert plan == []
    assert marks == [[f"{video_key('v1')}.train.failed-teacher_error.json"]]


def test_leftovers_of_a_killed_process_are_no_files_of_ours(store):
    store.write(store.clip_path("v1", 0), b"x")
    (part,) = [store.clip_path("v1", 0) + ".0123.part"]
    with open(part, "wb") as file:
        file.write(b"half")
    assert store.videos() == {video_key("v1"): WorkVideo(clips={0: 1})}
    os.remove(part)


video = st.builds(
    lambda split, sizes: WorkVideo(
        clips=dict(enumerate(sizes)), split=split, expected=len(sizes), marks=["m"]
    ),
    st.sampled_from(["train", "validation"]),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=32, max_size=32), video), st.data())
def test_the_plan_holds_every_clip_once_in_shards_of_the_wanted_size(videos, data):
    plan, failed = plan_shards(videos, EMPTY, 100)
    assert failed == []
    planned = [clip for shard in plan for _, clips in shard.videos for clip in clips]
    assert sorted(planned) == sorted(
        f"{key}.{n:05d}.clip" for key, video in videos.items() for n in video.clips
    )
    for shard in plan:
        size = sum(videos[c[:32]].clips[int(c[33:38])] for _, clips in shard.videos for c in clips)
        assert size <= 100 or len(shard.videos) == 1
    mixed = dict(data.draw(st.permutations(list(videos.items()))))
    assert plan_shards(mixed, EMPTY, 100)[0] == plan
