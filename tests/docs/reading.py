"""The documents as tests read them: blocks, commands, options, links, headings.

What is a command and what isn't is said for writers in CONTRIBUTING.md, "The documents".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"benchmarks"}

RUN = ("sh", "python")
"""What a block's fence says of a block that is run."""

_EXCUSE = re.compile(r"<!-- not run: (.+?) -->\s*")
_OPTION = re.compile(r"--[a-z][\w-]*")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its file.
        line: of the page, where its text begins (from 1).
        language: what its fence says; "" for nothing.
        excuse: why it isn't run, from the comment before it; "" where it is.
    """

    page: Path
    line: int
    language: str
    text: str
    excuse: str = ""

    @property
    def place(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """What a page is called: its path in the project."""
    return page.relative_to(ROOT).as_posix()


def tokens(page: Path) -> list[Token]:
    """The page's blocks, paragraphs and headings; tables are read as GitHub does."""
    return MarkdownIt().enable("table").parse(page.read_text("utf-8"))


def blocks(page: Path) -> list[Block]:
    """The page's fenced blocks, and the indented ones (their language is "indented")."""
    found, before = [], None
    for token in tokens(page):
        if token.type in ("fence", "code_block"):
            excuse = _EXCUSE.fullmatch(before.content) if before and before.content else None
            language = token.info.strip() if token.type == "fence" else "indented"
            line = token.map[0] + (2 if token.type == "fence" else 1)
            found.append(
                Block(page, line, language, token.content, excuse.group(1) if excuse else "")
            )
        before = token if token.type == "html_block" else None
    return found


def spans(page: Path) -> Iterator[str]:
    """What stands between backticks in the page's text, on one line each."""
    for token in tokens(page):
        for child in token.children or ():
            if child.type == "code_inline":
                yield " ".join(child.content.split())


def links(page: Path) -> Iterator[str]:
    """Where the page's links and pictures lead."""
    for token in tokens(page):
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                yield child.attrGet("href") or child.attrGet("src")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the page's headings."""
    found: set[str] = set()
    parsed = tokens(page)
    for at, token in enumerate(parsed):
        if token.type == "heading_open":
            words = "".join(child.content for child in parsed[at + 1].children)
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            twins = sum(bool(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", name)) for name in found)
            found.add(f"{slug}-{twins}" if twins else slug)
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, or of a shown session (`$ ` before each), as words.

    What here-documents hold is none; `...` stands for what is left out.
    """
    text = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"(?:^|(?<=\s))# .*$", "", text, flags=re.MULTILINE)  # a comment
    text = re.sub(r"^\$ ", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|<>\n")
    lexer.commenters, lexer.whitespace, lexer.whitespace_split = "", " \t", True
    words: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if redirected:  # a file, no word of the command
            redirected = False
        elif set(word) <= set("&<>") and set(word) & set("<>"):
            redirected = True
        elif set(word) <= set(";&|\n"):
            if words:
                yield words
            words = []
        elif word != "...":
            words.append(word)


def ours(words: list[str]) -> list[str]:
    """The part of a simple command that is a command of this project; [] where there is none.

    `docker run ... soundnet python -m pipeline --help` runs `python -m pipeline --help`.
    """
    for at in range(len(words)):
        if words[at : at + 2] == ["python", "-m"] and at + 2 < len(words):
            if words[at + 2].split(".")[0] in ROOMS:
                return words[at:]
        elif words[at] == "soundnet" and at + 1 < len(words) and words[at + 1] in _SOUNDNET:
            return words[at:]
    return []


_SOUNDNET = ("embed", "predict", "export", "weights", "--help")


def options(words: list[str]) -> list[str]:
    """The long options among some words."""
    found = (_OPTION.match(word) for word in words)
    return [option.group() for option in found if option]
