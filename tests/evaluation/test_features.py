"""Features: what is kept, by what, and what is computed anew."""

from __future__ import annotations

import dataclasses
import shutil
import threading

import keras
import numpy as np
import pytest

import media
from evaluation import features
from evaluation.features import Features, Samples, SoundFile
from schemas.waveform import SAMPLE_RATE
from soundnet import TrainedSoundNet
from trainer.network import SoundNet


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return TrainedSoundNet(SoundNet(8, {"objects": "abc", "scenes": "de"}))


@pytest.fixture
def ears(model, tmp_path):
    return Features(model, ("pool5", "conv8"), tmp_path / "kept", 10)


@pytest.fixture
def counted(model, monkeypatch):
    """The layers that the network is asked for, each time that it is."""
    asked = []
    activations = model.activations
    monkeypatch.setattr(
        model, "activations", lambda b, layers: asked.append(layers) or activations(b, layers)
    )
    return asked


@pytest.fixture(scope="module")
def clips(data_dir):
    return sorted((data_dir / "esc10" / "audio").iterdir())[:3]


def entries(ears: Features) -> list:
    return sorted(ears.cache.rglob("*.npz"))


def test_features_are_what_the_network_computes_of_ten_seconds(ears, model, clips):
    (found,) = ears.of([SoundFile(clips[0])])
    waveform = np.resize(media.load_waveform(clips[0]), 10 * SAMPLE_RATE)
    expected = model.activations([waveform], ("pool5", "conv8"))
    assert {name: values.shape for name, values in found.items()} == {
        "pool5": (27, 256),
        "conv8": (1, 5),
    }
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def test_what_is_kept_is_not_computed_again_and_is_the_same(ears, counted, clips):
    sounds = [SoundFile(path) for path in clips]
    first = list(ears.of(sounds))
    assert len(counted) == 3
    again = list(ears.of(sounds))
    assert len(counted) == 3
    for one, other in zip(first, again, strict=True):
        for layer in one:
            np.testing.assert_array_equal(one[layer], other[layer])


def test_a_file_is_known_by_its_content_and_how_it_was_heard(ears, counted, clips, tmp_path):
    list(ears.of([SoundFile(clips[0])]))
    moved = shutil.copy(clips[0], tmp_path / "of another name")
    list(ears.of([SoundFile(moved)]))
    assert len(counted) == 1
    list(ears.of([SoundFile(moved, channels="first")]))
    list(dataclasses.replace(ears, seconds=12).of([SoundFile(moved)]))
    list(dataclasses.replace(ears, seconds=None).of([SoundFile(moved)]))
    assert len(counted) == 4
    moved.write_bytes(clips[1].read_bytes())
    list(ears.of([SoundFile(moved)]))
    assert len(counted) == 5


def test_only_the_layers_that_are_missing_are_computed(ears, counted, clips):
    list(ears.of([SoundFile(clips[0])]))
    more = dataclasses.replace(ears, layers=("conv7", "pool5"))
    (found,) = more.of([SoundFile(clips[0])])
    assert counted == [("pool5", "conv8"), ("conv7",)]
    assert list(found) == ["conv7", "pool5"]


def test_other_weights_have_other_entries(ears, clips):
    list(ears.of([SoundFile(clips[0])]))
    keras.utils.set_random_seed(2)
    other = TrainedSoundNet(SoundNet(8, {"objects": "abc", "scenes": "de"}))
    list(dataclasses.replace(ears, model=other).of([SoundFile(clips[0])]))
    assert len(entries(ears)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:190] + b"x" + path.read_bytes()[191:]),
        lambda path: np.savez(path, values=np.array([{"an": "object"}])),
        lambda path: np.savez(path, values=np.zeros(3)),
        lambda path: np.savez(path, other=np.zeros((3, 3), np.float32)),
    ],
    ids=["cut off", "empty", "changed", "pickled", "of another shape", "of another name"],
)
def test_a_damaged_entry_is_computed_anew(ears, counted, clips, damage):
    (before,) = ears.of([SoundFile(clips[0])])
    kept = {path: path.read_bytes() for path in entries(ears)}
    for path in kept:
        damage(path)
        assert features.read(path) is None
    (after,) = ears.of([SoundFile(clips[0])])
    assert len(counted) == 2
    np.testing.assert_array_equal(before["pool5"], after["pool5"])
    for path in kept:
        assert features.read(path) is not None


def test_a_sound_that_can_not_be_read_does_not_stop_the_others(ears, clips, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    paths = [clips[0], bad, tmp_path / "missing.wav", tmp_path, clips[1]]
    found = list(ears.of(map(SoundFile, paths)))
    causes = [one.cause if isinstance(one, media.MediaError) else "" for one in found]
    assert causes == ["", "unreadable", "not_found", "unreadable", ""]


def test_samples_are_known_by_what_they_are(ears, counted):
    pcm = np.random.default_rng(0).integers(-9000, 9000, SAMPLE_RATE).astype(np.int16)
    (one,) = ears.of([Samples(pcm)])
    (same,) = ears.of([Samples(pcm.copy())])
    assert len(counted) == 1
    np.testing.assert_array_equal(one["pool5"], same["pool5"])
    list(ears.of([Samples(pcm[1:])]))
    assert len(counted) == 2


def test_a_whole_sound_keeps_its_length_and_a_short_one_is_repeated(model, tmp_path):
    pcm = np.random.default_rng(0).integers(-9000, 9000, 12 * SAMPLE_RATE).astype(np.int16)
    whole = Features(model, ("pool5",), tmp_path / "kept")
    long, short = whole.of([Samples(pcm), Samples(pcm[:1000])])
    steps = model.network.architecture.output_steps
    assert len(long["pool5"]) == steps("pool5", 12 * SAMPLE_RATE)
    assert len(short["pool5"]) == steps("pool5", model.network.architecture.min_samples("conv8"))


def test_layers_that_can_not_be_had_are_said(model, tmp_path):
    with pytest.raises(ValueError, match="no layer 'pool9'; choose among conv1"):
        Features(model, ("pool9",), tmp_path)
    for layer in ("conv8", "scenes"):
        with pytest.raises(ValueError, match=f"5 s of sound are too short for {layer}.*9.50 s"):
            Features(model, (layer,), tmp_path, 5)


def test_two_at_a_time_share_a_cache(model, clips, tmp_path):
    """Threads stand for processes here: neither knows of the other's entries but by the files."""
    cache, found = tmp_path / "kept", {}

    def take(name: str) -> None:
        ears = Features(model, ("pool5",), cache, 10)
        found[name] = list(ears.of([SoundFile(path) for path in clips]))

    threads = [threading.Thread(target=take, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found["a"], found["b"], strict=True):
        np.testing.assert_array_equal(one["pool5"], other["pool5"])
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 3  # and nothing half-written


def test_a_taker_that_stops_early_leaves_nothing_running(ears, clips):
    before = threading.active_count()
    many = ears.of(SoundFile(clips[number % 3]) for number in range(1000))
    next(many)
    many.close()
    assert threading.active_count() == before


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert features.default_cache() == tmp_path / "soundnet" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert features.default_cache() == tmp_path / ".cache" / "soundnet" / "features"
