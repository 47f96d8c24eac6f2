"""A trained network in use, on real sounds."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import media
import soundnet
from soundnet import TrainedSoundNet

DOG = "esc10/audio/1-100032-A-0.ogg"


@pytest.fixture(scope="module")
def video(data_dir):
    """A video of more than 20 s, with stereo sound."""
    return data_dir / "videos" / "0500d23ded62.mp4"


def test_predict_names_objects_and_scenes_over_time(published, video):
    heads = published.predict(video)
    assert list(heads) == ["imagenet", "places"]
    objects = heads["imagenet"]
    assert objects.probabilities.shape == (len(objects.times), 1000)
    np.testing.assert_allclose(objects.probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(objects.mean(), objects.probabilities.mean(axis=0))
    for step, best in enumerate(objects.top(3)):
        assert [p for _, p in best] == sorted(objects.probabilities[step])[:-4:-1]
        assert best[0][0] == objects.classes[objects.probabilities[step].argmax()]


def test_times_are_the_centres_of_what_a_step_hears(published, video):
    scenes = published.predict(video)["places"]
    # conv8: a step every 65,536 samples; the first hears around sample 104,686.5.
    np.testing.assert_array_equal(
        scenes.times, (104_686.5 + 65_536 * np.arange(len(scenes.times))) / 22050
    )
    assert scenes.hop_seconds == 65_536 / 22050
    assert not scenes.tiled
    assert scenes.duration == len(media.load_waveform(video)) / 22050


def test_a_click_shows_at_its_time(lively_model):
    """The step of an embedding that differs most from silence is the one whose time is right."""
    layer = lively_model.network.architecture.names[3]  # pool2: hears 0.07 s
    for seconds in (1.0, 2.345):
        sound = np.zeros(4 * 22050, np.float32)
        sound[round(seconds * 22050)] = 1
        silence = lively_model.embed(np.zeros_like(sound), 22050, layer=layer)
        click = lively_model.embed(sound, 22050, layer=layer)
        moved = np.abs(click.values - silence.values).sum(axis=1)
        centre = (moved * click.times).sum() / moved.sum()
        assert abs(centre - seconds) < click.hears_seconds / 2
        heard = click.times[moved > 0]
        assert np.abs(heard - seconds).max() <= click.hears_seconds / 2 + 1e-9


def test_a_gpu_does_not_compile_anew_for_each_length(lively_model, noise, monkeypatch):
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [gpu])
    model = TrainedSoundNet(lively_model.network)
    assert model.network.features(["conv1"]).jit_compile  # what Keras would do
    model.embed(noise(1) / 256, 22050, layer="conv1")
    (features,) = model._features.values()
    assert not features.jit_compile


def test_embed_gives_a_layer_over_time(published, video):
    embedding = published.embed(video)
    assert embedding.layer == "pool5"
    assert embedding.values.shape == (len(embedding.times), 256)
    assert embedding.values.dtype == np.float32
    assert embedding.values.min() >= 0
    np.testing.assert_allclose(np.diff(embedding.times), 8192 / 22050)
    assert embedding.mean().shape == (256,)


def test_an_unknown_layer_is_refused_with_those_there_are(published, video):
    with pytest.raises(ValueError, match="no layer 'pool6'; choose one of conv1, .*places"):
        published.embed(video, layer="pool6")


def test_an_array_gives_what_its_file_gives(published, data_dir, tmp_path):
    waveform = media.load_waveform(data_dir / DOG)
    pcm = (waveform * 128).astype(np.int16)
    path = tmp_path / "dog.flac"
    soundfile.write(path, pcm, 22050)
    from_file = published.embed(path)
    np.testing.assert_array_equal(from_file.values, published.embed(pcm, 22050).values)
    np.testing.assert_array_equal(
        from_file.values, published.activations([waveform], ["pool5"])["pool5"]
    )


def test_several_layers_in_one_pass_say_what_each_says_alone(published, data_dir):
    waveform = media.load_waveform(data_dir / DOG)  # 5 s, repeated for the head
    together = published.listen([waveform[:50_000], waveform[50_000:]], ["pool5", "places"])
    assert (together["pool5"].tiled, together["places"].tiled) == (False, True)
    alone = published.embed(data_dir / DOG, layer="pool5")
    steps = len(alone.values) - 3  # the last ones hear the end, after which it goes on here
    np.testing.assert_allclose(together["pool5"].values[:steps], alone.values[:steps], atol=1e-4)
    assert together["places"].values.shape == (1, 401)
    assert together["pool5"].times[0] == alone.times[0]


def test_any_rate_and_channels_give_about_the_same(published, data_dir, tmp_path):
    sound = media.load_waveform(data_dir / DOG) / 256
    slow = published.embed(sound, 22050).mean()
    fast = np.repeat(sound, 2)  # 44,100 Hz, crudely
    stereo = np.stack([fast, fast], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44100, subtype="FLOAT")
    other = published.embed(tmp_path / "stereo.wav").mean()
    cosine = slow @ other / np.linalg.norm(slow) / np.linalg.norm(other)
    assert cosine > 0.98


def test_an_answer_depends_on_the_sound_alone(published, data_dir, video, published_weights):
    """The same bits from a fresh model, after other sounds, and asked together with others."""
    before = published.predict(data_dir / DOG)["imagenet"].probabilities
    for source in (video, data_dir / "esc10/audio/1-116765-A-41.ogg", data_dir / DOG):
        published.predict(source)
    fresh = soundnet.load_model(published_weights).predict(data_dir / DOG)["imagenet"]
    np.testing.assert_array_equal(
        before, published.predict(data_dir / DOG)["imagenet"].probabilities
    )
    np.testing.assert_array_equal(before, fresh.probabilities)


@pytest.mark.parametrize("samples", [1, 2205, 5 * 22050])
def test_a_short_sound_is_repeated_and_says_so(published, noise, samples):
    sound = noise(10)[:samples] / 256
    scenes = published.predict(sound, 22050)["places"]
    assert scenes.tiled
    assert scenes.duration == samples / 22050
    np.testing.assert_array_equal(scenes.times, [samples / 2 / 22050])
    # 244,392 samples (11.1 s): then a step hears as little past the end as in a 20 s clip.
    repeated = np.resize(sound, 244_392)
    by_hand = published.predict(repeated, 22050)["places"]
    assert not by_hand.tiled
    np.testing.assert_array_equal(scenes.probabilities, by_hand.probabilities)


@pytest.mark.parametrize(
    ("seconds", "given", "computed"), [(11.2, 1, 1), (12.6, 1, 2), (15.6, 2, 3), (20, 4, 4)]
)
def test_only_steps_that_hear_enough_are_given(published, video, seconds, given, computed):
    """They say about what they would if the sound went on; those left out are far off."""
    sound = media.load_waveform(video) / 256
    cut = sound[: round(seconds * 22050)]
    steps = published.embed(cut, 22050, layer="places").values
    every = published.activations([cut * 256], ["places"])["places"]
    whole = published.embed(sound, 22050, layer="places").values
    assert (len(steps), len(every)) == (given, computed)
    assert np.abs(steps - whole[:given]).max() < 2
    for step in range(given, computed):
        assert np.abs(every[step] - whole[step]).max() > 20


def test_a_file_without_sound_is_an_error_with_its_cause(published, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(media.MediaError, match="unreadable"):
        published.predict(tmp_path / "bad.wav")


def test_softmax_does_not_overflow(lively_model, noise):
    loud = TrainedSoundNet(lively_model.network)
    head = loud.network.get_layer(f"{loud.network.architecture.names[-1]}_places")
    bias = head.bias.numpy()
    try:
        head.bias.assign([5000.0, 0.0])
        scenes = loud.predict(noise(20) / 256, 22050)["places"]
        np.testing.assert_array_equal(scenes.probabilities[:, 0], 1)
    finally:
        head.bias.assign(bias)
