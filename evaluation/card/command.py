"""`python -m evaluation card`."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation import options

EXAMPLES = """\
examples:
  python -m evaluation card --weights model/model.keras --results results --output MODEL_CARD.md
  python -m evaluation card --weights published --results results

The training's settings and losses are read from config.json and summary.json beside the weights,
the data set from the folder that they name, or from --data. The data set has a card of its own:
python -m pipeline report data --card DATA_CARD.md
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "card",
        help="a model card: what a network is, how it was made, its figures and its limits",
        description="Write a model card in Markdown: what a network is, what it learnt from, how "
        "good it is, what it can't do.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_weights(parser)
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        default=[],
        metavar="R",
        help="JSON files that the other commands wrote, or folders of them; those of other weights "
        "are left out and named",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the data set that it learnt from (what config.json names)"
    )
    parser.add_argument(
        "--license", default="", metavar="TEXT", help="the terms under which you hand it on"
    )
    # Not `output`: that would be made a folder.
    parser.add_argument(
        "--output", dest="file", type=Path, metavar="FILE", help="write it there (else printed)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the card."""
    from evaluation.card import facts, writing
    from evaluation.report import write_whole

    card = writing.card(facts.read(args.weights, args.results, args.data), args.license)
    if args.file:
        args.file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(args.file, card)
    else:
        print(card, end="")
    return 0
