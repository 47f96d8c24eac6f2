"""Any file or array becomes the waveform of the contract, or says why not."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile

from media.errors import MediaError
from media.limits import Limits
from media.waveform import load_waveform, stream_waveform
from schemas.waveform import SAMPLE_RATE


def tone(rate: int, seconds: float = 1.0, level: float = 0.5, hertz: float = 440) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_an_array_at_any_rate(rate):
    waveform = load_waveform(tone(rate), rate)
    assert waveform.dtype == np.float32
    assert len(waveform) == SAMPLE_RATE
    expected = 256 * tone(SAMPLE_RATE)
    middle = slice(2000, -2000)  # the resampler's filter has edges
    assert np.abs(waveform - expected)[middle].max() < 0.2


def test_full_scale_is_256():
    waveform = load_waveform(np.array([32767, -32768, 0, 128] * 100, np.int16), SAMPLE_RATE)
    np.testing.assert_array_equal(waveform[:4], [32767 / 128, -256, 0, 1])


def test_the_same_sound_in_every_type():
    samples = np.round(tone(44100) * 32767).astype(np.int16)
    waveform = load_waveform(samples, 44100)
    for same in (samples.astype(np.int32) << 16, samples / 32768, samples.astype("f4") / 32768):
        np.testing.assert_array_equal(load_waveform(same, 44100), waveform)


def test_mono_at_22050_is_what_ffmpeg_would_make_of_it():
    """Which it makes of two equal channels; loud, soft and halfway between two samples."""
    for sound in (
        np.linspace(-1.5, 1.5, 99_999, dtype=np.float32),
        np.arange(-70_000, 70_000, dtype=np.float32) / 65_536,
        np.arange(-32_768, 32_768).astype(np.int16),
    ):
        stereo = load_waveform(np.stack([sound, sound]), SAMPLE_RATE)
        np.testing.assert_array_equal(load_waveform(sound, SAMPLE_RATE), stereo)
    with pytest.raises(MediaError, match="too_long"):
        load_waveform(sound, SAMPLE_RATE, limits=Limits(max_seconds=1))


def test_channels_whichever_axis_they_are():
    left, right = tone(44100), tone(44100, hertz=700)
    mean = load_waveform((left + right) / 2, 44100)
    for stereo in (np.stack([left, right]), np.stack([left, right], axis=1)):
        np.testing.assert_allclose(load_waveform(stereo, 44100), mean, atol=0.02)
        np.testing.assert_allclose(
            load_waveform(stereo, 44100, channels="first"), load_waveform(left, 44100), atol=0.02
        )
    np.testing.assert_array_equal(load_waveform(left[None], 44100), load_waveform(left, 44100))
    np.testing.assert_array_equal(load_waveform(left[:, None], 44100), load_waveform(left, 44100))


@pytest.mark.parametrize(("codec", "name"), [("aac", "a.m4a"), ("pcm_s16le", "a.wav")])
def test_downmix_is_as_loud_whatever_the_codec(ffmpeg, tmp_path, codec, name):
    """Two equal channels are as loud as one (ffmpeg's own default makes AAC 3 dB louder)."""
    tones = "aevalsrc=0.25*sin(880*PI*t)|0.25*sin(880*PI*t):s=44100:d=1"
    ffmpeg("-f", "lavfi", "-i", tones, "-c:a", codec, tmp_path / name)
    waveform = load_waveform(tmp_path / name)[4000:-4000]
    assert np.abs(waveform).max() == pytest.approx(64, rel=0.03)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "PCM_32"])
def test_a_file_and_its_samples_sound_the_same(tmp_path, subtype):
    samples = np.stack([tone(48000), tone(48000, hertz=1000)], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, 48000, subtype=subtype)
    kind = {"PCM_16": "int16", "PCM_32": "int32", "FLOAT": "float32"}[subtype]
    read, rate = soundfile.read(tmp_path / "a.wav", dtype=kind)
    np.testing.assert_array_equal(load_waveform(tmp_path / "a.wav"), load_waveform(read, rate))


