"""The documents' commands do what they say: run as written, in order, page by page.

One thing is changed, and nothing else: `SHORTER`. A block that can't be run says why in a comment
before it, `<!-- not run: needs ... -->`, and is parsed instead (`test_options`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import pytest

from tests.docs.reading import PAGES, RUN, Block, blocks, name
from tests.docs.workplace import environment, lay_out

SHORTER = {"--steps": "2", "--epochs": "1", "--seeds": "1"}
"""What trainings are shortened by."""


def shortened(text: str) -> str:
    """A script with the options of `SHORTER` set to their values."""
    return re.sub(
        rf"({'|'.join(SHORTER)})( |=)\d+",
        lambda found: found[1] + found[2] + SHORTER[found[1]],
        text,
    )


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in RUN and not block.excuse]


def programs(found: list[Block]) -> Iterator[tuple[str, list[str]]]:
    """Where a block stands, and the command that runs it. Python blocks that follow one another are
    one program."""
    for language, group in groupby(found, attrgetter("language")):
        parts = list(group)
        if language == "python":
            yield parts[0].place, [sys.executable, "-c", "\n".join(part.text for part in parts)]
            continue
        for part in parts:
            yield part.place, ["bash", "-exo", "pipefail", "-c", shortened(part.text)]


def run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a program; returns its exit status and what it said. If it hangs, it is ended with all
    that it began."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=1800)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=name)
def test_the_commands_of(page, workplace, tmp_path):
    found = to_run(page)
    lay_out(workplace, tmp_path, found)
    for place, command in programs(found):
        status, said = run(command, tmp_path)
        assert status == 0, f"{place}\n{said[-6000:]}"


def test_only_the_length_of_trainings_is_changed():
    command = "python -m trainer.task --data data --steps 600 --batch-size=16 --epochs=50 --shift"
    assert shortened(command) == (
        "python -m trainer.task --data data --steps 2 --batch-size=16 --epochs=1 --shift"
    )
