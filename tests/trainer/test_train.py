"""Training runs, whole, on small data sets."""

import csv
import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

import trainer.train as train_module
from schemas import SchemaError, classes
from schemas.clip import ClipRecord
from trainer import damage, data, losses
from trainer.config import Config
from trainer.layers import BatchNormalization
from trainer.network import SoundNet
from trainer.train import TrainingError, train


def config(folder, model_dir, **changes) -> Config:
    defaults = {
        "depth": 5,
        "batch_size": 2,
        "steps": 2,
        "log_every": 1,
        "shift": True,
        "gain_db": 6.0,
    }
    return Config(data=str(folder), model_dir=str(model_dir), **(defaults | changes))


def rows(model_dir, split: str) -> list[dict]:
    lines = map(json.loads, (model_dir / "metrics.jsonl").read_text().splitlines())
    return [row for row in lines if row["split"] == split]


def weights_of(path) -> list[np.ndarray]:
    return keras.saving.load_model(path).get_weights()


@pytest.fixture(scope="module")
def six_steps(short_data_set, tmp_path_factory):
    """A run of 6 steps without a stop."""
    folder = tmp_path_factory.mktemp("six_steps")
    settings = config(short_data_set, folder, steps=6, validate_every=3, checkpoint_every=2, keep=2)
    return folder, settings, train(settings)


def test_what_a_run_leaves(six_steps):
    folder, settings, result = six_steps
    assert Config.from_json((folder / "config.json").read_text()) == settings
    assert json.loads((folder / "summary.json").read_text()) == dataclasses.asdict(result)
    assert result.first_step == 0
    assert [row["step"] for row in rows(folder, "train")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows(folder, "validation")] == [3, 6]
    checkpoints = sorted(path.name for path in (folder / "checkpoints").glob("*.index"))
    assert checkpoints == ["ckpt-4.index", "ckpt-6.index"]


def test_the_curves_are_in_tensorboard(six_steps):
    folder, _, _ = six_steps
    found = {}
    for split in ("train", "validation"):
        (events,) = (folder / "tensorboard" / split).iterdir()
        records = tf.data.TFRecordDataset(str(events))
        parsed = [tf.compat.v1.Event.FromString(record.numpy()) for record in records]
        found[split] = {
            (event.step, value.tag): float(tf.make_ndarray(value.tensor))
            for event in parsed
            for value in event.summary.value
        }
    tags = {tag for _, tag in found["train"]}
    per_teacher = {
        f"{key}/{name}" for key in ("loss", "top1", "top5") for name in ("imagenet", "places")
    }
    assert tags == {"loss", "clips_per_second", "waiting_share"} | per_teacher
    assert per_teacher <= {tag for _, tag in found["validation"]}
    row = rows(folder, "train")[4]
    assert found["train"][5, "loss/places"] == pytest.approx(row["loss/places"], rel=1e-6)


def test_the_loss_written_is_the_published_one(six_steps):
    """The first row is a fresh network's loss, computed here from its outputs with NumPy."""
    folder, settings, _ = six_steps
    row = rows(folder, "train")[0]
    keras.utils.set_random_seed(settings.seed + 1)
    info = data.usable_info(settings)
    network = SoundNet(5, {t.name: t.classes for t in info.teachers})
    batch = next(iter(data.train_batches(settings, info)))
    terms = []
    for name, logits in network(batch["waveform"], training=True).items():
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        t = batch["probs"][name].numpy()
        terms.append((t * np.log(t / p)).mean())
        assert row[f"loss/{name}"] == pytest.approx(250 * terms[-1], rel=1e-4)
    assert row["loss"] == pytest.approx(250 * np.mean(terms), rel=1e-4)


def test_validation_counts_every_clip_once(six_steps):
    """The last row, computed anew from `model.keras` with NumPy, clip by clip."""
    folder, settings, result = six_steps
    network = keras.saving.load_model(result.model)
    settings = dataclasses.replace(settings, batch_size=1)
    info = data.usable_info(settings)
    seen = list(itertools.islice(data.train_batches(settings, info), 12))  # 6 steps of 2 clips
    row = rows(folder, "validation")[-1]
    for name in ("imagenet", "places"):
        values = {"kl": [], "kl_constant": [], "top1": [], "top5": []}
        mean = np.mean([batch["probs"][name] for batch in seen], (0, 1, 2))
        for batch in data.validation_batches(settings, info):
            t, logits = batch["probs"][name].numpy()[0], network(batch["waveform"])[name].numpy()[0]
            p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            values["kl"].append((t * np.log(t / p)).sum(-1))
            values["kl_constant"].append((t * np.log(t / (mean / mean.sum()))).sum(-1))
            ranks = np.argsort(-logits, -1)
            for k in (1, 5):
                values[f"top{k}"].append((ranks[:, :k] == t.argmax(-1)[:, None]).any(-1))
        assert len(values["kl"]) == 3
        for key, expected in values.items():
            assert row[f"{key}/{name}"] == pytest.approx(np.mean(expected), rel=1e-3), key


