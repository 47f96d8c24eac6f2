import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from schemas import SchemaError, audio
from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK, pcm_to_waveform


@pytest.fixture(scope="module")
def clicks() -> np.ndarray:
    """Two seconds with a click of ten samples every half second, above faint noise."""
    pcm = np.random.default_rng(0).normal(0, 50, 2 * SAMPLE_RATE).astype(np.int16)
    for start in range(SAMPLE_RATE // 4, len(pcm), SAMPLE_RATE // 2):
        pcm[start : start + 10] = 20000
    return pcm


def test_waveform_is_sample_over_128():
    pcm = np.array([-32768, -128, 0, 1, 32767], np.int16)
    np.testing.assert_array_equal(pcm_to_waveform(pcm), [-256, -1, 0, 1 / 128, 32767 / 128])
    assert WAVEFORM_PEAK == 256


def test_waveform_refuses_what_is_not_16_bit():
    with pytest.raises(TypeError, match="float32"):
        pcm_to_waveform(np.zeros(3, np.float32))


@pytest.mark.parametrize("codec", ["flac", "pcm"])
@settings(max_examples=25, deadline=None)
@given(pcm=arrays(np.int16, st.integers(1, 3000)))
def test_lossless_codecs_give_back_every_sample(codec, pcm):
    data = audio.encode(pcm, codec)
    np.testing.assert_array_equal(audio.decode(data, codec), pcm)
    in_graph = audio.decode_in_graph(tf.constant(data), codec).numpy()
    np.testing.assert_array_equal(in_graph, pcm_to_waveform(pcm))


def test_mp3_keeps_every_click_at_its_sample(clicks):
    data = audio.encode(clicks, "mp3")
    outside = pcm_to_waveform(audio.decode(data, "mp3"))
    in_graph = audio.decode_in_graph(tf.constant(data), "mp3").numpy()
    assert len(data) < clicks.nbytes / 4
    for waveform in (outside, in_graph):
        assert len(waveform) == len(clicks)
        lag = np.argmax(np.correlate(waveform, pcm_to_waveform(clicks), "full")) - len(clicks) + 1
        assert lag == 0
        assert 0.8 < np.abs(waveform).max() / (20000 / 128) < 1.3
    np.testing.assert_allclose(in_graph, outside, atol=0.1)


@pytest.mark.parametrize("codec", audio.CODECS)
def test_the_same_samples_give_the_same_bytes(codec, clicks):
    assert audio.encode(clicks, codec) == audio.encode(clicks.copy(), codec)


def test_unknown_codec_is_refused_by_name():
    with pytest.raises(SchemaError, match="opus.*flac, mp3, pcm"):
        audio.encode(np.zeros(5, np.int16), "opus")


@pytest.mark.parametrize("codec", ["flac", "mp3"])
def test_damaged_sound_is_a_schema_error(codec):
    with pytest.raises(SchemaError, match=codec):
        audio.decode(b"not sound at all", codec)
    one = tf.data.Dataset.from_tensors(b"not sound at all")
    sound = iter(one.map(lambda data: audio.decode_in_graph(data, codec)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"the {codec} of a record can't be"):
        next(sound)
    with pytest.raises(SchemaError, match="half a sample"):
        audio.decode(b"123", "pcm")


@pytest.mark.parametrize("codec", ["flac", "mp3"])
def test_bytes_changed_anywhere_do_no_harm(codec, clicks):
    data = audio.encode(clicks, codec)
    random = np.random.default_rng(0)
    for _ in range(200):
        hurt = bytearray(data[: random.integers(1, len(data) + 1)])
        for place in random.integers(0, len(hurt), random.integers(1, 5)):
            hurt[place] = random.integers(256)
        try:
            pcm = audio.decode(bytes(hurt), codec)
        except SchemaError:
            continue
        assert pcm.dtype == np.int16
        assert len(pcm) <= 4 * len(clicks)


def test_libsndfile_reads_the_same(clicks):
    for codec in ("flac", "mp3"):
        data = audio.encode(clicks, codec)
        theirs, _ = soundfile.read(io.BytesIO(data), dtype="int16")
        np.testing.assert_allclose(audio.decode(data, codec), theirs, atol=1)


def test_sound_at_another_rate_is_refused():
    out = io.BytesIO()
    soundfile.write(out, np.zeros(800, np.int16), 16000, format="FLAC")
    with pytest.raises(SchemaError, match="16000 Hz"):
        audio.decode(out.getvalue(), "flac")
