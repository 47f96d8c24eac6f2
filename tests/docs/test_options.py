"""The commands that the documents name are ours as they stand there: sub-commands and options."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.docs.parsers import complaint, in_source, known, parser_of
from tests.docs.reading import PAGES, ROOMS, RUN, blocks, commands, name, options, ours, spans

OTHERS = {
    "--build-arg": "docker build",
    "--init": "docker run",
    "--network": "docker run",
    "--rm": "docker run",
    "--user": "docker run",
    "--gpus": "docker run",
    "--experiments": "Beam",
    "--id": "Beam's boot",
    "--subnetwork": "Beam",
    "--streaming": "Beam",
    "--logdir": "TensorBoard",
}
"""Options of other programs that the documents name alone. Those with an underscore are Beam's."""

REASONS = ("needs", "installs")
"""How a reason not to run a block begins."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_of_commands_says_that_it_is_one(page):
    """Only in `sh` and `python` blocks does a command stand by itself; elsewhere as `$ ...`."""
    for block in blocks(page):
        bare = [
            line for line in block.text.splitlines() if re.match(r"(python|soundnet|make) ", line)
        ]
        assert block.language in RUN or not bare, block.place
        assert block.language != "indented" or not ours(block.text.split()), block.place
        assert not block.excuse or block.excuse.startswith(REASONS), block.place


def test_options_that_are_named_exist():
    """Somewhere in the project's commands; the tests below ask the very command."""
    there = {"--help"}
    for folder in (*ROOMS, "examples"):
        there |= {name for path in (ROOT / folder).rglob("*.py") for name in in_source(path)}
    for page in PAGES:
        for span in spans(page):
            named = {name for name in options(span.split()) if "_" not in name}
            assert named <= there | OTHERS.keys(), f"{page.name}: `{span}`"


def test_targets_of_make_that_are_named_exist():
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        words[1]
        for page in PAGES
        for text in (
            *(span for span in spans(page) if span.startswith("make ")),
            *(block.text for block in blocks(page) if block.language == "sh"),
        )
        for words in commands(text)
        if words[0] == "make" and len(words) > 1 and "=" not in words[1]
    }
    assert named <= there
    assert named


@pytest.mark.slow
def test_commands_that_are_not_run_are_parsed():
    """Those of blocks that a test can't run, and of sessions that are shown, are held against the
    command's own parser; of those in a sentence, the options are."""
    for page in PAGES:
        for block in blocks(page):
            lines = block.text.splitlines()
            if block.language != "sh" or not block.excuse:
                lines = [line for line in lines if line.startswith("$ ")]
            for words in map(ours, commands("\n".join(lines))):
                if words and parser_of(words)[0]:
                    assert complaint(words) == "", f"{block.place}: {' '.join(words)}"
        for words in (ours(span.split()) for span in spans(page)):
            assert not words or set(options(words)) <= known(words), f"{page.name}: {words}"
