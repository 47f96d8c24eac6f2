"""The clips of a data set, one after the other, whatever is wrong with some."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.clips import Clips, Place
from schemas import SchemaError, tfrecord
from tests.evaluation.conftest import write_data_set


def test_each_clip_comes_once_and_can_be_read_again_from_its_place(data_set, records):
    clips = Clips(data_set)
    found = list(clips)
    assert len(clips) == len(found) == len(records)
    assert [record.clip_id for _, record in found] == [
        record.clip_id for record in (*records[::2], *records[1::2])
    ]
    assert [place for place, _ in found] == sorted(place for place, _ in found)
    for place, record in found:
        again = clips.at(place)
        assert again.clip_id == record.clip_id
        assert (again.pcm == record.pcm).all()
        assert again.frames == record.frames
    assert not clips.unreadable


def test_some_shards_only(data_set, records):
    clips = Clips(data_set, most=1)
    assert [record.clip_id for _, record in clips] == [r.clip_id for r in records[::2]]
    assert len(Clips(data_set, most=9)) == len(records)


def test_a_clip_that_can_not_be_read_is_named_and_the_others_come(records, tmp_path):
    folder = Path(write_data_set(tmp_path / "data", records[:4], False))
    shard = folder / "train-00000.tfrecord"
    with shard.open("rb") as file:
        frames = [tfrecord.frame(data) for data in tfrecord.read(file)]
    frames[1] = tfrecord.frame(b"no record")
    damaged = bytearray(frames[3])
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(b"".join((*frames[:3], damaged)))
    clips = Clips(str(folder))
    assert [record.clip_id for _, record in clips] == [records[0].clip_id, records[2].clip_id]
    where = f"train-00000.tfrecord, byte {len(frames[0])}"
    assert "not a tf.train.Example" in clips.unreadable[where]
    assert "checksum is wrong; 1 of its 4 records are lost" in clips.unreadable[shard.name]
    with pytest.raises(SchemaError, match="checksum"):
        clips.at(Place(0, sum(map(len, frames[:3]))))


def test_a_shard_that_is_missing_is_named(records, tmp_path):
    folder = Path(write_data_set(tmp_path / "data", records[:4], False, shards=2))
    (folder / "train-00001.tfrecord").unlink()
    clips = Clips(str(folder))
    assert len(list(clips)) == 2
    assert "2 of its 2 records are lost" in clips.unreadable["train-00001.tfrecord"]


def test_what_is_no_data_set_is_said(tmp_path):
    with pytest.raises(SchemaError, match=r"no dataset_info\.json .*python -m pipeline"):
        Clips(str(tmp_path))
    with pytest.raises(SchemaError, match="has no clips; its ledgers say why"):
        Clips(write_data_set(tmp_path / "data", [], False, shards=0))