def test_three_steps_and_three_more_are_six_bit_for_bit(six_steps, tmp_path):
    folder, settings, _ = six_steps
    stopped = dataclasses.replace(settings, model_dir=str(tmp_path), steps=3)
    train(stopped)
    result = train(dataclasses.replace(stopped, steps=6))
    assert result.first_step == 3
    for found, expected in zip(
        weights_of(tmp_path / "model.keras"), weights_of(folder / "model.keras"), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(rows(tmp_path, "train"), rows(folder, "train"), strict=True):
        assert found["step"] == expected["step"]
        assert found["loss"] == expected["loss"]
    expected = {(row["step"], row["loss"]) for row in rows(folder, "validation")}
    assert {(row["step"], row["loss"]) for row in rows(tmp_path, "validation")} == expected


def test_a_finished_run_is_not_trained_again(six_steps):
    folder, settings, _ = six_steps
    before = weights_of(folder / "model.keras")
    result = train(settings)
    assert result.first_step == 6
    assert result.train["loss"] == rows(folder, "train")[-1]["loss"]
    assert result.validation["loss"] == rows(folder, "validation")[-1]["loss"]
    assert json.loads((folder / "summary.json").read_text()) == dataclasses.asdict(result)
    assert not list(folder.glob("*.part"))
    for found, expected in zip(weights_of(folder / "model.keras"), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(TrainingError, match="already holds step 6"):
        train(dataclasses.replace(settings, steps=4))


@pytest.mark.slow
def test_half_a_line_and_a_damaged_checkpoint_do_not_stop_a_run(six_steps, tmp_path, capfd):
    """As a computer that lost its power may leave them: it goes on from the checkpoint before."""
    folder, settings, _ = six_steps
    shutil.copytree(folder, tmp_path / "model")
    (newest,) = (tmp_path / "model" / "checkpoints").glob("ckpt-6.data*")
    newest.write_bytes(b"")
    with (tmp_path / "model" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "split": "tr')
    result = train(dataclasses.replace(settings, model_dir=str(tmp_path / "model")))
    assert result.first_step == 4
    assert "ckpt-6 can't be read" in capfd.readouterr().out
    assert [row["step"] for row in rows(tmp_path / "model", "train")] == [1, 2, 3, 4, 5, 6]
    for found, expected in zip(
        weights_of(tmp_path / "model" / "model.keras"),
        weights_of(folder / "model.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    for checkpoint in (tmp_path / "model" / "checkpoints").glob("*.index"):
        checkpoint.write_bytes(b"")
    with pytest.raises(TrainingError, match=r"ckpt-6 can't.*ckpt-4 can't.*to start anew"):
        train(dataclasses.replace(settings, model_dir=str(tmp_path / "model")))


def test_a_data_set_of_other_classes_does_not_go_on_with_a_run(six_steps, short_data_set, tmp_path):
    _, settings, _ = six_steps
    shutil.copytree(short_data_set, tmp_path / "data")
    path = tmp_path / "data" / "dataset_info.json"
    path.write_text(path.read_text().replace('"places 3"', '"another place"'))
    with pytest.raises(TrainingError, match="other teachers or classes"):
        train(dataclasses.replace(settings, data=str(tmp_path / "data")))


def test_the_best_network_is_kept(six_steps):
    folder, _, result = six_steps
    validations = rows(folder, "validation")
    last_is_best = validations[1]["loss"] < validations[0]["loss"]
    same = all(
        np.array_equal(best, last)
        for best, last in zip(weights_of(result.best_model), weights_of(result.model), strict=True)
    )
    assert same == last_is_best


def test_the_saved_model_gives_the_networks_probabilities(six_steps):
    folder, _, result = six_steps
    network = keras.saving.load_model(result.model)
    served = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    waveform = np.random.default_rng(0).normal(0, 20, (2, 220_500)).astype("float32")
    probabilities = served(waveform=tf.constant(waveform))
    assert set(probabilities) == {"imagenet", "places"}
    for name, logits in network(waveform).items():
        np.testing.assert_allclose(probabilities[name], tf.nn.softmax(logits), atol=1e-5)
    second = waveform[:1, :22_050]
    tiled = network(np.resize(second[0], 56_798)[None])["places"]
    found = served(waveform=tf.constant(second))["places"]
    np.testing.assert_allclose(found, tf.nn.softmax(tiled), atol=1e-5)
    names = json.loads((folder / "saved_model/assets.extra/heads.json").read_text())
    assert names["places"] == list(network.heads["places"])


def test_a_fixed_batch_is_learnt(short_data_set):
    settings = config(short_data_set, "unused", shift=False, gain_db=0.0)
    info = data.usable_info(settings)
    batch = next(iter(data.train_batches(settings, info)))
    keras.utils.set_random_seed(0)
    network = SoundNet(5, {t.name: t.classes for t in info.teachers})
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = network(batch["waveform"], training=True)
            loss, _ = losses.distillation_loss(batch["probs"], logits)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    values = [float(step()) for _ in range(8)]
    assert min(values[-2:]) < 0.5 * values[0]


ALL_ON = {
    "average": 0.9,
    "schedule": "cosine",
    "warmup_steps": 2,
    "align": True,
    "crop": 8.0,
    "mix": 0.3,
}


@pytest.fixture(scope="module")
def beyond_the_paper(short_data_set, tmp_path_factory):
    """A run of 5 steps with everything on that the paper hasn't; every checkpoint is kept."""
    folder = tmp_path_factory.mktemp("beyond")
    settings = config(
        short_data_set, folder, steps=5, checkpoint_every=1, validate_every=5, keep=5, **ALL_ON
    )
    return folder, settings, train(settings)


def test_the_network_written_out_is_the_running_mean_of_the_weights(beyond_the_paper):
    """Computed anew with NumPy from the weights of each step's checkpoint."""
    folder, settings, result = beyond_the_paper
    network = keras.saving.load_model(result.model)
    keras.utils.set_random_seed(settings.seed + 1)
    fresh = SoundNet(5, network.heads)
    mean = fresh.get_weights()
    for step in range(1, 6):
        tf.train.Checkpoint(model=fresh).restore(
            str(folder / "checkpoints" / f"ckpt-{step}")
        ).expect_partial()
        stays = min(0.9, (1 + step) / (10 + step))
        mean = [stays * m + (1 - stays) * w for m, w in zip(mean, fresh.get_weights(), strict=True)]
    last = fresh.get_weights()
    for expected, found, unaveraged in zip(mean, network.get_weights(), last, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(found - unaveraged).max() > 1e-6
    # What is validated is that network too.
    info = data.usable_info(settings)
    (row,) = rows(folder, "validation")
    values = [
        losses.kl(batch["probs"]["places"], network(batch["waveform"])["places"])[:1]
        for batch in data.validation_batches(dataclasses.replace(settings, batch_size=2), info)
    ] + [
        losses.kl(batch["probs"]["places"], network(batch["waveform"])["places"])[1:]
        for batch in data.validation_batches(dataclasses.replace(settings, batch_size=2), info)
        if batch["weight"][1]
    ]
    assert row["kl/places"] == pytest.approx(np.mean(np.concatenate(values)), rel=1e-3)


def test_the_rate_rises_and_comes_down_to_nothing(beyond_the_paper):
    """2 steps up, then a half cosine; the 5th step's rate is that of 2/3 of the way down."""
    folder, settings, _ = beyond_the_paper
    rate = train_module._learning_rate(settings)
    expected = [0, 0.5, 1, *(0.5 * (1 + np.cos(np.pi * np.array([1, 2, 3]) / 3)))]
    found = [float(rate(step)) for step in range(6)]
    np.testing.assert_allclose(found, 1e-3 * np.array(expected), rtol=1e-5, atol=1e-9)
    # A first step at rate 0 changes no weight that is learnt; the second does.
    keras.utils.set_random_seed(settings.seed + 1)
    network = SoundNet(5, {"imagenet": map(str, range(12)), "places": map(str, range(7))})
    before = network.get_layer("conv1").kernel.numpy()
    for step, changed in ((1, False), (2, True)):
        tf.train.Checkpoint(model=network).restore(
            str(folder / "checkpoints" / f"ckpt-{step}")
        ).expect_partial()
        found = network.get_layer("conv1").kernel.numpy()
        assert np.array_equal(found, before) != changed


@pytest.mark.slow
def test_a_run_with_everything_on_goes_on_bit_for_bit(beyond_the_paper, tmp_path, monkeypatch):
    folder, settings, _ = beyond_the_paper
    stopped = dataclasses.replace(settings, model_dir=str(tmp_path))

    def stop(log, step):
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module.RunLog, "advance", stop)
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    result = train(stopped)
    assert result.first_step == 2
    for found, expected in zip(
        weights_of(tmp_path / "model.keras"), weights_of(folder / "model.keras"), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(TrainingError, match=r"other settings \(--steps; see"):
        train(dataclasses.replace(stopped, steps=6))


@pytest.mark.slow
def test_an_embedding_is_learnt_by_its_angle(tmp_path, data_set_writer, clip_maker, capsys):
    """The label steps' vectors are of unit length, near one another: their pitch is seen in them
    when the student's are nearer to each clip's own than the mean is."""
    random = np.random.default_rng(0)
    clips = []
    for number in range(4):
        clip = clip_maker(number, steps=2)
        values = random.normal(0, 1, (7, 5))[clip.probs["places"].argmax(1)]
        clips.append(dataclasses.replace(clip, embeddings={"looks": values.astype(np.float16)}))
    folder = data_set_writer(
        tmp_path / "data", {"train": [clips], "validation": [clips[:3]]}, clip_seconds=10.0
    )
    settings = config(
        folder,
        tmp_path / "model",
        teachers=("places", "looks"),
        batch_size=4,
        steps=12,
        shift=False,
    )
    result = train(settings)
    network = keras.saving.load_model(result.model)
    assert network.embeddings == {"looks"}
    cosines, constants, distances = [], [], []
    info = data.usable_info(settings)
    for batch in data.validation_batches(dataclasses.replace(settings, batch_size=1), info):
        t, s = batch["probs"]["looks"].numpy()[0], network(batch["waveform"])["looks"].numpy()[0]
        mean = np.mean([clip.embeddings["looks"].astype(float) for clip in clips], (0, 1))
        for vector, kept in ((s, cosines), (mean[None], constants)):
            norms = np.linalg.norm(t, axis=-1) * np.linalg.norm(vector, axis=-1)
            kept.append((t * vector).sum(-1) / norms)
        distances.append(1 - cosines[-1])
    row = rows(tmp_path / "model", "validation")[-1]
    assert row["cosine/looks"] == pytest.approx(np.mean(cosines), abs=1e-3)
    assert row["cosine_constant/looks"] == pytest.approx(np.mean(constants), abs=2e-2)
    assert row["loss/looks"] == pytest.approx(250 * np.mean(distances) / 5, rel=1e-2)
    assert not any(key in row for key in ("kl/looks", "top1/looks"))
    first, *_, last = (r["cosine/looks"] for r in rows(tmp_path / "model", "train"))
    assert last > first + 0.1
    assert "looks: cosine " in capsys.readouterr().out
    served = tf.saved_model.load(str(tmp_path / "model" / "saved_model"))
    waveform = np.random.default_rng(0).normal(0, 20, (1, 100_000)).astype("float32")
    found = served.signatures["serving_default"](waveform=tf.constant(waveform))["looks"]
    np.testing.assert_allclose(found, network(waveform)["looks"], atol=1e-5)


@pytest.mark.slow
def test_a_residual_network_learns(short_data_set, tmp_path):
    settings = config(short_data_set, tmp_path, depth=18, align=True, steps=3, learning_rate=1e-2)
    train(settings)
    network = keras.saving.load_model(tmp_path / "model.keras")
    assert network.depth == 18
    # The residual units have begun to count.
    assert np.abs(network.get_layer("bn7_1b").gamma).max() > 1e-3


def test_without_validation_clips(tmp_path, data_set_writer, clip_maker):
    folder = data_set_writer(
        tmp_path / "data", {"train": [[clip_maker(0, steps=2)]]}, clip_seconds=10.0
    )
    result = train(config(folder, tmp_path / "model", steps=1))
    assert result.best_model is None
    assert result.validation == {}


def test_a_loss_that_is_no_number_stops_the_run_at_its_step(short_data_set, tmp_path):
    message = r"the loss is (nan|inf) at step [23], whose clips are from (train-0000[01].tfrecord"
    message += r"(, )?)+; the last checkpoint is .*ckpt-1\. .*learning-rate"
    settings = config(short_data_set, tmp_path, steps=4, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(TrainingError, match=message):
        train(settings)
    assert not (tmp_path / "model.keras").exists()
    # The last good checkpoint is intact: it says the same again.
    with pytest.raises(TrainingError, match=message):
        train(settings)


def test_a_loss_that_explodes_stops_the_run(short_data_set, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is \d+\.\d+ at step \d, whose clips are"):
        train(config(short_data_set, tmp_path, steps=9, learning_rate=100.0))


def test_weights_that_are_no_numbers_are_not_saved(short_data_set, tmp_path):
    """The loss of a step is that of the weights before it: here it is still a number."""
    with pytest.raises(TrainingError, match=r"weights are no numbers any more at step 1.*none"):
        train(config(short_data_set, tmp_path, steps=1, learning_rate=1e39))
    assert not list((tmp_path / "checkpoints").glob("*"))
    assert not (tmp_path / "model.keras").exists()


def test_a_file_in_the_place_of_the_models_folder(short_data_set, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="--model-dir can't be a folder: .*not a directory"):
        train(config(short_data_set, tmp_path / "file"))


def test_another_backend_of_keras_is_refused(short_data_set, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(TrainingError, match="Set KERAS_BACKEND=tensorflow"):
        train(config(short_data_set, tmp_path))


def test_another_runs_folder_is_left_alone(six_steps):
    folder, settings, _ = six_steps
    before = (folder / "config.json").read_text()
    with pytest.raises(TrainingError, match=r"other settings \(--batch-size, --seed; see"):
        train(dataclasses.replace(settings, batch_size=1, seed=3))
    assert (folder / "config.json").read_text() == before


@pytest.fixture
def damaged_data_set(tmp_path, data_set_writer, clip_maker) -> Path:
    """Clips of 10 s: of the first training shard the second of three is damaged, of the second one
    has too many label steps, the third is missing; one of validation's two is damaged."""
    clips = [clip_maker(i, steps=2) for i in range(10)]
    folder = data_set_writer(
        tmp_path / "data",
        {
            "train": [clips[:3], [clip_maker(3, steps=3), *clips[4:6]], clips[6:8]],
            "validation": [clips[8:]],
        },
        clip_seconds=10.0,
    )
    (folder / "train-00002.tfrecord").unlink()
    for name, place in (("train-00000", 0.5), ("validation-00000", 0.9)):
        path = folder / f"{name}.tfrecord"
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1
        path.write_bytes(content)
    return folder


def test_damaged_records_stop_the_run_by_name(damaged_data_set, tmp_path, clip_maker):
    settings = config(damaged_data_set, tmp_path / "model", steps=3)
    with pytest.raises(SchemaError, match=r"train-00002.tfrecord is missing.*--damaged skip"):
        train(settings)
    path = damaged_data_set / "train-00002.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in (6, 7):
            writer.write(clip_maker(number, steps=2).to_bytes())
    message = r"2 damaged.*train-00000.tfrecord: record 1 is damaged \(corrupted record at \d+\), "
    message += r"and 1 after it can't be found; .*train-00001.tfrecord: record 0: video3/0 has 3 "
    with pytest.raises(TrainingError, match=message + "label steps.*--damaged skip"):
        train(settings)


@pytest.mark.slow
def test_damaged_records_are_passed_over_by_name_and_a_run_goes_on_alike(
    damaged_data_set, tmp_path, capfd
):
    settings = config(
        damaged_data_set, tmp_path / "model", steps=6, damaged="skip", checkpoint_every=1
    )
    result = train(settings)
    found = [words.replace(f"{damaged_data_set}/", "") for words in result.damaged]
    assert found[0] == "train-00002.tfrecord: it is missing, with 2 records"
    assert len(found) == 4
    for start, words in zip(
        (
            "train-00000.tfrecord: record 1 is damaged (corrupted record",
            "train-00001.tfrecord: record 0: video3/0 has 3 label steps",
            "validation-00000.tfrecord: record 1 is damaged (",
        ),
        sorted(found[1:]),
        strict=True,
    ):
        assert words.startswith(start)
    assert capfd.readouterr().out.count("passed over: ") == 4
    # Three clips are left, each heard twice in three batches.
    info = data.usable_info(settings)
    known = damage.Known(settings.model_dir, 0, 6).all
    batches = itertools.islice(data.train_batches(settings, info, damaged=known), 3)
    heard = [hash(sound.tobytes()) for batch in batches for sound in batch["waveform"].numpy()]
    assert len(heard) == 6
    plain = dataclasses.replace(settings, shift=False, gain_db=0.0)
    batches = itertools.islice(data.train_batches(plain, info, damaged=known), 3)
    heard = [hash(sound.tobytes()) for batch in batches for sound in batch["waveform"].numpy()]
    assert sorted(heard[:3]) == sorted(heard[3:])
    assert len(set(heard)) == 3

    stopped = dataclasses.replace(settings, model_dir=str(tmp_path / "stopped"), steps=3)
    train(stopped)
    assert train(dataclasses.replace(stopped, steps=6)).first_step == 3
    for one, other in zip(
        weights_of(tmp_path / "stopped" / "model.keras"), weights_of(result.model), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_data_set_of_which_nothing_is_left(tmp_path, data_set_writer, clip_maker):
    folder = data_set_writer(
        tmp_path / "data", {"train": [[clip_maker(0, steps=2)]]}, clip_seconds=10.0
    )
    (folder / "train-00000.tfrecord").unlink()
    with pytest.raises(TrainingError, match="too little of .* can be read for 1 parts"):
        train(config(folder, tmp_path / "model", damaged="skip"))


FULL_DISK_SCRIPT = """
import resource, sys
from trainer import task
# Room for the metrics, and for no checkpoint.
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
sys.exit(task.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_is_said_and_nothing_is_lost(six_steps, tmp_path):
    folder, settings, _ = six_steps
    shutil.copytree(folder, tmp_path / "model")
    arguments = ["--data", settings.data, "--model-dir", str(tmp_path / "model")]
    arguments += ["--depth", "5", "--batch-size", "2", "--shift", "--gain-db", "6"]
    arguments += ["--steps", "8", "--checkpoint-every", "1"]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK_SCRIPT, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: the checkpoint of step 7 can't be written (" in done.stderr
    assert "Make room; the same command then goes on from" in done.stderr
    checkpoints = sorted(path.name for path in (tmp_path / "model" / "checkpoints").iterdir())
    expected = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert checkpoints == expected
    done = subprocess.run(
        [sys.executable, "-m", "trainer.task", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "goes on at step 6" in done.stdout


# With so large an epsilon Adam follows the gradient's size; else it makes noise as large.
MIRRORED_SCRIPT = """
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from trainer.config import Config
from trainer.train import TrainingError, train
folder, model_dir = sys.argv[1:]
def config(name, **changes):
    return Config(data=folder, model_dir=f"{model_dir}/{name}", depth=5, steps=3, log_every=1,
                  epsilon=100.0, learning_rate=0.002, **{"batch_size": 4, **changes})
for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    train(config(len(devices)), tf.distribute.MirroredStrategy(devices))
for changes, words in (
    ({"batch_size": 3}, "--batch-size 3 doesn't divide over 2 devices; 4 does"),
    ({"accumulate": 4}, "over 2 devices in 4 pieces; 8 does"),
    ({"jit": True}, "--jit works on one device"),
    ({"precision": "float16"}, "--precision float16 works on one device"),
):
    try:
        train(config("refused", **changes), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    except TrainingError as error:
        assert words in str(error), error
    else:
        sys.exit(f"{changes} were accepted")
"""


def assert_trained_alike(found, expected, settings: Config) -> None:
    """Losses within 1e-4 of each other; weights within 5 % of the way that they have gone.

    Rounding turns a ReLU here and there, or another sample of a pool is the largest.
    """
    for split in ("train", "validation"):
        for one, other in zip(rows(found, split), rows(expected, split), strict=True):
            for name in ("loss", "loss/imagenet", "loss/places"):
                assert one[name] == pytest.approx(other[name], rel=1e-4)
    keras.utils.set_random_seed(settings.seed + 1)
    info = data.usable_info(settings)
    fresh = SoundNet(5, {t.name: t.classes for t in info.teachers})
    networks = [keras.saving.load_model(folder / "model.keras") for folder in (found, expected)]
    for before, one, other in zip(fresh.weights, *(n.weights for n in networks), strict=True):
        gone = np.linalg.norm(np.subtract(other, before))
        if re.search(r"conv[1-4]/bias", other.path):
            assert gone < 1e-6  # normalization takes it away: its gradient is noise
            continue
        assert gone > 0
        rounding = np.finfo("float32").eps * np.linalg.norm(other)
        apart = np.linalg.norm(np.subtract(one, other))
        assert apart < 0.05 * gone + rounding, other.path


@pytest.mark.slow
def test_two_devices_train_as_one_does(tmp_path, data_set_writer, clip_maker):
    clips = [clip_maker(i, steps=2) for i in range(8)]
    folder = data_set_writer(
        tmp_path / "data", {"train": [clips[:5]], "validation": [clips[5:]]}, clip_seconds=10.0
    )
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED_SCRIPT, str(folder), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    losses = [row["loss"] for row in rows(tmp_path / "1", "train")]
    assert len(losses) == 3
    assert_trained_alike(tmp_path / "2", tmp_path / "1", config(folder, tmp_path))


def free_addresses(count: int) -> list[str]:
    """Addresses of the loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


@pytest.mark.slow
def test_two_machines_train_as_one_does_and_go_on_after_one_is_killed(
    tmp_path, data_set_writer, clip_maker
):
    clips = [clip_maker(i, steps=2) for i in range(9)]
    folder = data_set_writer(
        tmp_path / "data",
        {"train": [clips[:2], clips[2:4], clips[4:6]], "validation": [clips[6:7], clips[7:]]},
        clip_seconds=10.0,
    )
    options = ["--depth", "5", "--batch-size", "4", "--parts", "2", "--log-every", "1"]
    options += ["--checkpoint-every", "2", "--shift", "--gain-db", "6"]
    options += ["--epsilon", "100", "--learning-rate", "0.002"]

    def command(name: str, steps: int) -> list[str]:
        folders = ["--data", str(folder), "--model-dir", str(tmp_path / name)]
        command = [sys.executable, "-m", "trainer.task", *folders, *options]
        return [*command, "--steps", str(steps)]

    def start_both(steps: int) -> list[subprocess.Popen]:
        cluster = {"worker": free_addresses(2)}
        return [
            subprocess.Popen(
                command("two", steps),
                env=os.environ
                | {
                    "TF_CONFIG": json.dumps(
                        {"cluster": cluster, "task": {"type": "worker", "index": number}}
                    )
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]

    metrics = tmp_path / "two" / "metrics.jsonl"
    chief, other = start_both(1_000)
    while '"step": 3' not in (metrics.read_text() if metrics.exists() else ""):
        assert chief.poll() is None, chief.communicate()
        time.sleep(0.01)
    other.kill()
    other.communicate()
    _, complaint = chief.communicate(timeout=300)
    assert chief.returncode == 1
    assert "error: another machine has ended or can't be reached" in complaint
    steps = rows(tmp_path / "two", "train")[-1]["step"] + 2
    for process in start_both(steps):
        out, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert "goes on at step" in out
        assert "2 CPUs of 2 machines" in out
    done = subprocess.run(command("one", steps), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_trained_alike(tmp_path / "two", tmp_path / "one", config(folder, tmp_path))


@pytest.mark.slow
def test_a_killed_run_of_eight_layers_goes_on_as_if_nothing_had_happened(data_set, tmp_path):
    """Both runs are processes of the same command, whose threads sum in the same order."""

    def command(model_dir, steps: int) -> list[str]:
        words = [sys.executable, "-m", "trainer.task", "--batch-size", "2", "--log-every", "1"]
        words += ["--shift", "--gain-db", "6", "--checkpoint-every", "2", "--steps", str(steps)]
        return [*words, "--data", str(data_set), "--model-dir", str(model_dir)]

    def parts(model_dir) -> Iterator[Path]:
        """What TensorFlow has written of a checkpoint that isn't whole yet."""
        return (model_dir / "checkpoints").glob("*temp*")

    killed, straight = tmp_path / "killed", tmp_path / "straight"
    metrics = killed / "metrics.jsonl"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def kill_when(ready: Callable[[], bool]) -> None:
        process = subprocess.Popen(command(killed, 1_000), **quiet)
        while not ready():
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL

    kill_when(lambda: metrics.exists() and '"step": 5' in metrics.read_text())
    # In the middle of writing a checkpoint, after the one that the first run left.
    kill_when(lambda: '"step": 7' in metrics.read_text() and any(parts(killed)))
    steps = rows(killed, "train")[-1]["step"] + 2
    done = subprocess.run(command(killed, steps), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((killed / "summary.json").read_text())["first_step"] >= 6
    assert not list(parts(killed))
    done = subprocess.run(command(straight, steps), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for found, expected in zip(
        weights_of(killed / "model.keras"), weights_of(straight / "model.keras"), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert [row["step"] for row in rows(killed, "train")] == list(range(1, steps + 1))


def real_clips(data_dir, count: int) -> list[ClipRecord]:
    """ESC-10 sounds, 20 s of one category each, the category as the teachers' certain word."""
    folder = data_dir / "esc10"
    with (folder / "meta" / "esc50.csv").open() as file:
        by_category: dict[str, list[str]] = {}
        for row in csv.DictReader(file):
            by_category.setdefault(row["category"], []).append(row["filename"])
    sizes = {
        "imagenet": len(classes.load("imagenet1000")),
        "places": len(classes.load("places401")),
    }
    clips = []
    for number in range(count):
        category, files = sorted(by_category.items())[number % len(by_category)]
        pieces = []
        for file in files[:4]:
            sound, rate = soundfile.read(folder / "audio" / file, dtype="float32")
            assert rate == 44_100
            pieces.append(sound.reshape(-1, 2).mean(-1))
        # Some of the files are a few samples short of 5 s.
        pcm = (np.resize(np.concatenate(pieces), 20 * 22_050) * 32_767).astype(np.int16)
        probs = {
            name: np.tile(np.eye(size)[number * 31 % size], (4, 1)).astype("f2")
            for name, size in sizes.items()
        }
        clips.append(
            ClipRecord(category, number, "", 0.0, pcm, "pcm", [2.5, 7.5, 12.5, 17.5], probs)
        )
    return clips


def test_a_fresh_network_with_certain_teachers_and_real_sound(data_dir):
    """About 2.8 with 1000 + 401 classes (uniform predictions: 2.73); the authors' log says 3.35."""
    clips = real_clips(data_dir, 4)
    keras.utils.set_random_seed(0)
    heads = {"imagenet": classes.load("imagenet1000"), "places": classes.load("places401")}
    network = SoundNet(8, heads)
    waveform = np.stack([clip.pcm / np.float32(128) for clip in clips])
    targets = {name: np.stack([clip.probs[name] for clip in clips]) for name in heads}
    loss, _ = losses.distillation_loss(targets, network(waveform, training=True))
    assert 2.65 < float(loss) < 3.35


@pytest.mark.slow
def test_the_command_as_people_run_it(short_data_set, tmp_path):
    """Five layers, one teacher, the l2 loss; its output isn't a terminal."""
    command = [sys.executable, "-m", "trainer.task", "--data", str(short_data_set), "--depth", "5"]
    command += ["--model-dir", str(tmp_path / "model"), "--batch-size", "2", "--steps", "2"]
    command += ["--teachers", "places", "--loss", "l2"]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # none of TensorFlow's chatter
    lines = done.stdout.splitlines()
    assert lines[0].startswith("SoundNet-5, ")
    assert "7 clips to train, 3 to validate" in lines[0]
    assert any("step 1 of 2: loss" in line for line in lines)
    assert any("best constant" in line for line in lines)
    assert lines[-1].startswith("2 steps done; the network is ")
    result = json.loads((tmp_path / "model" / "summary.json").read_text())
    assert list(keras.saving.load_model(result["model"]).heads) == ["places"]
    assert 0 < result["train"]["loss"] < 250 * 2 / 7
    assert result["validation"]["kl/places"] > 0


def one_step(short_data_set, folder, **changes) -> tuple[float, list[np.ndarray]]:
    """The loss of a step with all clips in the batch, and the weights after it."""
    changes = {"batch_size": 4, "shift": False, "gain_db": 0.0, "epsilon": 100.0} | changes
    result = train(config(short_data_set, folder, steps=1, **changes))
    return result.train["loss"], weights_of(result.model)


@pytest.mark.slow
def test_in_pieces_gradients_add_up(short_data_set, tmp_path, monkeypatch):
    """Batch normalization apart: here it has running statistics, which don't depend on pieces."""
    monkeypatch.setattr(
        BatchNormalization,
        "call",
        lambda self, inputs, training=None, mask=None: keras.layers.BatchNormalization.call(
            self, inputs, training=False
        ),
    )
    loss, weights = one_step(short_data_set, tmp_path / "whole")
    in_pieces, weights_in_pieces = one_step(short_data_set, tmp_path / "pieces", accumulate=4)
    assert in_pieces == pytest.approx(loss, rel=1e-5)
    for one, other in zip(weights_in_pieces, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_in_pieces_a_run_learns(short_data_set, tmp_path):
    result = train(config(short_data_set, tmp_path, steps=8, batch_size=4, accumulate=2))
    assert result.train["loss"] < rows(tmp_path, "train")[0]["loss"]


def assert_masters_are_float32(path) -> None:
    network = keras.saving.load_model(path)
    assert {weight.dtype for weight in network.weights} == {"float32"}
    assert network.compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_bfloat16_learns_much_the_same(short_data_set, tmp_path):
    changes = {"steps": 6, "batch_size": 4, "shift": False, "gain_db": 0.0}
    train(config(short_data_set, tmp_path / "full", **changes))
    half = config(short_data_set, tmp_path / "half", precision="bfloat16", **changes)
    result = train(half)
    losses = [row["loss"] for row in rows(tmp_path / "half", "train")]
    expected = [row["loss"] for row in rows(tmp_path / "full", "train")]
    assert losses[0] == pytest.approx(expected[0], rel=0.02)
    assert losses[0] != expected[0]  # it did compute in half precision
    assert losses[-1] < 0.7 * losses[0]
    assert_masters_are_float32(result.model)


@pytest.mark.slow
def test_float16_scales_the_loss(short_data_set, tmp_path):
    """Processors take their time over float16, so it gets little to hear."""
    settings = config(
        short_data_set, tmp_path / "small", precision="float16", crop=2.6, batch_size=1, steps=1
    )

    def scale_and_weights(settings: Config) -> tuple[float, list[np.ndarray]]:
        result = train(settings)
        reader = tf.train.load_checkpoint(f"{settings.model_dir}/checkpoints")
        (name,) = [n for n in reader.get_variable_to_shape_map() if "dynamic_scale" in n]
        assert_masters_are_float32(result.model)
        network = keras.saving.load_model(result.model)
        return float(reader.get_tensor(name)), [w.numpy() for w in network.trainable_weights]

    keras.utils.set_random_seed(settings.seed + 1)
    info = data.usable_info(settings)
    fresh = SoundNet(5, {t.name: t.classes for t in info.teachers}).trainable_weights
    scale, weights = scale_and_weights(dataclasses.replace(settings, loss_scale=1e-3))
    assert scale == 2.0**15
    assert not any(np.array_equal(w, before) for w, before in zip(weights, fresh, strict=True))
    assert all(np.isfinite(w).all() for w in weights)
    # Gradients that overflow cost a step, and the scale is halved.
    huge = dataclasses.replace(settings, model_dir=str(tmp_path / "huge"), loss_scale=1e6)
    scale, weights = scale_and_weights(huge)
    assert scale == 2.0**14
    assert all(np.array_equal(w, before) for w, before in zip(weights, fresh, strict=True))
    # A run goes on with the scale that it had.
    scale, _ = scale_and_weights(dataclasses.replace(huge, steps=2))
    assert scale == 2.0**13


@pytest.mark.slow
def test_xla_computes_the_same(short_data_set, tmp_path):
    loss, weights = one_step(short_data_set, tmp_path / "plain")
    compiled, weights_compiled = one_step(short_data_set, tmp_path / "jit", jit=True)
    assert compiled == pytest.approx(loss, rel=1e-4)
    for one, other in zip(weights_compiled, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_the_trace_has_the_steps_asked_for(short_data_set, tmp_path):
    train(config(short_data_set, tmp_path, steps=5, profile=2))
    (trace,) = (tmp_path / "tensorboard" / "train").rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(trace.read_bytes())
    steps = set()
    for plane in space.planes:
        step = [key for key, stat in plane.stat_metadata.items() if stat.name == "step_num"]
        for event in (event for line in plane.lines for event in line.events):
            if plane.event_metadata[event.metadata_id].name == "train":
                steps |= {stat.int64_value for stat in event.stats if stat.metadata_id in step}
    assert steps == {3, 4}
