"""`python -m evaluation hears`."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation import options, report

EXAMPLES = """\
examples:
  python -m evaluation hears --data data --weights published --output results
  python -m evaluation hears --data data --weights model/model.keras --layers conv7 imagenet \\
      --top 24 --output results
  python -m evaluation hears --data gs://bucket/data --weights published --shards 20 \\
      --output results

hears.html is one file that a browser opens from disk: search a unit or a class, look, press play.
Pictures are shown if the data set was made with `python -m pipeline --frames`.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "hears",
        help="what moves each unit: a page to search, to look at and to listen to",
        description="What the network hears: conv1's filters, and for every unit and class the "
        "moments of a data set's clips that move it most.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_data_set(parser)
    options.add_weights(parser)
    options.add_layers(
        parser,
        "which layers and heads, conv8 for all heads (all but the pools, whose units are "
        "those of the convolutions before them)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="write the page hears.html, figure5.svg, and hears.md, .csv and .json there",
    )
    parser.add_argument(
        "--top",
        type=options.at_least(1),
        default=9,
        metavar="N",
        help="moments of each unit (default: %(default)s, as on the authors' page)",
    )
    options.add_shards(parser)
    options.add_megabytes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Listen, and report; returns 1 if a clip couldn't be read."""
    from evaluation.hears import filters, findings
    from evaluation.hears.study import Settings, study

    result = study(Settings(args.data, args.weights, tuple(args.layers), args.top, args.shards))
    exhibits, numbers = findings.gather(result, args.megabytes)
    page = findings.for_page(result, exhibits, numbers)
    first = filters.of_network(result.model.network)
    report.write_whole(args.output / "figure5.svg", filters.figure5(first).decode())
    report.publish(
        findings.report(result, first, page),
        args.output,
        "hears.html",
        data=page,
        exhibits=exhibits,
        filters=[filters.drawing(one) for one in first],
    )
    return 1 if result.clips.unreadable else 0
