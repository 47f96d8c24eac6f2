import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from schemas.example import Example

int64 = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_nan=False)
values = st.one_of(st.lists(st.binary(max_size=9)), st.lists(int64), st.lists(floats))


@given(st.dictionaries(st.text(max_size=9), values, max_size=5))
def test_the_bytes_are_those_of_tensorflow(features):
    """Written by one and read by the other, in one process."""
    ours, theirs = Example(), tf.train.Example()
    for example in (ours, theirs):
        for name, values in features.items():
            kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
            kind = kinds[type(values[0])] if values else "bytes_list"
            getattr(example.features.feature[name], kind).value.extend(values)
    data = ours.SerializeToString(deterministic=True)
    assert data == theirs.SerializeToString(deterministic=True)
    assert tf.train.Example.FromString(data) == theirs
    assert Example.FromString(data) == ours
