import io
import struct

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import SchemaError
from schemas.tfrecord import FRAMING, frame, read


@settings(max_examples=30, deadline=None)
@given(records=st.lists(st.binary(max_size=300), max_size=5))
def test_tensorflow_writes_the_same_and_reads_it(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("records")
    ours, theirs = folder / "ours", folder / "theirs"
    ours.write_bytes(b"".join(map(frame, records)))
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in records:
            writer.write(record)
    assert ours.read_bytes() == theirs.read_bytes()
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(ours))] == records
    assert list(read(io.BytesIO(theirs.read_bytes()))) == records


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_damage_anywhere_is_found_and_what_is_before_it_read(records, data):
    """One byte changed, or the end missing."""
    whole = b"".join(map(frame, records))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole[:at])
    if data.draw(st.booleans()):
        damaged = bytearray(whole)
        damaged[at] ^= data.draw(st.integers(1, 255))
    starts = [sum(len(r) + FRAMING for r in records[:n]) for n in range(len(records))]
    hit = max(n for n, start in enumerate(starts) if start <= at)
    if len(damaged) == starts[hit]:  # cut between two records: nothing tells
        assert list(read(io.BytesIO(damaged))) == records[:hit]
        return
    found = []
    with pytest.raises(SchemaError, match=rf"at byte {starts[hit]} is (damaged|cut off)"):
        found.extend(read(io.BytesIO(damaged)))
    assert found == records[:hit]


def test_reading_may_begin_at_a_record():
    file = io.BytesIO(frame(b"one") + frame(b"three"))
    file.seek(3 + FRAMING)
    assert list(read(file, 3 + FRAMING)) == [b"three"]
    file.seek(4)
    with pytest.raises(SchemaError, match="at byte 4 is damaged"):
        next(read(file, 4))


def test_no_memory_is_asked_for_what_no_record_is():
    length = struct.pack("<Q", 1 << 50)
    head = length + frame(length)[-4:]  # a checksum that fits
    with pytest.raises(SchemaError, match="length is wrong"):
        next(read(io.BytesIO(head)))
