"""What several commands share: how options are read, and how they complain."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

PUBLISHED = "published"

WEIGHTS_HELP = (
    "'published' (the default), a .keras file that training wrote, or the http(s) address of one "
    "with #sha256=HASH at its end"
)

SOUNDS_HELP = (
    "files with sound, of any kind that ffmpeg reads; folders; quoted patterns ('**/*.wav'); "
    "playlists (.m3u); http(s) addresses; - for a file on standard input"
)


def add(
    commands, name: str, run: Callable[[argparse.Namespace], int], text: str, examples: str = ""
) -> argparse.ArgumentParser:
    """A parser for a command, which `run` runs and gives its exit code."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_weights(parser: argparse.ArgumentParser) -> None:
    """The option that says which network."""
    parser.add_argument("--weights", default=PUBLISHED, metavar="W", help=WEIGHTS_HELP)


def count(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def complain(message: str) -> None:
    """Say on stderr what is wrong."""
    print(f"soundnet: {message}", file=sys.stderr, flush=True)
