"""The command's options and its errors."""

import dataclasses
import json
import subprocess
import sys

import pytest
import tensorflow as tf

import trainer.train
from trainer import claim, task
from trainer.config import Config, option


def test_the_defaults_are_the_published_recipe():
    config = Config(data="data", model_dir="model")
    assert (config.depth, config.batch_size, config.steps) == (8, 64, 100_000)
    assert (config.loss, config.loss_scale) == ("kl", 250.0)
    assert (config.learning_rate, config.beta_1, config.beta_2, config.epsilon) == (
        1e-3,
        0.9,
        0.999,
        1e-8,
    )
    assert (config.shift, config.gain_db, config.teachers) == (False, 0.0, ())
    assert (config.align, config.crop, config.mix) == (False, 0.0, 0.0)
    assert (config.schedule, config.average) == ("constant", 0.0)


def test_every_setting_is_an_option_with_help():
    text = task.build_parser().format_help()
    for field in dataclasses.fields(Config):
        assert option(field.name) in text
        assert field.metadata["help"]


def test_options_become_settings(capsys):
    arguments = ["--data", "d", "--model-dir", "m", "--teachers", "places", "imagenet", "--shift"]
    assert task.main([*arguments, "--gain-db", "6", "--depth", "5", "--show-config"]) == 0
    shown = Config.from_json(capsys.readouterr().out)
    assert shown == Config(
        data="d",
        model_dir="m",
        teachers=("places", "imagenet"),
        shift=True,
        gain_db=6.0,
        depth=5,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "0"], "--batch-size is 0; more than 0 is wanted"),
        (["--gain-db", "-1"], "--gain-db is -1.0; 0 to 100 is wanted"),
        (["--gain-db", "inf"], "--gain-db is inf; 0 to 100 is wanted"),
        (["--loss-scale", "inf"], "--loss-scale is inf; more than 0 is wanted"),
        (["--seed", "4294967295"], "--seed is 4294967295; 0 to 4,294,967,294 is wanted"),
        (["--teachers", "a", "b", "a"], "--teachers names one twice: a, b, a"),
        (["--beta-1", "1"], "--beta-1 is 1.0; 0 to below 1 is wanted"),
        (["--learning-rate", "nan"], "--learning-rate is nan; more than 0"),
        (["--depth", "7"], "invalid choice: 7"),
        (["--average", "1"], "--average is 1.0; 0 to below 1 is wanted"),
        (["--mix", "0.2", "--batch-size", "1"], "--batch-size 2 or more is wanted"),
        (["--parts", "3"], "--batch-size 64 doesn't divide over --parts 3"),
        (["--accumulate", "0"], "--accumulate is 0; more than 0 is wanted"),
        (["--warmup-steps", "10"], "--warmup-steps goes with --schedule cosine"),
        (
            ["--schedule", "cosine", "--warmup-steps", "10", "--steps", "10"],
            "--warmup-steps is 10, and --steps 10: nothing is left",
        ),
    ],
)
def test_settings_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        task.main(["--data", "d", "--model-dir", "m", *arguments])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_settings_come_back_from_their_file():
    config = Config(data="d", model_dir="m", teachers=("places",), shift=True)
    assert Config.from_json(config.to_json()) == config
    for text in ("{}", "nonsense", json.dumps({"teachers": [], "colour": "red"})):
        with pytest.raises(ValueError, match=r"settings|Expecting"):
            Config.from_json(text)


def test_only_what_keeps_a_run_the_same_run_must_stay():
    config = Config(data="d", model_dir="m")
    assert config.differs_from(dataclasses.replace(config, steps=7, keep=1, data="moved")) == []
    cosine = dataclasses.replace(config, schedule="cosine")
    assert cosine.differs_from(dataclasses.replace(cosine, steps=7)) == ["--steps"]
    other = dataclasses.replace(config, batch_size=1, shift=True)
    assert config.differs_from(other) == ["--batch-size", "--shift"]


def test_errors_are_sentences(tmp_path, capsys):
    assert task.main(["--data", str(tmp_path), "--model-dir", str(tmp_path / "model")]) == 1
    assert capsys.readouterr().err.startswith("error: no dataset_info.json in ")
    assert not (tmp_path / "model").exists()


def test_one_training_at_a_time_works_in_a_folder(tmp_path, capsys):
    folder = str(tmp_path / "model")
    with claim.alone(folder):
        assert task.main(["--data", "d", "--model-dir", folder]) == 1
        assert (tmp_path / "model").exists()  # it isn't the other's to remove
    assert "another training is at work in" in capsys.readouterr().err


def test_a_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "model").touch()
    assert task.main(["--data", "d", "--model-dir", str(tmp_path / "model")]) == 1
    assert "--model-dir can't be a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"), "make room"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), "--batch-size"),
        (OSError(28, "No space left on device", "x"), "No space left on device: 'x'"),
    ],
)
def test_a_full_disk_is_not_taken_for_a_full_memory(failure, words, monkeypatch, capsys):
    def fail(_):
        raise failure

    monkeypatch.setattr(trainer.train, "train", fail)
    assert task.main(["--data", "d", "--model-dir", "m"]) == 1
    assert words in capsys.readouterr().err


def test_help_does_not_wait_for_tensorflow():
    script = "import sys; from trainer import task; task.build_parser().format_help(); "
    script += "sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
