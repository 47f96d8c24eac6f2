"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation.features import default_cache


def add_data(parser: argparse.ArgumentParser, help: str) -> None:
    """What is judged with; `help` says what the folder has in it."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=help)


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
