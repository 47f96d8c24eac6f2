"""The commands, start to finish, with the published weights."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from evaluation import paper
from evaluation.__main__ import main
from evaluation.classify import tables
from evaluation.classify.evaluating import Result, Settings
from evaluation.datasets import DCASE_CLASSES, Dataset, LabelledClip, read_esc
from evaluation.protocol import FoldResult
from tests.conftest import opened, requests


def judged(task: str, data: Path, weights: Path, output: Path, *options: str) -> tuple[int, dict]:
    """The command's exit status, and what it wrote for programs."""
    options = ["--data", str(data), "--weights", str(weights), "--output", str(output), *options]
    code = main([task, *options])
    return code, json.loads((output / f"{task}.json").read_text())


@pytest.mark.slow
def test_the_command_writes_its_tables_and_names_what_it_could_not_read(
    small_esc, published_weights, tmp_path, capsys, browser
):
    (folder, damaged), output = small_esc, tmp_path / "out"
    layers = ("--layers", "conv7", "pool5", "conv7")
    code, found = judged("esc10", folder, published_weights, output, *layers)
    assert code == 1
    page = (output / "esc10.md").read_text()
    assert page + "\n" == capsys.readouterr().out
    assert "Unreadable, counted as wrong: 1" in page
    assert f"Unreadable: {damaged}: unreadable" in page
    assert found["weights"]["sha256"] in page

    details = found["details"]
    assert list(details["unreadable"]) == [damaged]
    assert {name: list(rows) for name, rows in details["protocols"].items()} == {
        "published": ["conv7", "pool5"],  # though asked for twice
        "better": ["conv7", "pool5", "hidden layers together"],
    }
    for rows in details["protocols"].values():
        for row in rows.values():
            assert [fold["clips"] for fold in row["folds"]] == [10] * 5
            mean = sum(fold["accuracy"] for fold in row["folds"]) / 5
            assert row["mean"] == pytest.approx(mean)
            assert mean > 60  # 4 sounds a class to learn from; at random it is 10
            counts = row["confusion"]
            assert [sum(of) for of in counts] == [5] * 10
            assert sum(of[-1] for of in counts) == 1  # the damaged one
            assert sum(counts[i][i] for i in range(10)) == round(mean / 2)

    by_name = {table["name"]: table for table in found["tables"]}
    pool5 = by_name["published"]["rows"][1]
    assert (pool5[0], pool5[-1]) == ("pool5", 92.2)
    methods = {row[0]: row[1] for row in by_name["methods"]["rows"]}
    assert methods["human"] == 95.7
    assert methods["pool5, published protocol"] == pool5[1]
    assert methods["always the most frequent class"] == 10
    assert list(methods.values()) == sorted(methods.values(), reverse=True)

    look_at(browser, output / "esc10.html")


PLAY = """
const answer = arguments[0], sound = document.querySelector("audio");
sound.addEventListener("timeupdate", () => {
  if (sound.currentTime > 0) answer([sound.duration, sound.currentTime]);
});
sound.play().catch((error) => answer(String(error)));
"""


def look_at(browser, page: Path) -> None:
    """The page shows the confusions and plays the clips, asks for nothing and complains of
    nothing."""
    chrome = opened(browser, page)
    assert chrome.title == "ESC-10"
    sounds = chrome.find_elements("css selector", ".clip audio")
    assert 1 <= len(sounds) <= 12
    length, at = chrome.execute_async_script(PLAY)
    assert length == pytest.approx(5, abs=0.2)
    assert at > 0
    fields = chrome.find_elements("css selector", "#heat-published ~ .wide .heat td")
    assert sum(int(field.text) for field in fields if field.text) == 100  # of both protocols
    (diagonal, wrong) = (
        chrome.execute_script(
            "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor", of
        )
        for of in (".heat td[style]:not(.wrong)", ".heat td.wrong")
    )
    assert diagonal != wrong
    bars = chrome.find_elements("css selector", ".ranked li")
    assert len(bars) == 12
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= 1280
    assert requests(chrome) <= {"file", "data"}
    assert chrome.get_log("browser") == []


def test_a_folder_of_ones_own_is_judged(few, published_weights, tmp_path):
    for clip in few:
        if clip.label in ("dog", "rain"):
            (tmp_path / "own" / clip.label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "own" / clip.label / clip.path.name).symlink_to(clip.path)
    options = ("--layers", "pool5", "--folds", "2", "--protocol", "published")
    code, found = judged("folder", tmp_path / "own", published_weights, tmp_path, *options)
    assert code == 0
    assert found["title"] == "own"
    assert list(found["details"]["protocols"]) == ["published"]
    row = found["details"]["protocols"]["published"]["pool5"]
    assert [fold["clips"] for fold in row["folds"]] == [5, 5]
    assert row["mean"] >= 80
    assert set(row["folds"][0]["said"].values()) <= {"dog", "rain"}


