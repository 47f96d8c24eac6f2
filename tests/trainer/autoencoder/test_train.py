"""An autoencoder's training, whole, on small data sets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from schemas import SchemaError
from trainer import data, task
from trainer.autoencoder.config import AutoencoderConfig
from trainer.autoencoder.network import Autoencoder
from trainer.autoencoder.train import train
from trainer.config import Config
from trainer.errors import TrainingError
from trainer.load import load


def config(data: Path, model_dir: Path, **changes) -> AutoencoderConfig:
    defaults = {"batch_size": 2, "steps": 4, "crop": 1.0, "log_every": 1, "checkpoint_every": 2}
    return AutoencoderConfig(str(data), str(model_dir), **(defaults | changes))


@pytest.fixture(scope="module")
def four_steps(short_data_set, tmp_path_factory):
    """A run of 4 steps without a stop."""
    folder = tmp_path_factory.mktemp("four_steps")
    return folder, train(config(short_data_set, folder))


def test_what_a_run_leaves(four_steps):
    folder, result = four_steps
    assert json.loads((folder / "summary.json").read_text())["model"] == result.model
    network = load(result.model, Autoencoder)
    assert network.bottleneck == "conv4"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["split"]) for row in rows] == [
        *((step, "train") for step in (1, 2, 3, 4)),
        (4, "validation"),
    ]
    assert result.validation.keys() == {"loss", "unexplained"}


def test_the_loss_is_the_mean_squared_error_at_full_scale_1(four_steps, short_data_set):
    _, result = four_steps
    network, info = load(result.model, Autoencoder), data.read_info(str(short_data_set))
    reading = Config(str(short_data_set), "m", batch_size=2)
    clips = []
    for batch in data.validation_batches(reading, info):
        clips += [w for w, there in zip(batch["waveform"], batch["weight"], strict=True) if there]
    heard = np.stack(clips) / 256
    assert len(heard) == 3
    loss = np.mean((heard - network(256 * heard) / 256) ** 2)
    assert result.validation["loss"] == pytest.approx(loss, rel=1e-4)
    unexplained = loss / np.mean(heard**2)
    assert result.validation["unexplained"] == pytest.approx(unexplained, rel=1e-4)


@pytest.mark.slow
def test_two_steps_and_two_more_are_four_bit_for_bit(four_steps, short_data_set, tmp_path):
    train(config(short_data_set, tmp_path, steps=2))
    resumed = train(config(short_data_set, tmp_path))
    whole = load(four_steps[1].model, Autoencoder).get_weights()
    for one, other in zip(load(resumed.model, Autoencoder).get_weights(), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_runs_folder_is_left_alone(four_steps, short_data_set):
    folder, _ = four_steps
    with pytest.raises(TrainingError, match=r"other settings \(--bottleneck, --seed; see"):
        train(config(short_data_set, folder, bottleneck="pool5", seed=1))
    with pytest.raises(TrainingError, match="already holds step 4"):
        train(config(short_data_set, folder, steps=3))


@pytest.mark.slow
def test_damaged_records_are_passed_over_by_name(tmp_path, data_set_writer, clip_maker):
    clips = [clip_maker(number, steps=2) for number in range(4)]
    folder = data_set_writer(
        tmp_path / "data", {"train": [clips[:2], clips[2:]]}, clip_seconds=10.0
    )
    shard = folder / "train-00001.tfrecord"
    damaged = bytearray(shard.read_bytes())
    damaged[-100] ^= 1
    shard.write_bytes(damaged)
    result = train(config(folder, tmp_path / "model", steps=2))
    assert len(result.damaged) == 1
    assert "train-00001.tfrecord: record 1 is damaged" in result.damaged[0]
    assert result.validation == {}


def test_a_data_set_without_clips(tmp_path, data_set_writer):
    folder = data_set_writer(tmp_path / "data", {"train": []})
    with pytest.raises(SchemaError, match="no clips to train on"):
        train(config(folder, tmp_path / "model"))


@pytest.mark.slow
def test_a_hum_is_learnt(tmp_path, data_set_writer, clip_maker):
    time = np.arange(10 * 22_050) / 22_050
    hum = (12_000 * np.sin(2 * np.pi * 55 * time)).astype(np.int16)
    clip = dataclasses.replace(clip_maker(0, steps=2), pcm=hum)
    folder = data_set_writer(tmp_path / "data", {"train": [[clip]]}, clip_seconds=10.0)
    result = train(config(folder, tmp_path / "model", steps=50, crop=0.5, log_every=10))
    assert result.train["unexplained"] < 0.2  # silence stands at 1


@pytest.mark.parametrize("crop", [0.005, 10.0])
def test_pieces_that_can_not_be_heard(short_data_set, tmp_path, crop):
    with pytest.raises(SchemaError, match="from 0.01 s .what conv4 needs. to below 10 s"):
        train(config(short_data_set, tmp_path, crop=crop))


def test_the_command(short_data_set, tmp_path, capsys):
    arguments = ["--task", "autoencoder", "--data", str(short_data_set), "--model-dir"]
    assert task.main([*arguments, "m", "--batch-size", "3", "--show-config"]) == 0
    assert json.loads(capsys.readouterr().out)["batch_size"] == 3
    with pytest.raises(SystemExit):
        task.main([*arguments, "m", "--steps", "0"])
    assert "--steps is 0; more than 0 is wanted" in capsys.readouterr().err
