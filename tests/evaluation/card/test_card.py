"""The model card of a network that nobody trained, with results and a training that are made up."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from evaluation.__main__ import main
from evaluation.report import Column, Report, Table, to_json
from soundnet import load_model
from tests.evaluation.conftest import write_data_set
from trainer.config import Config
from trainer.network import SoundNet
from trainer.supervised.config import LabelConfig

HOSTILE = "<script>alert(1)</script> [x](https://evil.example) | `y`\n# z"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set, a network that learnt from it, and its folder of results."""
    folder = tmp_path_factory.mktemp("card")
    write_data_set(folder / "data", [], frames=False)
    model = folder / "model"
    model.mkdir()
    heads = {"imagenet": ["n0 drum", "n1 cock", "n2 rifle"], "looks": ["0", "1", "2", "3"]}
    SoundNet(5, heads, embeddings=["looks"]).save(model / "model.keras")
    config = Config(data=str(folder / "data"), model_dir=str(model), steps=600, shift=True)
    (model / "config.json").write_text(config.to_json())
    losses = {"train": {"loss": 1.23456}, "validation": {"loss": 2.5}, "damaged": ["a"]}
    (model / "summary.json").write_text(json.dumps(losses))
    return folder


@pytest.fixture(scope="module")
def sha256(folder) -> str:
    return load_model(folder / "model" / "model.keras").sha256


def results(
    folder: Path, name: str, sha256: str, title: str = "ESC-10", label: str = "pool3"
) -> Path:
    """A file of results as `python -m evaluation` writes it."""
    layers = (Column("layer"), Column("mean", 2), Column("paper"))
    cells = [(label, 92.123, 92.2), ("conv4", 90.0, None)]
    tables = [
        Table("published", f"By layer, {title}", layers, cells),
        Table("confusion-published", "Which for which", (Column("class"),), [("dog",)]),
        Table("long", "Everything", (Column("n"),), [(n,) for n in range(100)]),
    ]
    weights = {"name": "x", "sha256": sha256}
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        to_json(Report("esc10", title, tables, settings={"task": "esc10"}, weights=weights))
    )
    return path


def card(folder: Path, *options: str | Path) -> str:
    weights = folder / "model" / "model.keras"
    output = folder / "cards" / "MODEL_CARD.md"
    command = ["card", "--weights", weights, "--output", output, *options]
    assert main([str(word) for word in command]) == 0
    return output.read_text("utf-8")


def test_it_says_what_the_network_is_and_how_to_use_it(folder, sha256):
    page = card(folder)
    assert page.startswith("# Model card: model.keras\n\nA SoundNet of 5 layers: ")
    assert "probabilities of 3 classes (`imagenet`) and an embedding of 4 numbers (`looks`)" in page
    assert f"`{sha256}`" in page
    assert "| pool3 | 128 | 185.8 |" in page
    assert 'model.predict("dog.ogg")["imagenet"]' in page
    assert "Not measured" in page
    assert "- The network: not told (`--license`)." in page


def test_it_says_what_it_learnt_from_and_how(folder):
    page = card(folder, "--license", "CC BY 4.0")
    described = (folder / "data" / "dataset_info.json").read_bytes()
    assert f"`{hashlib.sha256(described).hexdigest()}`" in page
    assert "| places | squeezenet | 2 | 1111111111111111… |" in page
    assert "By the published recipe, but for `--steps 600` and `--shift`.\n" in page
    assert "| train | 1.2346 |\n| validation | 2.5000 |" in page
    assert "1 damaged records were passed over." in page
    assert str(folder) not in page
    assert "- The network: CC BY 4.0." in page


def test_figures_of_these_weights_stand_beside_the_papers(folder, sha256, capsys):
    results(folder, "results/esc10.json", sha256)
    results(folder, "results/other.json", "0" * 64, "Another network's")
    page = card(folder, "--results", folder / "results")
    assert "### ESC-10\n\nBy layer, ESC-10:\n\n| layer | mean | paper |" in page
    assert "| pool3 | 92.12 | 92.2 |\n| conv4 | 90 | – |" in page
    assert "Measured with task esc10, tensorflow 2." in page
    for absent in ("Another network's", "Which for which", "Everything"):
        assert absent not in page
    assert "of other weights, left out: " in capsys.readouterr().err


def test_results_of_other_weights_alone_are_an_error(folder, capsys):
    other = results(folder, "others/esc10.json", "0" * 64)
    weights = str(folder / "model" / "model.keras")
    assert main(["card", "--weights", weights, "--results", str(other)]) == 1
    assert "no results of these weights" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"title": "t", "tables": [{"rows": 3}]}'])
def test_what_is_no_file_of_results_is_named(folder, text, tmp_path, capsys):
    (tmp_path / "x.json").write_text(text)
    weights = str(folder / "model" / "model.keras")
    assert main(["card", "--weights", weights, "--results", str(tmp_path)]) == 1
    assert "x.json is no JSON file that `python -m evaluation` wrote" in capsys.readouterr().err


def test_what_strangers_wrote_stays_text(folder, sha256):
    path = results(folder, "hostile/x.json", sha256, HOSTILE, HOSTILE)
    page = (
        MarkdownIt().enable("table").render(card(folder, "--results", path, "--license", HOSTILE))
    )
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; [x]") == 4
    assert "<script" not in page
    assert "<a " not in page
    assert "<h1>z" not in page


def test_a_network_that_learnt_from_labels(folder, tmp_path):
    place = tmp_path / "fold-1" / "model.keras"
    place.parent.mkdir()
    place.symlink_to(folder / "model" / "model.keras")
    config = LabelConfig("finetune", data="x.csv", model_dir="x", weights="a/b.keras", epochs=10)
    (tmp_path / "config.json").write_text(config.to_json())
    summary = {"sounds": 400, "classes": ["dog", "rain"], "accuracy": 86.25}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    page = card(folder, "--weights", place)
    assert "400 sounds that people gave one of 2 labels. Before that it was `b.keras`." in page
    assert "--task finetune`, with its defaults, but for `--epochs 10`." in page
    assert "Of what was held out 86.25 % were named rightly." in page
