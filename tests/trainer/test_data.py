"""What the network gets to hear: the fitting rule, the order, what is refused."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from schemas import SchemaError
from schemas.dataset_info import FILE_NAME, DatasetInfo
from schemas.waveform import pcm_to_waveform
from trainer import damage, data
from trainer.config import Config

SECOND = 22050


def config(folder, **changes) -> Config:
    return Config(data=str(folder), model_dir="unused", **({"batch_size": 2} | changes))


def batches(settings: Config, count: int, step: int = 0) -> list[dict]:
    stream = data.train_batches(settings, data.usable_info(settings), step)
    return list(itertools.islice(stream.as_numpy_iterator(), count))


def test_a_full_clip_arrives_as_it_was_recorded(data_set, clip_maker):
    settings = config(data_set)
    info = data.usable_info(settings)
    batch = next(iter(data.validation_batches(settings, info)))
    clip = clip_maker(7)
    np.testing.assert_array_equal(batch["waveform"][0], pcm_to_waveform(clip.pcm))
    np.testing.assert_array_equal(batch["probs"]["places"][0], clip.probs["places"])
    assert np.abs(batch["waveform"]).max() > 60  # of 256, not of 1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_short_clip_is_tiled_with_its_labels(tmp_path, data_set_writer, clip_maker, steps):
    """n steps are 5n s of sound; sound and labels are repeated to 20 s and 4 steps."""
    clip = clip_maker(1, steps=steps)
    folder = data_set_writer(tmp_path, {"train": [[clip]]})
    batch = batches(config(folder, batch_size=1), 1)[0]
    sound = np.resize(pcm_to_waveform(clip.pcm), 20 * SECOND)
    np.testing.assert_array_equal(batch["waveform"][0], sound)
    labels = clip.probs["imagenet"][np.arange(4) % steps].astype("float32")
    np.testing.assert_array_equal(batch["probs"]["imagenet"][0], labels)


def test_sound_shorter_than_its_label_steps_is_padded_before_it_is_tiled(
    tmp_path, data_set_writer, clip_maker
):
    clip = clip_maker(1, steps=2, seconds=7.5)
    folder = data_set_writer(tmp_path, {"train": [[clip]]})
    heard = batches(config(folder, batch_size=1), 1)[0]["waveform"][0]
    ten_seconds = np.concatenate([pcm_to_waveform(clip.pcm), np.zeros(round(2.5 * SECOND))])
    np.testing.assert_array_equal(heard, np.tile(ten_seconds, 2))


@pytest.mark.parametrize("codec", ["flac", "mp3", "pcm"])
def test_every_codec_is_heard(tmp_path, data_set_writer, clip_maker, codec):
    clip = clip_maker(1, codec=codec)
    folder = data_set_writer(tmp_path, {"train": [[clip]]}, codec=codec)
    heard = batches(config(folder, batch_size=1), 1)[0]["waveform"][0]
    if codec == "mp3":
        assert np.corrcoef(heard, pcm_to_waveform(clip.pcm))[0, 1] > 0.9
    else:
        np.testing.assert_array_equal(heard, pcm_to_waveform(clip.pcm))


def names(some: list[dict]) -> list[int]:
    """Tells clips apart by their sound."""
    return [hash(sound.tobytes()) for batch in some for sound in batch["waveform"]]


def test_each_epoch_has_every_clip_once_in_another_order(short_data_set):
    settings = config(short_data_set, depth=5)
    some = names(batches(settings, 7))  # 14 clips: two epochs of 7
    first, second = some[:7], some[7:]
    assert len(set(first)) == 7
    assert set(first) == set(second)
    assert first != second
    assert some == names(batches(settings, 7))
    assert some != names(batches(dataclasses.replace(settings, seed=1), 7))


@pytest.mark.parametrize("at_once", [1, 16])
def test_the_stream_goes_on_at_any_step(short_data_set, at_once, monkeypatch):
    monkeypatch.setattr(data, "SHARDS_AT_ONCE", at_once)
    settings = config(short_data_set, depth=5, shift=True, gain_db=6.0)
    whole = batches(settings, 8)
    for step in (1, 3, 6):
        for expected, found in zip(whole[step:], batches(settings, 8 - step, step), strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, expected, found)


def test_groups_of_shards_before_the_position_are_not_read(short_data_set, tmp_path, monkeypatch):
    """Skipping an epoch in a large data set must not mean reading it."""
    monkeypatch.setattr(data, "SHARDS_AT_ONCE", 1)
    settings = config(short_data_set, depth=5, batch_size=1)
    info = data.usable_info(settings)
    order = np.random.default_rng([settings.seed, 0]).permutation(2)
    first = info.splits["train"][order[0]]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in short_data_set.iterdir():
        if file.name != first.file:
            (copy / file.name).write_bytes(file.read_bytes())
    stream = data.train_batches(
        dataclasses.replace(settings, data=str(copy)), info, step=first.records
    )
    found = names(list(itertools.islice(stream.as_numpy_iterator(), 1)))
    assert found == names(batches(settings, 1, first.records))


@pytest.fixture
def four_shards(tmp_path, data_set_writer, clip_maker):
    """Shards of 2, 3, 1 and 2 clips to train, 1, 3 and 1 to validate."""
    clips = [clip_maker(i, steps=2) for i in range(13)]
    return data_set_writer(
        tmp_path / "four",
        {
            "train": [clips[:2], clips[2:5], clips[5:6], clips[6:8]],
            "validation": [clips[8:9], clips[9:12], clips[12:]],
        },
        clip_seconds=10.0,
    )


def test_machines_read_shards_of_their_own_and_together_one_batch(four_shards, tmp_path):
    settings = config(four_shards, depth=5, batch_size=4, parts=2, shift=True, mix=0.2)
    info = data.usable_info(settings)
    stream = data.train_batches(settings, info, 1).as_numpy_iterator()
    whole = list(itertools.islice(stream, 6))
    for machine in range(2):
        copy = tmp_path / f"machine{machine}"
        copy.mkdir()
        for number in (machine, machine + 2):
            name = f"train-{number:05d}.tfrecord"
            (copy / name).write_bytes((four_shards / name).read_bytes())
        mine = data.train_batches(
            dataclasses.replace(settings, data=str(copy)), info, 1, data.Share(machine, 2)
        )
        for batch, found in zip(whole, mine.as_numpy_iterator(), strict=False):
            assert set(found["shard"]) <= {machine, machine + 2}
            half = slice(2 * machine, 2 * machine + 2)
            tf.nest.map_structure(
                lambda one, other, half=half: np.testing.assert_array_equal(one, other[half]),
                found,
                batch,
            )


def test_machines_validate_every_clip_once_in_as_many_batches(four_shards):
    settings = config(four_shards, depth=5, batch_size=4)
    info = data.usable_info(settings)

    def heard(share: data.Share) -> tuple[int, list[int]]:
        batches = list(data.validation_batches(settings, info, share).as_numpy_iterator())
        sounds = [
            hash(sound.tobytes())
            for batch in batches
            for sound, weight in zip(batch["waveform"], batch["weight"], strict=True)
            if weight
        ]
        return len(batches), sounds

    _, alone = heard(data.Share())
    (batches, first), (as_many, second) = (heard(data.Share(m, 2)) for m in range(2))
    assert batches == as_many == 2
    assert len(set(alone)) == 5
    assert sorted(first + second) == sorted(alone)


def test_what_is_damaged_is_left_out_of_the_stream(four_shards):
    settings = config(four_shards, depth=5, batch_size=3)
    info = data.usable_info(settings)
    lost = [
        damage.Damage("train", "train-00001.tfrecord", 1, True, ""),  # 2 of its 3
        damage.Damage("train", "train-00003.tfrecord", 0, False, ""),
        damage.Damage("validation", "validation-00001.tfrecord", 1, False, ""),
    ]
    stream = data.train_batches(settings, info, damaged=lost).as_numpy_iterator()
    all_clips = names(batches(settings, 8))
    heard = names(list(itertools.islice(stream, 5)))  # 3 epochs of 5
    for epoch in (heard[:5], heard[5:10], heard[10:]):
        assert set(epoch) == set(heard)
        assert len(set(epoch)) == 5
    assert set(heard) < set(all_clips)
    clips = data.validation_batches(settings, info, damaged=lost).as_numpy_iterator()
    assert sum(batch["weight"].sum() for batch in clips) == 4


def test_validation_has_every_clip_once_in_order_and_fills_up_with_nothing(data_set, clip_maker):
    settings = config(data_set)
    info = data.usable_info(settings)
    some = list(data.validation_batches(settings, info).as_numpy_iterator())
    assert [batch["waveform"].shape for batch in some] == [(2, 441_000)] * 2
    weights = np.concatenate([batch["weight"] for batch in some])
    assert weights.tolist() == [1, 1, 1, 0]
    sounds = np.concatenate([batch["waveform"] for batch in some])
    for number, sound in zip((7, 8, 9), sounds, strict=False):
        np.testing.assert_array_equal(sound, pcm_to_waveform(clip_maker(number).pcm))


def test_shift_turns_sound_and_labels_round_together(tmp_path, data_set_writer, clip_maker):
    clip = clip_maker(3)
    folder = data_set_writer(tmp_path, {"train": [[clip]]})
    original = pcm_to_waveform(clip.pcm)
    shifts = set()
    for batch in batches(config(folder, batch_size=1, shift=True), 16):
        sound, labels = batch["waveform"][0], batch["probs"]["places"][0]
        shift = next(
            k for k in range(4) if np.array_equal(np.roll(original, k * 5 * SECOND), sound)
        )
        np.testing.assert_array_equal(labels, np.roll(clip.probs["places"], shift, 0))
        shifts.add(shift)
    assert shifts == {0, 1, 2, 3}


def test_gain_changes_the_volume_and_nothing_else(tmp_path, data_set_writer, clip_maker):
    clip = clip_maker(3)
    folder = data_set_writer(tmp_path, {"train": [[clip]]})
    original = pcm_to_waveform(clip.pcm)
    decibels = []
    for batch in batches(config(folder, batch_size=1, gain_db=6.0), 16):
        ratio = np.linalg.norm(batch["waveform"]) / np.linalg.norm(original)
        np.testing.assert_allclose(batch["waveform"][0], original * ratio, rtol=1e-3, atol=1e-4)
        decibels.append(20 * np.log10(ratio))
    assert max(decibels) <= 6
    assert min(decibels) >= -6
    assert max(decibels) > 2
    assert min(decibels) < -2


def test_one_teacher_of_several(data_set):
    batch = batches(config(data_set, teachers=("places",)), 1)[0]
    assert list(batch["probs"]) == ["places"]


def edit(folder, change) -> None:
    path = folder / FILE_NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda info: info["splits"].pop("train"), {}, "no clips to train on"),
        (lambda info: info["splits"].update(train=[]), {}, "no clips to train on"),
        (lambda info: info.update(teachers=[]), {}, "carry no teacher's word"),
        (lambda info: info, {"teachers": ("sounds",)}, "no teacher 'sounds'; it has imagenet"),
        (lambda info: info.update(clip_seconds=10.0), {}, "10 s with 2 label steps.*gives 1 out"),
        (lambda info: info.update(step_seconds=2.5), {}, "clips of 20 s and label steps of 5 s"),
        (lambda info: info.update(schema_version=9), {}, "schema version 9"),
    ],
)
def test_data_sets_that_do_not_fit(
    tmp_path, data_set_writer, clip_maker, change, settings, message
):
    folder = data_set_writer(tmp_path, {"train": [[clip_maker(0)]]})
    edit(folder, change)
    with pytest.raises(SchemaError, match=message):
        data.usable_info(config(folder, **settings))


def test_no_data_set_at_all(tmp_path):
    with pytest.raises(SchemaError, match=r"no dataset_info.json in .*python -m pipeline"):
        data.usable_info(config(tmp_path))


def test_a_description_that_is_no_text(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match=r"dataset_info.json is damaged .*copy the data set"):
        data.usable_info(config(tmp_path))


def test_shards_that_are_missing_or_cut_off(tmp_path, data_set_writer, clip_maker):
    """Cut off between two records, a shard reads like a whole one; its size tells."""
    folder = data_set_writer(tmp_path, {"train": [[clip_maker(0), clip_maker(1)], [clip_maker(2)]]})
    first, second = sorted(folder.glob("*.tfrecord"))
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    second.unlink()
    with pytest.raises(SchemaError, match=r"2 of 2 shards.*train-00000.tfrecord has .* missing"):
        data.usable_info(config(folder))


def test_damage_is_found_by_name(tmp_path, data_set_writer, clip_maker):
    folder = data_set_writer(tmp_path, {"train": [[clip_maker(0), clip_maker(1)], [clip_maker(2)]]})
    path = folder / "train-00000.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)
    settings = config(folder)
    (found,) = damage.words(str(folder), damage.find(str(folder), data.usable_info(settings)))
    assert found.startswith(f"{path}: record 1 is damaged (corrupted record at ")


def test_a_clip_with_more_steps_than_the_data_set_says(tmp_path, data_set_writer, clip_maker):
    folder = data_set_writer(tmp_path, {"train": [[clip_maker(0, steps=5)]]})
    with pytest.raises(tf.errors.InvalidArgumentError, match="video0/0"):
        batches(config(folder, batch_size=1), 1)
    settings = config(folder)
    (found,) = damage.words(str(folder), damage.find(str(folder), data.usable_info(settings)))
    assert "video0/0 has 5 label steps, more than 4" in found


def test_the_description_survives_reading(data_set):
    info = data.read_info(str(data_set))
    assert isinstance(info, DatasetInfo)
    assert info.records("train") == 7
