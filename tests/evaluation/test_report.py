"""Reports: the same figures in four forms."""

from __future__ import annotations

import csv
import io
import json

import pytest

from evaluation.report import Column, Report, Table, publish, to_csv, to_markdown

LAYERS = Table(
    "layers",
    "Accuracy in percent",
    (Column("layer"), Column("mean", 2), Column("paper")),
    [("pool5", 92.0, 92.2), ("conv6", 92.5, None), ("conv7", 85.256, 88)],
    note="Not all are printed.",
)
REPORT = Report(
    "esc10",
    "ESC-10",
    [LAYERS],
    notes=["a note"],
    settings={"channels": "downmix", "layers": ["pool5", "conv6"]},
    weights={"name": "published", "sha256": "0" * 64},
    details={"clips": 400},
)


def test_the_markdown_shows_our_figures_to_their_digits_and_the_papers_as_printed():
    page = to_markdown(REPORT)
    assert page.startswith("# ESC-10\n")
    assert "| layer | mean | paper |\n| --- | ---: | ---: |\n| pool5 | 92.00 | 92.2 |\n" in page
    assert "| conv6 | 92.50 | – |\n| conv7 | 85.26 | 88 |\n\nNot all are printed." in page
    assert "- a note\n" in page
    assert f"- Weights: published, SHA-256 {'0' * 64}\n" in page
    assert "- Settings: channels downmix, layers pool5 conv6\n" in page
    assert "scikit-learn 1." in page
    assert "cores" in page


def test_the_csv_has_every_cell_in_full():
    rows = list(csv.DictReader(io.StringIO(to_csv(REPORT))))
    assert len(rows) == 9
    cells = {(row["table"], row["row"], row["column"]): row["value"] for row in rows}
    assert cells["layers", "3", "mean"] == "85.256"
    assert cells["layers", "2", "paper"] == ""


def test_a_cell_does_not_break_its_table():
    table = Table("t", "t", (Column("class"),), [("a|b\nc",)])
    assert "| a\\|b c |" in to_markdown(Report("x", "x", [table]))


def test_a_row_that_lacks_a_cell_is_an_error():
    with pytest.raises(ValueError, match="a row of 1 cells, and 2 columns"):
        Table("t", "t", (Column("class"), Column("n")), [("a",)])


def test_all_forms_are_written(tmp_path, capsys):
    publish(REPORT, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"esc10.{kind}" for kind in ("md", "csv", "json", "html")
    }
    assert capsys.readouterr().out.strip() == (tmp_path / "esc10.md").read_text().strip()
    found = json.loads((tmp_path / "esc10.json").read_text())
    assert found["tables"][0]["columns"] == ["layer", "mean", "paper"]
    assert found["tables"][0]["rows"][2] == ["conv7", 85.256, 88]
    assert found["details"] == {"clips": 400}
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["numpy"]
    page = (tmp_path / "esc10.html").read_text()
    assert "<title>ESC-10</title>" in page
    assert '<td class="n">85.26</td>' in page
    assert "Not all are printed." in page


def test_nothing_is_written_where_no_folder_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    publish(REPORT, None)
    assert "# ESC-10" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
