import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tfrecord import frame


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
