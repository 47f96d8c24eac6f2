"""`python -m evaluation baselines`."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation import options, report

EXAMPLES = """\
examples:
  python -m evaluation baselines --data ESC-50-master --task esc10
  python -m evaluation baselines --data ESC-50-master --task esc50 --methods random_forest

the autoencoder is trained first, on the sounds of a data set:
  python -m trainer.task --task autoencoder --data data --model-dir autoencoder
  python -m evaluation baselines --data ESC-50-master --task esc10 --output results \\
    --autoencoder autoencoder/model.keras
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "baselines",
        help="ESC-10, ESC-50: the methods that SoundNet is held against",
        description="Run the methods that the paper holds SoundNet against on ESC-10 or ESC-50: "
        "MFCCs with an SVM and with a random forest, and a convolutional autoencoder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_data(parser, "ESC-50 as published: meta/esc50.csv and audio/")
    parser.add_argument(
        "--task",
        choices=("esc10", "esc50"),
        required=True,
        help="esc10 needs only those ten classes",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=("mfcc_svm", "random_forest", "autoencoder"),
        metavar="M",
        help="mfcc_svm, random_forest, autoencoder (default: all, the last with --autoencoder)",
    )
    parser.add_argument(
        "--autoencoder",
        type=Path,
        metavar="FILE",
        help="the .keras file that `python -m trainer.task --task autoencoder` wrote",
    )
    options.add_channels(parser)
    options.add_output(parser, "baselines")
    options.add_cache(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge, and report; returns 1 if a clip couldn't be read."""
    from evaluation.baselines import judging, tables

    usual = judging.METHODS if args.autoencoder else tuple(judging.CLASSIFIERS)
    methods = tuple(dict.fromkeys(args.methods or usual))
    result = judging.judge(
        judging.Settings(args.task, args.data, methods, args.autoencoder, args.channels, args.cache)
    )
    report.publish(tables.report(result), args.output)
    return 1 if result.unreadable else 0
