"""Training with labels, whole, on a small list."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import media
import soundnet
import trainer.supervised.train as module
from schemas import SchemaError
from tests.conftest import ROOT
from trainer import task
from trainer.network import SoundNet
from trainer.supervised import judgement
from trainer.supervised.config import LabelConfig
from trainer.supervised.train import class_weights, take_over, train
from trainer.train import TrainingError

SAMPLES = 5 * 22050


def config(sound_list, model_dir, **changes) -> LabelConfig:
    defaults = {
        "task": "scratch",
        "depth": 5,
        "batch_size": 4,
        "epochs": 6,
        "held_out": "folds",
        "log_every": 1,
        "checkpoint_every": 2,
    }
    return LabelConfig(data=str(sound_list), model_dir=str(model_dir), **(defaults | changes))


def weights_of(path) -> list[np.ndarray]:
    return keras.saving.load_model(path).get_weights()


def losses_of(folder) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines]


@pytest.fixture(scope="module")
def two_folds(sound_list, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_folds")
    settings = config(sound_list, folder)
    return folder, settings, train(settings)


def test_what_a_run_leaves(two_folds, sound_list):
    folder, settings, result = two_folds
    assert LabelConfig.from_json((folder / "config.json").read_text()) == settings
    assert json.loads((folder / "summary.json").read_text()) == dataclasses.asdict(result)
    assert result.classes == ["hiss", "tone"]
    assert list(result.models) == ["1", "2"]
    assert list(result.unreadable) == ["broken.wav"]
    with (folder / "answers.csv").open() as file:
        answers = list(csv.DictReader(file))
    assert [answer["path"] for answer in answers] == [
        *(f"{i}-{('tone', 'hiss')[i % 2]}.wav" for i in range(8)),
        "broken.wav",
    ]
    assert answers[8]["said"] == "(unreadable)"
    right = sum(answer["said"] == answer["label"] for answer in answers)
    assert result.accuracy == pytest.approx(100 * right / 9)
    with (folder / "confusion.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["label", "hiss", "tone", "(unreadable)"]
    counts = np.array([row[1:] for row in rows[1:]], int)
    assert counts.tolist() == result.confusion
    assert counts.sum(1).tolist() == [5, 4]
    assert counts[:, 2].tolist() == [1, 0]
    assert np.trace(counts) == right
    assert losses_of(folder / "fold-1")[-1] < 0.9 * losses_of(folder / "fold-1")[0]


def test_answers_are_those_of_the_network_that_was_not_trained_on_the_sound(two_folds, sound_list):
    """Computed anew through `soundnet`'s way to a file; 12 s are three pieces."""
    folder, _, result = two_folds
    with (folder / "answers.csv").open() as file:
        answers = {answer["path"]: answer for answer in csv.DictReader(file)}
    for name, fold, pieces in (
        ("0-tone.wav", "1", [0]),
        ("5-hiss.wav", "2", [0, SAMPLES, 7 * 22050]),
    ):
        network = keras.saving.load_model(result.models[fold])
        waveform = media.load_waveform(sound_list.parent / name)
        logits = [network(waveform[None, s : s + SAMPLES])["labels"][0, 0] for s in pieces]
        probabilities = np.mean([keras.ops.softmax(each) for each in logits], 0)
        best = int(probabilities.argmax())
        assert answers[name]["said"] == result.classes[best]
        assert float(answers[name]["probability"]) == pytest.approx(probabilities[best], abs=1e-4)


