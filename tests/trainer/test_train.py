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

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

import trainer.train as train_module
from schemas import classes
from schemas.clip import ClipRecord
from trainer import data, losses
from trainer.config import Config
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
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step [123].*learning-rate"):
        train(config(short_data_set, tmp_path, steps=4, learning_rate=1e30))
    assert not (tmp_path / "model.keras").exists()


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


def test_damaged_records_stop_the_run_by_name(tmp_path, data_set_writer, clip_maker):
    folder = data_set_writer(
        tmp_path / "data",
        {"train": [[clip_maker(0, steps=2), clip_maker(1, steps=2)], [clip_maker(2, steps=2)]]},
        clip_seconds=10.0,
    )
    path = folder / "train-00000.tfrecord"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"1 damaged.*train-00000.tfrecord: record 1 is dam"):
        train(config(folder, tmp_path / "model", steps=3))


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
    """Losses within 1e-4 of each other; weights within 2 % of the way that they have gone."""
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
        assert apart < 0.02 * gone + rounding, other.path


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
    _, complaint = chief.communicate(timeout=60)
    assert chief.returncode == 1
    assert "error: another machine has ended or can't be reached" in complaint
    steps = rows(tmp_path / "two", "train")[-1]["step"] + 2
    for process in start_both(steps):
        out, errors = process.communicate(timeout=120)
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

    killed, straight = tmp_path / "killed", tmp_path / "straight"
    metrics = killed / "metrics.jsonl"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(killed, 1_000), **quiet)
    while '"step": 5' not in (metrics.read_text() if metrics.exists() else ""):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    time.sleep(0.05)  # into the next step
    process.kill()
    assert process.wait() == -signal.SIGKILL
    steps = rows(killed, "train")[-1]["step"] + 2
    done = subprocess.run(command(killed, steps), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((killed / "summary.json").read_text())["first_step"] >= 4
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
