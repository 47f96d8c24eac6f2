"""ESC, start to finish, with the published weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from evaluation import paper
from evaluation.__main__ import main
from evaluation.classify import tables
from evaluation.classify.evaluating import Result, Settings
from evaluation.datasets import read_esc
from evaluation.errors import DatasetError
from evaluation.protocol import FoldResult


def test_esc10_has_its_classes_and_folds(data_dir):
    clips = read_esc(data_dir / "esc10", "esc10")
    assert len(clips) == 400
    assert len({clip.label for clip in clips}) == 10
    assert [sum(clip.fold == fold for clip in clips) for fold in (1, 2, 3, 4, 5)] == [80] * 5
    assert all(clip.path.is_file() for clip in clips)


def test_esc10_is_not_taken_for_esc50(data_dir):
    with pytest.raises(DatasetError, match="holds ESC-10 alone: judge with esc10"):
        read_esc(data_dir / "esc10", "esc50")


def test_a_folder_that_is_no_esc_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"meta/esc50\.csv and audio/"):
        read_esc(tmp_path, "esc10")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("name,label\nx.wav,dog\n")
    with pytest.raises(DatasetError, match="is not the list of ESC-50"):
        read_esc(tmp_path, "esc10")
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,category,esc10\nx.wav\n")
    with pytest.raises(DatasetError, match="is not the list of ESC-50"):
        read_esc(tmp_path, "esc50")


@pytest.fixture
def small_esc(data_dir, tmp_path):
    """ESC-10 with one clip a class and fold, one of which is damaged."""
    clips = {}
    for clip in read_esc(data_dir / "esc10", "esc10"):
        clips.setdefault((clip.label, clip.fold), clip)
    (tmp_path / "meta").mkdir()
    (tmp_path / "audio").mkdir()
    with (tmp_path / "meta" / "esc50.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "fold", "target", "category", "esc10"])
        for clip in clips.values():
            rows.writerow([clip.path.name, clip.fold, 0, clip.label, "True"])
            (tmp_path / "audio" / clip.path.name).symlink_to(clip.path)
    damaged = tmp_path / "audio" / clip.path.name
    damaged.unlink()
    damaged.write_bytes(b"not sound")
    return tmp_path, damaged.name


def test_the_command_writes_its_table_and_names_what_it_could_not_read(
    small_esc, published_weights, tmp_path, capsys
):
    folder, damaged = small_esc
    output = tmp_path / "out"
    options = ["--data", str(folder), "--weights", str(published_weights)]
    assert (
        main(["esc10", *options, "--layers", "conv7", "pool5", "conv7", "--output", str(output)])
        == 1
    )
    page = (output / "esc10.md").read_text()
    assert page + "\n" == capsys.readouterr().out
    assert "unreadable, counted as wrong: 1" in page
    assert f"Unreadable: {damaged}: unreadable" in page
    found = json.loads((output / "esc10.json").read_text())
    layers = found["details"]["layers"]
    assert list(layers) == ["conv7", "pool5"]
    assert layers["pool5"]["paper"] == 92.2
    assert list(found["details"]["unreadable"]) == [damaged]
    folds = layers["pool5"]["folds"]
    assert [fold["clips"] for fold in folds] == [10] * 5
    mean = sum(fold["accuracy"] for fold in folds) / 5
    assert layers["pool5"]["mean"] == pytest.approx(mean)
    assert mean > 60  # 4 sounds a class to learn from; at random it is 10
    assert f"| pool5 | {folds[0]['accuracy']:.2f} |" in page
    assert found["weights"]["sha256"] in page
    assert layers["conv7"]["mean"] > 60  # though asked for twice


def test_a_network_of_five_layers_is_not_held_against_layers_of_eight():
    folds = [FoldResult(fold, 1, 2) for fold in range(1, 6)]
    for depth, figure in ((8, 66.0), (5, None)):
        settings = Settings("esc50", Path("x"))
        result = Result(settings, "0" * 64, depth, 10, {"conv4": folds})
        layers = tables.report(result).tables[0]
        assert layers.rows[0][-1] == figure


def test_a_list_without_its_sounds_says_where_they_are_looked_for(
    small_esc, published_weights, tmp_path, capsys
):
    folder, _ = small_esc
    (folder / "audio").rename(tmp_path / "elsewhere")
    assert main(["esc10", "--data", str(folder), "--weights", str(published_weights)]) == 1
    error = capsys.readouterr().err
    assert f"none of 50 clips can be read; are they in {folder / 'audio'}?" in error
    assert "not_found" in error


def test_what_can_not_be_judged_is_said(data_dir, published_weights, capsys):
    esc10 = str(data_dir / "esc10")
    assert main(["esc10", "--data", "none", "--weights", str(published_weights)]) == 1
    assert main(["esc10", "--data", esc10, "--weights", "none.keras"]) == 1
    weights = str(published_weights)
    assert main(["esc10", "--data", esc10, "--weights", weights, "--layers", "pool9"]) == 1
    taken = data_dir / "esc10" / "meta" / "esc50.csv"
    assert main(["esc10", "--data", esc10, "--weights", weights, "--output", str(taken)]) == 1
    first, second, third, fourth = capsys.readouterr().err.splitlines()
    assert "esc50.csv can't be read" in first
    assert "neither a file nor a name" in second
    assert "no layer 'pool9'; choose among conv1" in third
    assert "File exists" in fourth


def test_the_papers_figures():
    assert paper.by_layer("esc10", "pool5") == 92.2
    assert paper.by_layer("esc50", "pool5") == 72.9
    assert paper.by_layer("esc50", "conv6") == 73.3
    assert paper.by_layer("esc10", "conv7") is None
    assert {f.method: f.accuracy for f in paper.results("esc50")}["Piczak ConvNet"] == 64.5


@pytest.mark.slow
def test_the_published_weights_reach_the_published_accuracy(data_dir, published_weights, tmp_path):
    options = ["--data", str(data_dir / "esc10"), "--weights", str(published_weights)]
    assert main(["esc10", *options, "--output", str(tmp_path)]) == 0
    layers = json.loads((tmp_path / "esc10.json").read_text())["details"]["layers"]
    assert layers["pool5"]["mean"] >= 91.5
    assert layers["conv6"]["mean"] >= 92
    assert layers["conv7"]["mean"] >= 84
