"""`python -m evaluation ablations`."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation import options, report
from evaluation.ablations.rows import LAYERS, ROWS, USUAL, USUAL_LAYERS
from evaluation.errors import EvaluationError

EPILOG = f"""\
rows: {", ".join(ROWS)}
Where a row doesn't say which, its teachers are all those of distributions. Rows scratch8 and
scratch5 are trained on ESC-10's labels instead, fold by fold (--epochs, the rest as the authors
fine-tuned).

What stands behind -- are options of `python -m trainer.task` that all rows share. The same command
goes on where it was stopped; more rows, seeds and layers are added to what is there. Without
--data-set the tables of what lies in --output are printed, and nothing is trained.

examples (the first: three hours on two quiet cores):
  python -m evaluation ablations --data-set data --data ESC-50-master --output ablations \\
    --seeds 3 -- --batch-size 16 --steps 1000 --shift --gain-db 6
  python -m evaluation ablations --output ablations
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "ablations",
        help="the paper's tables 5 and 6: networks trained alike on a data set of yours",
        description="Train networks that differ in one thing each on a data set, judge each on "
        "ESC-10, and print the paper's tables 5 and 6 (loss, teachers, depth and supervision; "
        "layers) with its figures and orderings beside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-set", metavar="DIR", help="a data set that the pipeline made")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="ESC-50 as published, or its ESC-10"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="for the networks, ablations.json (all runs), and tables.md, .csv, .json and .html",
    )
    parser.add_argument(
        "--rows", nargs="+", default=USUAL, choices=ROWS, metavar="ROW",
        help=f"see below (default: {' '.join(USUAL)})",
    )  # fmt: skip
    parser.add_argument(
        "--layers", nargs="+", default=USUAL_LAYERS, choices=LAYERS, metavar="L",
        help=f"judge these: {' '.join(LAYERS)} (default: {' '.join(USUAL_LAYERS)})",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="runs of a row (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=50, help="of the rows from scratch")
    options.add_cache(parser)
    parser.add_argument("shared", nargs="*", help="options of trainer.task, behind --")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train and judge what is missing, and report."""
    from evaluation.ablations import grid, tables

    if args.data_set:
        if not args.data:
            raise EvaluationError("--data is missing: the folder of ESC-50 to judge on")
        found = grid.run(
            grid.Grid(
                data_set=args.data_set,
                esc10=args.data,
                output=args.output,
                rows=tuple(args.rows),
                layers=tuple(args.layers),
                seeds=args.seeds,
                epochs=args.epochs,
                shared=tuple(args.shared),
                cache=args.cache,
            )
        )
    else:
        kept = grid.read(args.output)
        if not kept:
            raise EvaluationError(
                f"no {grid.FILE} in {args.output}; give --data-set and --data to make one"
            )
        found = kept
    report.publish(tables.report(found), args.output)
    return 0
