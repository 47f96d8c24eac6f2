"""What the network hears of a clip, and what its outputs are told."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from schemas import SchemaError
from schemas.waveform import pcm_to_waveform
from trainer import augment, data
from trainer.config import Config
from trainer.network import SOUNDNET5, SOUNDNET8, SOUNDNET18

SECOND = 22050
STEP = 5 * SECOND


def config(folder, **changes) -> Config:
    return Config(data=str(folder), model_dir="unused", **({"batch_size": 1} | changes))


def batches(settings: Config, count: int, step: int = 0) -> list[dict]:
    stream = data.train_batches(settings, data.usable_info(settings), step)
    return list(itertools.islice(stream.as_numpy_iterator(), count))


@pytest.mark.parametrize("architecture", [SOUNDNET8, SOUNDNET5, SOUNDNET18])
def test_published_outputs_speak_for_the_label_step_of_their_number(architecture):
    places = augment.stretches(architecture, 441_000, STEP, align=False)
    np.testing.assert_array_equal(places, [[i * STEP, (i + 1) * STEP] for i in range(4)])
    np.testing.assert_array_equal(augment.shares(places, 0, 4, STEP), np.eye(4))


@pytest.mark.parametrize("architecture", [SOUNDNET8, SOUNDNET5])
@pytest.mark.parametrize(("samples", "offset"), [(441_000, 0), (300_000, 77_777)])
def test_aligned_outputs_hear_what_lies_between_the_label_steps_centres(
    architecture, samples, offset
):
    """Held against NumPy's interpolation. The label step in which a piece begins or ends may be
    cut, and what lies outside of the piece is not heard."""
    outputs = architecture.output_steps(architecture.names[-1], samples)
    places = augment.stretches(architecture, samples, STEP, align=True)
    found = np.asarray(augment.shares(places, offset, 4, STEP))
    assert found.shape == (outputs, 4)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    centres = architecture.output_centres(architecture.names[-1], outputs)
    inside = (centres >= STEP / 2) & (centres <= samples - STEP / 2)
    assert inside.any()
    label_centres = (np.arange(4) + 0.5) * STEP
    for step in range(4):
        expected = np.interp(centres + offset, label_centres, np.eye(4)[step])
        np.testing.assert_allclose(found[inside, step], expected[inside], atol=1e-6)


def test_what_is_before_the_first_and_behind_the_last_centre_is_their_word():
    places = augment.stretches(SOUNDNET5, 441_000, STEP, align=True)
    centres = SOUNDNET5.output_centres("conv5", 4)
    assert centres[0] < STEP / 2  # earlier than the first label step's centre
    np.testing.assert_array_equal(augment.shares(places, 0, 4, STEP)[0], [1, 0, 0, 0])


def test_the_published_network_is_told_earlier_or_later_than_it_listens_unless_aligned():
    """The centres at 4.75, 7.72, 10.69, 13.66 s: between the first two steps 0.45 of the second."""
    places = augment.stretches(SOUNDNET8, 441_000, STEP, align=True)
    found = np.asarray(augment.shares(places, 0, 4, STEP))
    np.testing.assert_allclose(found[0], [0.55, 0.45, 0, 0], atol=0.01)
    np.testing.assert_allclose(found[3], [0, 0, 0.77, 0.23], atol=0.01)


def test_aligned_training_and_validation_clips_are_told_the_same(data_set):
    settings = config(data_set, align=True)
    info = data.usable_info(settings)
    whole = {
        batch["waveform"].tobytes(): batch["probs"]
        for batch in batches(dataclasses.replace(settings, align=False), 7)
    }
    for batch in batches(settings, 7):
        published = whole[batch["waveform"].tobytes()]
        places = augment.stretches(SOUNDNET8, 441_000, STEP, align=True)
        weights = np.asarray(augment.shares(places, 0, 4, STEP))
        for name, values in batch["probs"].items():
            np.testing.assert_allclose(values[0], weights @ published[name][0], atol=1e-6)
    plain = data.validation_batches(dataclasses.replace(settings, align=False), info)
    for batch, published in zip(data.validation_batches(settings, info), plain, strict=True):
        expected = weights @ published["probs"]["places"].numpy()[0]
        np.testing.assert_allclose(batch["probs"]["places"][0], expected, atol=1e-6)


@pytest.mark.parametrize("align", [False, True])
def test_a_crop_cuts_sound_and_labels_at_the_same_place(
    tmp_path, data_set_writer, clip_maker, align
):
    """The place is found in the sound; the labels are then averaged sample by sample."""
    clip = clip_maker(3)
    folder = data_set_writer(tmp_path, {"train": [[clip]]})
    original = pcm_to_waveform(clip.pcm)
    labels = clip.probs["places"].astype(np.float64)
    samples = 13 * SECOND
    offsets = set()
    for batch in batches(config(folder, crop=13.0, align=align), 12):
        sound = batch["waveform"][0]
        assert sound.shape == (samples,)
        starts = np.flatnonzero(original[: len(original) - samples + 1] == sound[0])
        (offset,) = [s for s in starts if np.array_equal(original[s : s + samples], sound)]
        offsets.add(int(offset))
        if align:
            centres = SOUNDNET8.output_centres("conv8", 2)
            edges = [(max(c - STEP / 2, 0), min(c + STEP / 2, samples)) for c in centres]
        else:
            edges = [(0, samples / 2), (samples / 2, samples)]
        for (start, end), told in zip(edges, batch["probs"]["places"][0], strict=False):
            at = np.arange(round(start), round(end)) + offset
            expected = labels[at // STEP].mean(0)
            np.testing.assert_allclose(told, expected, atol=1e-4)
    assert len(offsets) >= 11
    assert min(offsets) < 2 * SECOND
    assert max(offsets) > 5 * SECOND


def test_mixing_gives_sound_and_labels_the_same_shares(short_data_set):
    settings = config(short_data_set, depth=5, batch_size=4, mix=0.4)
    plain = batches(dataclasses.replace(settings, mix=0.0), 6)
    shares, distances = [], set()
    for number, (mixed, alone) in enumerate(zip(batches(settings, 6), plain, strict=True)):
        sounds = alone["waveform"].astype(np.float64)
        for distance in (1, 2, 3):
            difference = np.roll(sounds, distance, 0) - sounds
            energy = (difference**2).sum(1)  # 0 where the other is the same clip, of the next epoch
            found = ((mixed["waveform"] - sounds) * difference).sum(1) / np.maximum(energy, 1e-9)
            rebuilt = sounds + found[:, None] * difference
            if np.allclose(rebuilt, mixed["waveform"], atol=1e-3):
                break
        else:
            pytest.fail(f"batch {number} is no mixture of its clips in pairs")
        distances.add(distance)
        shares += found[energy > 0].tolist()
        for name, labels in alone["probs"].items():
            expected = labels + found[:, None, None] * (np.roll(labels, distance, 0) - labels)
            np.testing.assert_allclose(mixed["probs"][name], expected, atol=1e-4)
            np.testing.assert_allclose(
                mixed["probs"][name].sum(-1), alone["probs"][name].sum(-1), atol=2e-3
            )
    assert len(distances) > 1
    assert min(shares) >= -1e-4
    assert max(shares) <= 1 + 1e-4
    assert len({round(share, 4) for share in shares}) > 12
    # Beta(0.4, 0.4) is U-shaped: most clips stay nearly as they were, or become the other.
    assert np.mean([share < 0.2 or share > 0.8 for share in shares]) > 0.4


def test_a_share_that_underflows_leaves_the_clip_as_it_is():
    batch = {"waveform": tf.ones([64, 3]), "probs": {"a": tf.ones([64, 1, 2])}}
    settings = config("unused", mix=1e-3, batch_size=64)
    mixed = augment.mix(batch, tf.constant(0, tf.int64), settings)
    np.testing.assert_allclose(mixed["waveform"], 1, atol=1e-6)


def test_the_stream_goes_on_at_any_step_with_everything_on(short_data_set):
    settings = config(
        short_data_set,
        depth=5,
        batch_size=2,
        crop=8.0,
        align=True,
        mix=1.0,
        shift=True,
        gain_db=6.0,
    )
    whole = batches(settings, 6)
    for step in (1, 4):
        for expected, found in zip(whole[step:], batches(settings, 6 - step, step), strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, expected, found)


def test_crops_that_cannot_be(data_set):
    for crop in (9.4, 20.0, 30.0):
        with pytest.raises(SchemaError, match=r"--crop .* from 9.50 s .* to below 20 s"):
            data.usable_info(config(data_set, crop=crop))


def test_aligned_outputs_need_not_be_as_many_as_the_label_steps(short_data_set):
    """10 s have 2 label steps, and one output of SoundNet-8."""
    with pytest.raises(SchemaError, match="gives 1 outputs.*or give --align"):
        data.usable_info(config(short_data_set))
    (batch,) = batches(config(short_data_set, align=True), 1)
    assert batch["probs"]["places"].shape == (1, 1, 7)
