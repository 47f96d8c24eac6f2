"""What the documents point to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.reading import PAGES, ROOMS, anchors, links, name, spans

FOLDERS = {*ROOMS, "tests", "docs", "examples", ".ci"}
INDEX = ROOT / "docs" / "README.md"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "http://")), link
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


def test_every_page_can_be_reached_from_the_index():
    assert str(INDEX.relative_to(ROOT)) in set(links(ROOT / "README.md"))
    reached = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    assert {page for page in PAGES if page.parent == INDEX.parent} - reached - {INDEX} == set()


def files(page: Path) -> Iterator[str]:
    """The project's files and folders that a page names between backticks."""
    for span in spans(page):
        if re.fullmatch(r"[\w./-]+", span) and span.split("/")[0] in FOLDERS and "/" in span:
            yield span


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page):
    assert [file for file in files(page) if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_functions_that_are_named_exist(page):
    """`schemas.clip.parse_in_graph(serialized, info)`: the last name stands in that file."""
    for span in spans(page):
        found = re.fullmatch(r"((?:\w+\.)+)(\w+)(\(.*\))?", span)
        if not found or found.group(1).split(".")[0] not in ROOMS or (ROOT / span).exists():
            continue
        names = [*found.group(1).strip(".").split("."), found.group(2)]
        for depth in range(len(names), 0, -1):
            base = ROOT.joinpath(*names[:depth])
            source = next(
                (f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None
            )
            if source:
                break
        text = source.read_text("utf-8")
        assert all(re.search(rf"\b{word}\b", text) for word in names[depth:]), span


def test_the_version_is_the_same_everywhere():
    """In `setup.py`, in `CITATION.cff`, and the newest in the changelog."""
    found = {
        re.search(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE)[1]
        for file, pattern in {
            "setup.py": r'version="([\d.]+)"',
            "CITATION.cff": r"^version: ([\d.]+)$",
            "CHANGELOG.md": r"^## \[([\d.]+)\] - \d{4}-\d{2}-\d{2}$",
        }.items()
    }
    assert len(found) == 1
