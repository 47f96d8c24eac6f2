"""The data card of data sets written here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from markdown_it import MarkdownIt

from pipeline.report.command import main
from schemas.dataset_info import TeacherInfo
from tests.pipeline.report.test_report import HOSTILE, clip, done, fact, failed, write


def card_of(data: str, *options: str) -> str:
    path = Path(data).parent / "DATA_CARD.md"
    assert main([data, "--card", str(path), *options]) == 0
    return path.read_text("utf-8")


def two_splits(folder: Path) -> str:
    """Three videos of two sites, four clips; one that was lost."""
    twice = (fact(0), fact(1, sound="0" * 16, loudness=-90.0))
    rows = [
        done("a", facts=twice, extra={"license": "CC BY 4.0"}, dropped={"silent": 2}),
        done("b", "validation", extra={"license": "CC BY 4.0"}),
        done("c", url="https://else.example/c", extra={"license": "CC0"}),
        failed("d", "gone", "removed"),
    ]
    clips = {"train": [clip("a"), clip("a", 1), clip("c")], "validation": [clip("b")]}
    return write(folder, [rows], clips)


def test_it_has_the_reports_figures(tmp_path):
    data = two_splits(tmp_path / "sounds")
    page = card_of(data)
    assert page.startswith("# Data card: sounds\n\n4 clips of at most 20 s, 40 s of sound from 3 v")
    assert "| train | 2 | 3 | " in page
    assert "| validation | 1 | 1 | " in page
    assert "| videos.example | 2 |\n| else.example | 1 |" in page
    assert "| CC BY 4.0 | 2 |\n| CC0 | 1 |" in page
    assert "| gone | 1 | the video was removed |" in page
    assert "Of 4 videos on the list 3 are in it and 1 are not" in page
    assert "| objects | vgg16 | probabilities of 4 classes | 0000000000000000… |" in page
    assert "What objects saw in 8 label steps: " in page
    assert "left out by the gates: silent 2." in page
    assert "In it are 1 silent clips" in page
    assert "Made with ffmpeg 5." in page
    described = (Path(data) / "dataset_info.json").read_bytes()
    assert f"`{hashlib.sha256(described).hexdigest()}`" in page


def test_it_says_where_the_list_has_no_licences(tmp_path):
    data = write(tmp_path / "data", [[done("a", url="videos/a.mp4")]], {"train": [clip("a")]})
    page = card_of(data)
    assert "The list says nothing of licences" in page
    assert "| (not said) | 1 |" in page


def test_hostile_texts_stay_text(tmp_path):
    rows = [done("a", url=f"https://{HOSTILE}/a", extra={"license": f"{HOSTILE} [x](http://y) |"})]
    name = HOSTILE.rstrip("\ud800")  # which no JSON file holds
    odd = (TeacherInfo("objects", name, [name, "b", "c", "d"], "caffe", "0" * 64),)
    data = write(tmp_path / "data", [rows], {"train": [clip("a", teachers=odd)]}, odd)
    shown = MarkdownIt().enable("table").render(card_of(data))
    assert "<script" not in shown
    assert "<img" not in shown
    assert "<a " not in shown
    assert "\x1b" not in shown
    assert "&lt;script&gt;" in shown
