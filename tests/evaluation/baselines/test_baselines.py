"""The methods that SoundNet is held against, on real sounds."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.baselines import cepstra, judging
from trainer.autoencoder.network import Autoencoder


def test_a_sounds_spectrum_in_26_numbers():
    """What is louder has the same features, but what is higher has others."""
    time = np.arange(5 * 22_050) / 22_050
    low, high = (100 * np.sin(2 * np.pi * hertz * time).astype("f4") for hertz in (200, 4000))
    features = cepstra.describe(low)
    assert features.shape == (26,)
    assert features.dtype == np.float32
    np.testing.assert_allclose(cepstra.describe(low / 2), features, atol=0.01)
    assert np.abs(cepstra.describe(high) - features)[:12].max() > 50
    # A tone crosses zero twice in a period, at an even rate.
    assert features[24] == pytest.approx(2 * 200 / 22_050, rel=0.05)
    assert cepstra.describe(high)[24] == pytest.approx(2 * 4000 / 22_050, rel=0.05)
    assert features[25] < 0.01
    silence = cepstra.describe(np.zeros(100, np.float32))  # and shorter than a window
    np.testing.assert_allclose(silence[12:], 0, atol=1e-5)


def test_the_tested_fold_is_not_learnt_from():
    features = [np.array([float(kind)]) for kind in (0, 1, 0, 1)] + [None]
    labels, folds = list("abbaa"), [1, 1, 2, 2, 2]  # fold 2 is labelled wrongly on purpose
    result = judging.evaluate_fold(judging.random_forest(), features, labels, folds, 2)
    assert (result.correct, result.clips) == (0, 3)
    result = judging.evaluate_fold(judging.svm(), features, list("ababa"), folds, 2)
    assert (result.correct, result.clips) == (2, 3)  # what can't be read counts as wrong


@pytest.mark.slow
def test_the_command_writes_its_table_and_names_what_it_could_not_read(small_esc, tmp_path, capsys):
    folder, damaged = small_esc
    keras.utils.set_random_seed(0)
    Autoencoder("pool5").save(tmp_path / "model.keras")
    options = ["--data", str(folder), "--task", "esc10", "--output", str(tmp_path / "out")]
    assert main(["baselines", *options, "--autoencoder", str(tmp_path / "model.keras")]) == 1
    page = (tmp_path / "out" / "baselines.md").read_text()
    assert page + "\n" == capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "baselines.json").read_text())
    methods = found["details"]["methods"]
    assert list(methods) == ["mfcc_svm", "random_forest", "autoencoder"]
    assert [m["paper"] for m in methods.values()] == [67.5, 72.7, 74.3]
    for method in methods.values():
        assert [fold["clips"] for fold in method["folds"]] == [10] * 5
    assert methods["random_forest"]["mean"] > 30  # 4 sounds a class to learn from; chance is 10
    assert found["details"]["unreadable"].keys() == {damaged}
    assert "| chance | – | – | – | – | – | 10.00 | – |" in page
    assert "| human | – | – | – | – | – | – | 95.7 |" in page
    assert "at pool5, by SoundNet's protocol" in page
    assert found["weights"]["sha256"] in page


def test_what_can_not_be_judged_is_said(data_dir, published_weights, capsys):
    esc10 = ["--data", str(data_dir / "esc10"), "--task", "esc10"]
    assert main(["baselines", *esc10, "--methods", "autoencoder"]) == 1
    assert main(["baselines", *esc10, "--autoencoder", str(published_weights)]) == 1
    assert main(["baselines", "--data", "none", "--task", "esc10"]) == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert "`python -m trainer.task --task autoencoder` trains it" in first
    assert "'soundnet>SoundNet', not this project's Autoencoder" in second
    assert "--data takes the folder of ESC-50" in third


@pytest.mark.slow
def test_esc10_comes_out_near_the_published_figures(data_dir, tmp_path):
    options = ["--data", str(data_dir / "esc10"), "--task", "esc10", "--output", str(tmp_path)]
    assert main(["baselines", *options]) == 0
    methods = json.loads((tmp_path / "baselines.json").read_text())["details"]["methods"]
    for name, method in methods.items():
        assert abs(method["mean"] - method["paper"]) < 7, name
