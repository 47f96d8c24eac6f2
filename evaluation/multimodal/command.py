"""`python -m evaluation multimodal`."""

from __future__ import annotations

import argparse

from evaluation import options, report

EXAMPLES = """\
examples:
  python -m evaluation multimodal --data data --labels labels.csv --weights published
  python -m evaluation multimodal --data data --labels category --weights published --output results

labels.csv has the columns video_id (or url), label and, if you like, group, by which the maps are
coloured. `--labels category` takes a column `category` (and `group`) of the video list that the
data set was made from.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "multimodal",
        help="labelled videos by what is heard, what is seen, and both",
        description="Labelled videos told apart by what the network hears, by what the teachers "
        "see, and by both (the paper's table 7), with maps of both (its figure 4).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_data_set(parser)
    parser.add_argument(
        "--labels",
        required=True,
        metavar="L",
        help="a CSV file (video_id or url, label, group), or a column of the video list",
    )
    options.add_weights(parser)
    parser.add_argument(
        "--folds",
        type=options.at_least(3),
        default=5,
        metavar="N",
        help="of the cross-validation; labels with fewer videos are left out (default: "
        "%(default)s)",
    )
    options.add_output(parser, "multimodal")
    options.add_megabytes(parser)
    options.add_cache(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge, and report; returns 1 if a clip couldn't be read."""
    from evaluation.multimodal import findings, maps

    settings = findings.Settings(args.data, args.labels, args.weights, args.folds, args.cache)
    result = findings.evaluate(settings)
    data: dict = {}
    exhibits = None
    if args.output:
        data, exhibits = findings.for_page(result, args.megabytes)
        groups = [video.label.group for video in result.videos]
        titled = {f"What is {name}": places for name, places in result.maps.items()}
        figure = maps.figure4(titled, groups)
        report.write_whole(args.output / "figure4.svg", figure.decode())
    report.publish(
        findings.report(result), args.output, "multimodal.html", data=data, exhibits=exhibits
    )
    return 1 if result.clips.unreadable else 0