def test_the_network_is_one_that_people_can_use(two_folds, sound_list):
    _, _, result = two_folds
    model = soundnet.load_model(result.models["1"])
    prediction = model.predict(sound_list.parent / "5-hiss.wav")["labels"]
    assert prediction.classes == ("hiss", "tone")
    assert prediction.probabilities.shape[0] >= 1
    assert model.embed(sound_list.parent / "5-hiss.wav", layer="conv4").values.shape[1] == 256


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_bit_for_bit(two_folds, sound_list, tmp_path, monkeypatch):
    folder, settings, result = two_folds
    stopped = dataclasses.replace(settings, model_dir=str(tmp_path))
    seen = []

    def stop(log, step):
        seen.append(step)
        if len(seen) == 9:  # in the second fold, behind a checkpoint
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.RunLog, "advance", stop)
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    assert (tmp_path / "fold-1/model.keras").exists()
    assert not (tmp_path / "fold-2/model.keras").exists()
    before = (tmp_path / "fold-1/model.keras").read_bytes()
    again = train(stopped)
    assert (tmp_path / "fold-1/model.keras").read_bytes() == before
    for fold in ("1", "2"):
        for found, expected in zip(
            weights_of(again.models[fold]), weights_of(result.models[fold]), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        assert losses_of(tmp_path / f"fold-{fold}") == losses_of(folder / f"fold-{fold}")
    assert (tmp_path / "answers.csv").read_text() == (folder / "answers.csv").read_text()


def test_another_run_or_list_is_left_alone(two_folds, sound_list, tmp_path):
    _, settings, _ = two_folds
    with pytest.raises(TrainingError, match=r"other settings \(--batch-size, --seed; see"):
        train(dataclasses.replace(settings, batch_size=2, seed=1))
    other = sound_list.parent / "other.csv"
    other.write_text(sound_list.read_text().replace("0-tone.wav,tone", "0-tone.wav,hiss"))
    with pytest.raises(TrainingError, match=r"other settings \(the list; see"):
        train(dataclasses.replace(settings, data=str(other)))
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="--model-dir can't be a folder"):
        train(dataclasses.replace(settings, model_dir=str(tmp_path / "file")))