def test_real_sound_is_what_another_decoder_hears(data_dir):
    """ESC-10's Ogg Vorbis, by libsndfile, through the same resampler."""
    path = sorted((data_dir / "esc10" / "audio").iterdir())[0]
    samples, rate = soundfile.read(path, dtype="float32")
    expected = load_waveform(samples, rate)
    waveform = load_waveform(path)
    assert len(waveform) == len(expected)
    assert np.abs(waveform - expected).max() <= 1 / 128  # the last of 16 bits


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.ogg", "a.opus", "a.flac", "a.wma", "a.aiff"])
def test_formats(ffmpeg, tmp_path, name):
    ffmpeg("-f", "lavfi", "-i", "sine=f=440:r=48000:d=2", tmp_path / name)
    waveform = load_waveform(tmp_path / name)
    assert len(waveform) / SAMPLE_RATE == pytest.approx(2, abs=0.06)
    middle = np.abs(waveform)[SAMPLE_RATE // 2 : -SAMPLE_RATE // 2]  # encoders start with a bang
    assert middle.max() == pytest.approx(32, rel=0.1)  # the tone's level is 1/8


@pytest.mark.parametrize("seconds", [0.01, 0.1])
def test_very_short_sound(seconds):
    assert len(load_waveform(tone(44100, seconds), 44100)) == np.ceil(seconds * SAMPLE_RATE)


@pytest.mark.parametrize("block_seconds", [0.3, 1.0, 60.0])
def test_blocks_joined_are_the_whole(make, block_seconds):
    path = make("blocks.mp4", seconds=5)
    blocks = list(stream_waveform(path, block_seconds))
    assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * SAMPLE_RATE)}
    np.testing.assert_array_equal(np.concatenate(blocks), load_waveform(path))


def test_blocks_of_a_file_with_a_long_gap(ffmpeg, make, tmp_path):
    """Sound of which a minute is missing: silence stands there, block by block."""
    gap = "aselect='not(between(t,2,62))'"
    source = ("-f", "lavfi", "-i", "sine=d=65:r=44100")
    ffmpeg(*source, "-af", gap, "-c:a", "libopus", tmp_path / "gap.mkv")
    blocks = list(stream_waveform(tmp_path / "gap.mkv", 10.0))
    assert len(blocks) == 7
    assert np.abs(blocks[0]).any()
    assert not np.concatenate(blocks[1:6]).any()
    assert np.abs(blocks[6][int(3 * SAMPLE_RATE) :]).max() > 25


@pytest.mark.slow
def test_three_hours_in_flat_memory(ffmpeg, tmp_path):
    path = tmp_path / "long.flac"
    ffmpeg("-f", "lavfi", "-i", "sine=r=22050:d=10800", path)
    tracemalloc.start()
    length = sum(len(block) for block in stream_waveform(path, 10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length == 10800 * SAMPLE_RATE
    assert peak < 16e6


@pytest.mark.parametrize(
    ("array", "rate", "words"),
    [
        (np.zeros(10), None, "sample_rate"),
        (np.zeros(10), 0, "no rate"),
        (np.zeros(0), 44100, "no sound"),
        (np.zeros((0, 2)), 44100, "no sound"),
        (np.zeros((2, 3, 4)), 44100, "shape"),
        (np.zeros((2, 2)), 44100, "which axis"),
        (np.zeros((100, 100)), 44100, "more than 8 channels"),
        (np.array([0.0, np.nan]), 44100, "NaN"),
        (np.array([0.0, np.inf]), 44100, "NaN or infinity"),
        (np.array([0.0, 256.0]), 44100, "-1..1"),
    ],
)
def test_arrays_that_are_refused(array, rate, words):
    with pytest.raises(ValueError, match=words):
        load_waveform(array, rate)


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool", "complex64"])
def test_types_that_are_refused(kind):
    with pytest.raises(TypeError, match="int16, int32 or floats"):
        load_waveform(np.zeros(100, kind), 44100)


def test_a_file_says_its_own_rate(make):
    with pytest.raises(ValueError, match="its own"):
        load_waveform(make("plain.mp4"), 44100)


def test_an_unknown_channel_rule_is_refused(make):
    with pytest.raises(ValueError, match="downmix, first"):
        load_waveform(make("plain.mp4"), channels="left")


def test_a_video_without_sound(make):
    with pytest.raises(MediaError) as caught:
        load_waveform(make("silent.mp4", "-an"))
    assert caught.value.cause == "no_audio"


def test_sound_longer_than_admitted(make):
    with pytest.raises(MediaError) as caught:
        load_waveform(make("plain.mp4"), limits=Limits(max_seconds=2))
    assert caught.value.cause == "too_long"


def test_a_length_that_the_header_hides(ffmpeg, tmp_path):
    """Bare AAC states no length; it is the sound that counts."""
    ffmpeg("-f", "lavfi", "-i", "sine=d=20:r=44100", tmp_path / "bare.aac")
    with pytest.raises(MediaError) as caught:
        load_waveform(tmp_path / "bare.aac", limits=Limits(max_seconds=5))
    assert caught.value.cause == "too_long"
    assert len(load_waveform(tmp_path / "bare.aac", limits=Limits(max_seconds=30))) > 400_000
