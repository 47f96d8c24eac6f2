"""Which room imports which: read off the code, held against the plan."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

KNOWS = {
    "schemas": set(),
    "media": {"schemas"},
    "pages": set(),
    "teacher": {"schemas"},
    "trainer": {"schemas", "media"},
    "pipeline": {"schemas", "media", "teacher", "pages"},
    "soundnet": {"schemas", "media", "trainer"},
    "evaluation": {"schemas", "media", "trainer", "soundnet", "pages"},
    "reproduce": {"schemas", "pages"},
}
ONLY_IN = {
    "apache_beam": {"pipeline"},
    "yt_dlp": {"pipeline"},
    "miniaudio": {"schemas"},
    "ffmpeg": {"media"},
    "jinja2": {"pages"},
    "sklearn": {"evaluation"},
}
"""Packages that one room alone may import."""


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", KNOWS)
def test_a_room_imports_only_what_it_may_know(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        found = imported(path)
        assert found & KNOWS.keys() <= KNOWS[room] | {room}, path
        for package, rooms in ONLY_IN.items():
            assert package not in found or room in rooms, f"{path} imports {package}"


def test_the_architecture_page_shows_these_arrows():
    """The first picture there, `evaluation --> pages` and so on."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    picture = page.split("```mermaid")[1].split("```")[0]
    shown = re.findall(r"^  (\w+) --> (\w+)$", picture, re.MULTILINE)
    assert sorted(shown) == sorted((room, known) for room, all_ in KNOWS.items() for known in all_)


def test_every_folder_of_code_is_a_room():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == set(KNOWS)


HEAVY = ["apache_beam", "yt_dlp", "tensorflow", "keras", "sklearn", "librosa", "matplotlib"]


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("soundnet", ["apache_beam", "yt_dlp", "tensorflow", "keras"]),
        ("media", ["apache_beam", "yt_dlp", "tensorflow", "keras"]),
        ("teacher", ["apache_beam", "yt_dlp", "tensorflow", "keras"]),
        ("pages", ["apache_beam", "yt_dlp", "tensorflow", "keras"]),
        ("pipeline.report.command", ["tensorflow", "keras"]),
        ("evaluation.__main__; evaluation.__main__.parser()", HEAVY),
        ("trainer.train", ["apache_beam", "yt_dlp"]),
    ],
)
def test_what_importing_a_room_does_not_pull_in(room, absent):
    code = f"import sys, {room}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")
