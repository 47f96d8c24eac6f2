"""Options that several commands have, and what options take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection

from schemas.audio import CODECS


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


def add_output(parse: argparse._ActionsContainer) -> None:
    """Where a data set is written."""
    parse.add_argument(
        "--output", required=True, metavar="DIR", help="the data set's folder (made or extended)"
    )


def add_audio_codec(parse: argparse._ActionsContainer, default: str) -> None:
    """How its records keep the sound."""
    parse.add_argument(
        "--audio-codec",
        choices=CODECS,
        default=default,
        help="how records keep the sound (default: %(default)s, lossless)",
    )


def add_shard_mb(parse: argparse._ActionsContainer, default_bytes: int) -> None:
    """How large its shards are."""
    parse.add_argument(
        "--shard-mb",
        type=positive,
        default=default_bytes // 1_000_000,
        metavar="MB",
        help="size of a shard (default: %(default)s)",
    )