def test_each_epoch_hears_every_sound_once_and_pieces_begin_anywhere(sound_list, tmp_path):
    sounds = module.listing.read(str(sound_list))
    heard = module.decode(sounds, tmp_path, "downmix")
    (part,) = module.listing.parts(sounds[:8], "none")
    settings = config(sound_list, tmp_path, batch_size=3)
    drawn = [one for step in range(8) for one in module.draw(settings, part, heard, step)]
    epochs = [[place for place, _ in drawn[i : i + 8]] for i in (0, 8, 16)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    starts = {start for place, start in drawn if place == 5}  # 12 s
    assert len(starts) == 3
    assert all(0 <= start <= 7 * 22050 for start in starts)
    assert {start for place, start in drawn if place != 5} == {0}
    assert drawn != [
        one
        for step in range(8)
        for one in module.draw(dataclasses.replace(settings, seed=1), part, heard, step)
    ]


def test_balanced_classes_count_alike_and_the_loss_is_the_cross_entropy(sound_list, tmp_path):
    labels = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(class_weights(labels, 2, "balanced"), [4 / 6, 2])
    np.testing.assert_array_equal(class_weights(labels, 2, "none"), [1, 1])
    lines = sound_list.read_text().splitlines()
    uneven = sound_list.parent / "uneven.csv"
    uneven.write_text("\n".join([*lines[:2], lines[2], lines[4], lines[6]]) + "\n")
    settings = config(
        uneven, tmp_path, held_out="none", epochs=1, class_weights="balanced", batch_size=4
    )
    result = train(settings)
    assert (result.accuracy, result.by_class) == (None, {"hiss": None, "tone": None})
    assert not (tmp_path / "answers.csv").exists()
    (loss,) = losses_of(tmp_path)
    keras.utils.set_random_seed(1)
    fresh = SoundNet(5, {"labels": result.classes}, classifier=True)
    sounds = module.listing.read(str(uneven))
    heard = module.decode(sounds, tmp_path / "sounds", "downmix")
    (part,) = module.listing.parts(sounds, "none")
    drawn = module.draw(settings, part, heard, 0)
    logits = fresh(np.stack([heard.piece(*one, SAMPLES) for one in drawn]), training=True)
    log = np.asarray(keras.ops.log_softmax(logits["labels"]))[:, 0]
    classes = [result.classes.index(sounds[place].label) for place, _ in drawn]
    assert sorted(classes) == [0, 0, 0, 1]
    weights = np.array([4 / 6, 2])[classes]
    assert loss == pytest.approx(np.mean(-log[np.arange(4), classes] * weights), rel=1e-4)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A network with heads of teachers, its statistics no longer those of a fresh one."""
    keras.utils.set_random_seed(4)
    network = SoundNet(5, {"imagenet": ["a", "b", "c"], "places": ["d", "e"]})
    network(np.random.default_rng(0).normal(0, 20, (2, 220_500)).astype("f4"), training=True)
    path = tmp_path_factory.mktemp("taught") / "model.keras"
    network.save(path)
    return path, network


def test_fine_tuning_begins_with_the_other_networks_layers(taught, sound_list, tmp_path):
    path, base = taught
    model = SoundNet(5, {"labels": ["x", "y"]}, classifier=True)
    head = model.get_layer("conv5_labels").kernel.numpy()
    take_over(base, model)
    waveform = np.random.default_rng(1).normal(0, 20, (1, SAMPLES)).astype("f4")
    np.testing.assert_array_equal(
        model.features(["conv4"])(waveform)["conv4"], base.features(["conv4"])(waveform)["conv4"]
    )
    np.testing.assert_array_equal(model.get_layer("conv5_labels").kernel, head)
    settings = config(
        sound_list, tmp_path, task="finetune", weights=str(path), held_out="split", epochs=2
    )
    result = train(settings)
    # Nothing is frozen: each layer has moved, and by little.
    tuned = keras.saving.load_model(result.models[""])
    assert (tmp_path / "model.keras").exists()
    for layer in base.layers:
        if layer.name.startswith("conv") and "_" not in layer.name:
            moved = np.abs(tuned.get_layer(layer.name).kernel - layer.kernel).max()
            assert 0 < moved < 0.02, layer.name


def test_a_loss_that_is_no_number_stops_the_run_and_names_its_sounds(sound_list, tmp_path):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step \d+ \(sounds .*\.wav"):
        train(config(sound_list, tmp_path, learning_rate=1e30, checkpoint_every=50))
    assert not (tmp_path / "fold-1/model.keras").exists()


@pytest.mark.slow
def test_what_cannot_be_read_may_stop_the_run(sound_list, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(sound_list.parent, copy)
    stopped = config(copy / "list.csv", tmp_path / "model", unreadable="stop", epochs=1)
    with pytest.raises(SchemaError, match=r"(?s)1 of 9 sounds can't be read:\s+broken.wav: .*skip"):
        train(stopped)
    shutil.copy(copy / "1-hiss.wav", copy / "broken.wav")
    assert not train(stopped).unreadable
    text = sound_list.read_text().splitlines()
    only = sound_list.parent / "only.csv"
    only.write_text("\n".join([*text[:2], text[3], "broken.wav,hiss,2,test"]) + "\n")
    with pytest.raises(SchemaError, match="none of the sounds of hiss to train on can be read"):
        train(config(only, tmp_path / "only", held_out="none"))


def test_weights_that_do_not_fit(taught, sound_list, tmp_path):
    path, _ = taught
    for changes, message in (
        ({"weights": str(path), "depth": 8}, "holds a SoundNet-5; give --depth 5"),
        ({"weights": str(sound_list)}, "--weights: .*list.csv is not a .keras file"),
        ({"weights": str(path), "crop": 1.0}, "--crop 1: SoundNet-5 needs"),
    ):
        with pytest.raises(SchemaError, match=message):
            train(config(sound_list, tmp_path / "model", task="finetune", **changes))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "finetune"], "give --weights FILE.keras"),
        (["--task", "scratch", "--weights", "a.keras"], "begins without --weights"),
        (["--task", "scratch", "--model-dir", "gs://b/m"], "a folder on this machine is wanted"),
        (["--task", "scratch", "--folds", "1", "1"], "names one twice"),
        (
            ["--task", "scratch", "--folds", "1", "--held-out", "split"],
            "goes with --held-out folds",
        ),
        (["--task", "scratch", "--epochs", "0"], "--epochs is 0; more than 0"),
        (["--task", "scratch", "--shift"], "unrecognized arguments: --shift"),
        (["--task", "dance"], "invalid choice: 'dance'"),
    ],
)
def test_settings_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        task.main(["--data", "d.csv", "--model-dir", "m", *arguments])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_the_defaults_are_the_authors_fine_tuning_and_every_setting_is_an_option(capsys):
    arguments = ["--task", "finetune", "--data", "d", "--model-dir", "m", "--weights", "w.keras"]
    assert task.main([*arguments, "--folds", "2", "3", "--show-config"]) == 0
    shown = LabelConfig.from_json(capsys.readouterr().out)
    assert (shown.epochs, shown.batch_size, shown.crop, shown.learning_rate) == (50, 256, 5.0, 1e-3)
    assert (shown.depth, shown.class_weights, shown.folds) == (8, "none", ("2", "3"))
    text = task.build_parser("finetune").format_help()
    for field in dataclasses.fields(LabelConfig):
        assert f"--{field.name.replace('_', '-')}" in text
        assert field.metadata["help"]


def test_the_confusion_matrix_counts_what_was_said_in_the_columns():
    said = [("a", "a"), ("a", "b"), ("b", "b"), ("b", judgement.UNREADABLE)]
    answers = [judgement.Answer("f", "", label, name, 0.5) for label, name in said]
    counts = judgement.confusion(answers, ["a", "b", "c"])
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert judgement.recalls(counts)[:2].tolist() == [50, 50]
    assert np.isnan(judgement.recalls(counts)[2])
    assert judgement.accuracy(answers) == 50


@pytest.mark.slow
def test_the_command_as_people_run_it(sound_list, tmp_path):
    command = [sys.executable, "-m", "trainer.task", "--task", "scratch", "--depth", "5"]
    command += ["--data", str(sound_list), "--model-dir", str(tmp_path), "--batch-size", "4"]
    command += ["--epochs", "2", "--held-out", "split"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "1 of 9 sounds can't be read and are left out:\n  broken.wav: " in done.stdout
    assert "SoundNet-5 from random weights" in done.stdout
    assert "6 sounds to train, 3 held out" in done.stdout
    assert "Confusion matrix" in done.stdout
    assert " of 3 sounds named rightly: " in done.stdout


@pytest.mark.slow
def test_the_published_network_learns_real_sounds_with_labels(
    data_dir, published_weights, tmp_path
):
    """Four classes of ESC-10, folds 1 to 3; fold 1 is judged."""
    wanted = {"dog", "rain", "clock_tick", "chainsaw"}
    with (data_dir / "esc10/meta/esc50.csv").open() as file:
        reader = csv.DictReader(file)
        some = [r for r in reader if r["category"] in wanted and r["fold"] in "123"]
    with (tmp_path / "list.csv").open("w") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(some)
    assert len(some) == 4 * 3 * 8
    settings = LabelConfig(
        task="finetune",
        data=str(tmp_path / "list.csv"),
        audio=str(data_dir / "esc10/audio"),
        weights=str(published_weights),
        model_dir=str(tmp_path / "model"),
        folds=("1",),
        epochs=6,
        batch_size=16,
    )
    result = train(settings)
    assert list(result.by_fold) == ["1"]
    assert not result.unreadable
    assert result.accuracy >= 75  # of chance 25


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(two_folds, sound_list, tmp_path):
    folder, _, _ = two_folds
    command = [sys.executable, "-m", "trainer.task", "--task", "scratch", "--depth", "5"]
    command += ["--data", str(sound_list), "--model-dir", str(tmp_path), "--batch-size", "4"]
    command += ["--epochs", "6", "--held-out", "folds", "--log-every", "1"]
    command += ["--checkpoint-every", "2"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    metrics = tmp_path / "fold-1" / "metrics.jsonl"
    deadline = time.monotonic() + 600
    while '"step": 3' not in (metrics.read_text() if metrics.exists() else ""):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "fold-1/model.keras").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "goes on at step " in done.stdout
    assert losses_of(tmp_path / "fold-1") == losses_of(folder / "fold-1")
    assert (tmp_path / "answers.csv").read_text() == (folder / "answers.csv").read_text()