@pytest.mark.slow
def test_scenes_are_learnt_from_one_part_and_tested_with_the_other(
    few, published_weights, tmp_path
):
    """Sounds of ESC-10 in DCASE's layout, each class called as a scene."""
    labels = sorted({clip.label for clip in few})
    for clip in few:
        part = {1: "scenes_stereo", 2: "scenes_stereo", 3: "scenes_stereo_testset"}.get(clip.fold)
        if part:
            name = f"{DCASE_CLASSES[labels.index(clip.label)]}{clip.fold:02d}.ogg"
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / name).symlink_to(clip.path)
    options = ("--layers", "pool5", "conv7")
    code, found = judged("dcase", tmp_path, published_weights, tmp_path / "out", *options)
    assert code == 0
    assert (found["settings"]["seconds"], found["settings"]["window"]) == (30, 5)
    for rows in found["details"]["protocols"].values():
        for row in rows.values():
            (fold,) = row["folds"]
            assert (fold["fold"], fold["clips"], row["deviation"]) == ("test", 10, None)
            assert fold["accuracy"] >= 40
    by_name = {table["name"]: table for table in found["tables"]}
    assert by_name["published"]["columns"][-2:] == [
        "paper, VGG teachers",
        "paper, AlexNet teachers",
    ]
    assert by_name["published"]["rows"][0][-2:] == [88, 84]


@pytest.mark.slow
def test_urbansound8k_is_judged_by_its_ten_folds(data_dir, published_weights, tmp_path):
    clips, by_label = read_esc(data_dir / "esc10", "esc10"), {}
    for clip in clips:
        by_label.setdefault(clip.label, []).append(clip)
    (tmp_path / "metadata").mkdir()
    with (tmp_path / "metadata" / "UrbanSound8K.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["slice_file_name", "fsID", "start", "end", "fold", "classID", "class"])
        for label, of in by_label.items():
            for fold in range(1, 11):
                clip = of[4 * fold - 1]
                folder = tmp_path / "audio" / f"fold{fold}"
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(clip.path, folder)
                rows.writerow([clip.path.name, 0, 0, 5, fold, 0, label])
    options = ("--layers", "conv7")
    code, found = judged("urbansound8k", tmp_path, published_weights, tmp_path / "out", *options)
    assert code == 0
    row = found["details"]["protocols"]["published"]["conv7"]
    assert [fold["clips"] for fold in row["folds"]] == [10] * 10
    assert row["mean"] > 60
    assert found["tables"][0]["columns"][-1] == "fold 10"  # it isn't in the paper


def test_a_network_of_five_layers_is_not_held_against_layers_of_eight():
    clips = [LabelledClip(Path(f"{i}"), "ab"[i % 2], i % 5 + 1, f"{i}") for i in range(10)]
    dataset = Dataset("esc50", "ESC-50", clips, (1, 2, 3, 4, 5))
    folds = [FoldResult(fold, 1, 2, {fold - 1: "a"}) for fold in dataset.tested]
    for depth, figures in ((8, (66.0, 66.0)), (5, ())):
        settings = Settings("esc50", Path("x"))
        result = Result(settings, dataset, "0" * 64, depth, {"published": {"conv4": folds}})
        layers = tables.report(result).tables[0]
        assert layers.rows[0] == ("conv4", 50.0, 0.0, *[50.0] * 5, *figures)


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
    weights = str(published_weights)
    assert main(["esc10", "--data", "none", "--weights", weights]) == 1
    assert main(["dcase", "--data", esc10, "--weights", weights]) == 1
    assert main(["folder", "--data", "none", "--weights", weights]) == 1
    assert main(["folder", "--data", esc10, "--weights", weights, "--window", "11"]) == 1
    assert main(["esc10", "--data", esc10, "--weights", "none.keras"]) == 1
    assert main(["esc10", "--data", esc10, "--weights", weights, "--layers", "pool9"]) == 1
    taken = data_dir / "esc10" / "meta" / "esc50.csv"
    assert main(["esc10", "--data", esc10, "--weights", weights, "--output", str(taken)]) == 1
    said = capsys.readouterr().err.splitlines()
    for line, words in zip(
        said,
        [
            "esc50.csv can't be read",
            "no folder scenes_stereo or train",
            "none can't be read as a list",
            "--window 11 is longer than --seconds 10",
            "neither a file nor a name",
            "no layer 'pool9'; choose among conv1",
            "File exists",
        ],
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize("options", [["--folds", "1"], ["--seconds", "0"], ["--seconds", "nan"]])
def test_numbers_that_make_no_sense_are_refused(options):
    with pytest.raises(SystemExit):
        main(["folder", "--data", "x", "--weights", "published", *options])


def test_the_papers_figures():
    assert paper.by_layer("esc10", "pool5") == 92.2
    assert paper.by_layer("esc50", "pool5") == 72.9
    assert paper.by_layer("esc50", "pool5", "AlexNet") == 74.2
    assert paper.by_layer("esc50", "conv6") == 73.3
    assert paper.by_layer("esc10", "conv7") is None
    assert {f.method: f.accuracy for f in paper.results("esc50")}["Piczak ConvNet"] == 64.5


@pytest.mark.slow
def test_the_published_weights_reach_the_published_accuracy(data_dir, published_weights, tmp_path):
    options = ("--layers", "pool5", "conv6", "conv7", "conv8", "--protocol", "published")
    code, found = judged("esc10", data_dir / "esc10", published_weights, tmp_path, *options)
    assert code == 0
    published = found["details"]["protocols"]["published"]
    assert published["pool5"]["mean"] >= 91.5
    assert published["conv6"]["mean"] >= 92
    assert published["conv7"]["mean"] >= 84
    assert published["conv8"]["mean"] >= 86
