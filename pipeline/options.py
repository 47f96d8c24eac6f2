"""What the commands' options take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def positive(text: str) -> int:
    """A number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def names(known: Collection[str], kind: str) -> Callable[[str], tuple[str, ...]]:
    """A reader of names with commas between them."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(part for part in text.split(",") if part)
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"no {kind} {name!r}; there are {', '.join(known)}"
                )
        return found

    return read
