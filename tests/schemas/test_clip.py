import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from schemas import SchemaError
from schemas.audio import CODECS
from schemas.clip import ClipRecord, parse_in_graph
from schemas.dataset_info import DatasetInfo, TeacherInfo
from schemas.waveform import pcm_to_waveform


def a_record(codec: str = "flac", steps: int = 3, **changes) -> ClipRecord:
    rng = np.random.default_rng(steps)
    record = ClipRecord(
        video_id="video/ü",
        number=2,
        url="https://example.org/v?a=1&b=ü",
        start_seconds=40.0,
        pcm=rng.integers(-9000, 9000, 22050 * steps, dtype=np.int16),
        audio_codec=codec,
        frame_times=[2.5, 7.5, 12.5, 17.5][:steps],
        probs={
            "places": rng.dirichlet(np.ones(5), steps).astype(np.float16),
            "imagenet": rng.dirichlet(np.ones(7), steps).astype(np.float16),
        },
    )
    return dataclasses.replace(record, **changes)


INFO = DatasetInfo(
    teachers=[
        TeacherInfo("imagenet", "n", [f"o{i}" for i in range(7)], "", ""),
        TeacherInfo("places", "n", [f"s{i}" for i in range(5)], "", ""),
    ],
    audio_codec="flac",
)


@pytest.mark.parametrize("codec", ["flac", "pcm"])
def test_what_is_written_is_read(codec):
    record = a_record(codec, frames=[b"a", b"b", b"c"])
    back = ClipRecord.from_bytes(record.to_bytes())
    np.testing.assert_array_equal(back.pcm, record.pcm)
    for name in ("imagenet", "places"):
        np.testing.assert_array_equal(back.probs[name], record.probs[name])
    assert back.clip_id == "video/ü/2"
    assert (back.video_id, back.number, back.url) == (record.video_id, 2, record.url)
    assert (back.start_seconds, back.frame_times) == (40.0, [2.5, 7.5, 12.5])
    assert back.frames == record.frames


def test_equal_records_are_equal_bytes_whatever_the_order_of_teachers():
    record = a_record()
    turned = dataclasses.replace(record, probs=dict(reversed(record.probs.items())))
    assert record.to_bytes() == turned.to_bytes()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("steps", [1, 4])
def test_tf_data_reads_waveform_and_probs(codec, steps):
    record = a_record(codec, steps)
    info = dataclasses.replace(INFO, audio_codec=codec)
    dataset = tf.data.Dataset.from_tensors(record.to_bytes())
    (parsed,) = dataset.map(lambda s: parse_in_graph(s, info))
    assert parsed["clip_id"].numpy().decode() == record.clip_id
    assert parsed["waveform"].shape == record.pcm.shape
    if codec != "mp3":
        np.testing.assert_array_equal(parsed["waveform"], pcm_to_waveform(record.pcm))
    for name, probs in record.probs.items():
        np.testing.assert_array_equal(parsed["probs"][name], probs.astype(np.float32))


def test_an_embedding_travels_under_a_name_of_its_own():
    values = np.random.default_rng(0).normal(0, 3, (3, 6)).astype(np.float16)
    record = a_record(embeddings={"looks": values})
    back = ClipRecord.from_bytes(record.to_bytes())
    np.testing.assert_array_equal(back.embeddings["looks"], values)
    assert set(back.probs) == {"imagenet", "places"}
    looks = TeacherInfo("looks", "n", [f"value {i}" for i in range(6)], "", "", "embedding")
    info = dataclasses.replace(INFO, teachers=[*INFO.teachers, looks])
    assert (info.embedders, info.classifiers) == ([looks], INFO.teachers)
    assert DatasetInfo.from_json(info.to_json()) == info
    parsed = parse_in_graph(tf.constant(record.to_bytes()), info)
    np.testing.assert_array_equal(parsed["probs"]["looks"], values.astype(np.float32))
    too_large = np.full((3, 6), np.inf, np.float16)
    with pytest.raises(SchemaError, match="looks"):
        a_record(embeddings={"looks": too_large}).to_bytes()
    strange = dataclasses.replace(looks, target="feeling")
    with pytest.raises(SchemaError, match="looks's target 'feeling'"):
        DatasetInfo.from_json(dataclasses.replace(info, teachers=[strange]).to_json())


def test_labels_must_match_the_label_steps():
    short = {"imagenet": np.ones((2, 7), np.float16)}
    with pytest.raises(SchemaError, match=r"\(2, 7\) for 3 label steps"):
        a_record(probs=short).to_bytes()
    with pytest.raises(SchemaError, match="imagenet"):
        a_record(probs={"imagenet": np.full((3, 7), np.nan, np.float16)}).to_bytes()


def test_a_clip_without_sound_is_no_record():
    with pytest.raises(SchemaError, match="0 samples"):
        a_record(pcm=np.zeros(0, np.int16)).to_bytes()


def test_other_bytes_are_refused():
    with pytest.raises(SchemaError, match="not a tf.train.Example"):
        ClipRecord.from_bytes(b"\xff\xff\xff")
    with pytest.raises(SchemaError, match="schema_version"):
        ClipRecord.from_bytes(b"")


def test_another_version_is_refused_with_what_to_do():
    example = tf.train.Example.FromString(a_record().to_bytes())
    example.features.feature["schema_version"].int64_list.value[0] = 99
    with pytest.raises(SchemaError, match="version 99.*python -m pipeline"):
        ClipRecord.from_bytes(example.SerializeToString())


def test_missing_samples_are_noticed():
    example = tf.train.Example.FromString(a_record("pcm").to_bytes())
    audio = example.features.feature["audio"].bytes_list
    audio.value[0] = audio.value[0][:-200]
    with pytest.raises(SchemaError, match="66050 samples and says it has 66150"):
        ClipRecord.from_bytes(example.SerializeToString())
