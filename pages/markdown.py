"""Markdown of what strangers may have written: it is shown as text, whatever it looks like."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = re.compile(
    r"[\\`*\[\]|$]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # within a word it is one of its letters
    r"|<(?=[A-Za-z/!?])|~(?=~)|(?<=~)~"
    r"|&(?=#?\w+;)"
    r"|(?<!\w)@(?=\w)"  # would call somebody
    r"|(?<=http):(?=//)|(?<=https):(?=//)|(?<=ftp):(?=//)|(?<=www)\.",  # would become a link
    re.IGNORECASE,
)
_FIRST = re.compile(r"^(\d{1,9}(?=[.)](\s|$))|(?=[#>+=-]))")
"""What at the beginning of a line would make a heading, a quotation or a list of it."""


def escape(text: str) -> str:
    """A text as one line of Markdown that shows it; what can't be seen is replaced."""
    return _FIRST.sub(lambda found: found[0] + "\\", _cell(text))


def _cell(text: str) -> str:
    """The same for a text before which something stands in its line."""
    line = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return _SPECIAL.sub(lambda found: "\\" + found[0], " ".join(line.split()))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool] = ()
) -> list[str]:
    """A table, a line each; every cell is shown as it is.

    Args:
        right: which columns are set to the right, as numbers are; () for none.
    """
    sides = ["---:" if side else "---" for side in right or [False] * len(columns)]
    lines = [[*map(_cell, columns)], sides, *([*map(_cell, row)] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]
