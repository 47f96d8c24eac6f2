"""The page: whatever classes and clips are called, it is text; and what is on it is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

import pages
from evaluation import report
from evaluation.classify import page, tables
from evaluation.classify.evaluating import Result, Settings
from evaluation.datasets import Dataset, LabelledClip, read_esc
from evaluation.protocol import FoldResult
from tests.pages.test_render import HOSTILE, Reader


@pytest.fixture
def result(data_dir) -> Result:
    """Forty clips of two classes of hostile names; the first class is always taken for the other,
    in one layer; one clip couldn't be read."""
    path = read_esc(data_dir / "esc10", "esc10")[0].path
    labels = [HOSTILE, "rain"]
    clips = [LabelledClip(path, labels[i % 2], i % 2, f"{i} {HOSTILE}") for i in range(40)]
    dataset = Dataset("folder", HOSTILE, clips, (0, 1))
    wrong = [
        FoldResult(0, 0, 20, dict.fromkeys(range(0, 38, 2), "rain")),
        FoldResult(1, 20, 20, dict.fromkeys(range(1, 40, 2), "rain")),
    ]
    right = [
        FoldResult(0, 19, 20, dict.fromkeys(range(0, 38, 2), HOSTILE)),
        FoldResult(1, 20, 20, dict.fromkeys(range(1, 40, 2), "rain")),
    ]
    judged = {"published": {"pool5": wrong, "conv7": right}}
    return Result(Settings("folder", Path("x")), dataset, "0" * 64, 8, judged, {"38": HOSTILE})


def test_names_are_text_and_sounds_are_few(result):
    found = report.Report("folder", HOSTILE, tables.report(result).tables, notes=[HOSTILE])
    html = pages.render("classify.html", report=found, footing=[HOSTILE], **page.data(result))
    read = Reader(html)
    assert len(read.all("script")) == 1
    assert not read.all("img")
    assert not [name for _, attributes in read.elements for name in attributes if name[:2] == "on"]
    assert len(read.all("audio")) == page.MOST_CLIPS
    assert HOSTILE in read.text
    assert "taken for rain (1)" in " ".join(read.text.split())
    assert len(html) < 2_500_000


def test_confusions_count_what_could_not_be_read(result):
    counts = tables.confusion(result, "published", "pool5")
    assert result.dataset.classes == [HOSTILE, "rain"]
    assert counts.tolist() == [[0, 19, 1], [0, 20, 0]]
    assert tables.recalls(counts) == [0, 100]
    assert tables.recalls(tables.confusion(result, "published", "conv7")) == [95, 100]
    heat = page._heat(result, "published")
    assert heat["columns"] == [HOSTILE, "rain", tables.UNREADABLE]
    assert [name for name, _, _ in heat["right"]] == [HOSTILE, "rain"]


def test_means_and_deviations_are_over_the_folds(result):
    assert result.mean("pool5") == 50
    assert result.deviation("pool5") == pytest.approx(70.7107, abs=1e-4)
    found = {table.name: table for table in tables.report(result).tables}
    assert found["published"].rows[1][:5] == (
        "conv7",
        97.5,
        pytest.approx(3.5355, abs=1e-4),
        95,
        100,
    )
    assert [row[0] for row in found["methods"].rows] == [
        "conv7, published protocol",
        "pool5, published protocol",
        "always the most frequent class",
    ]


def test_a_matrix_of_many_classes_is_in_the_files_alone(result):
    clips = [LabelledClip(Path("x"), f"class {i}", 0, f"{i}") for i in range(21)]
    folds = [FoldResult(0, 21, 21, {i: f"class {i}" for i in range(21)})]
    many = Result(
        result.settings,
        Dataset("folder", "many", clips, (0,)),
        "0" * 64,
        8,
        {"published": {"pool5": folds}},
    )
    found = tables.report(many)
    assert "How many clips of a class" not in report.to_markdown(found)
    assert "confusion-published,21,class 9,1\n" in report.to_csv(found)
