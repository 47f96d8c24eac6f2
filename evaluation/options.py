"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from evaluation.exhibits import MEGABYTES
from evaluation.features import default_cache


def add_data(parser: argparse.ArgumentParser, help: str) -> None:
    """What is judged with; `help` says what the folder has in it."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=help)


def add_data_set(parser: argparse.ArgumentParser) -> None:
    """Clips that our pipeline made; a path or an address, so text."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a data set that `python -m pipeline` made, local or gs://",
    )


def add_shards(parser: argparse.ArgumentParser) -> None:
    """How much of a data set."""
    parser.add_argument(
        "--shards",
        type=at_least(1),
        metavar="N",
        help="read only so many shards of each split; shards are mixed, so a few tell about all "
        "(default: all)",
    )


def add_megabytes(parser: argparse.ArgumentParser) -> None:
    """How much of the clips goes into a page."""
    parser.add_argument(
        "--megabytes",
        type=at_least(1),
        default=MEGABYTES,
        metavar="MB",
        help="what sounds and pictures may take of the page, about 0.1 MB a clip; of what there is "
        "no room for it tells the clip and the time (default: %(default)s)",
    )


def at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from one on, for `type`."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value}; {least} or more is wanted")
        return value

    return number


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Which network is judged; see `soundnet.load_model`."""
    parser.add_argument(
        "--weights",
        required=True,
        metavar="W",
        help="'published' (`soundnet weights fetch` gets them), a .keras file that training wrote, "
        "or the http(s) address of one with #sha256=HASH at its end",
    )


def add_layers(parser: argparse.ArgumentParser, help: str) -> None:
    """Which of its layers; () where none is named."""
    parser.add_argument("--layers", nargs="+", default=(), metavar="L", help=help)


def add_channels(parser: argparse.ArgumentParser) -> None:
    """How stereo becomes mono."""
    parser.add_argument(
        "--channels",
        choices=("downmix", "first"),
        default="downmix",
        help="of stereo: the mean (downmix, the default), or the first as the authors did",
    )


def add_output(parser: argparse.ArgumentParser, name: str) -> None:
    """Where the results go; the folder is made before the command runs."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"also write {name}.md, .csv, .json and a page, {name}.html, there",
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Where features are kept."""
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="DIR",
        help="features are kept there and not computed twice; remove it when you like "
        "(default: %(default)s)",
    )
