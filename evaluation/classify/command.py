"""`python -m evaluation esc10`, `esc50`, `dcase`, `urbansound8k`, `folder`."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation import options

EXAMPLES = """\
examples:
  python -m evaluation {task} --data {data} --weights published
  python -m evaluation {task} --data {data} --weights model/model.keras --output results
  python -m evaluation {task} --data {data} --weights model/model.keras --layers pool5 conv7
"""

FOLDER_EXAMPLES = """\
  python -m evaluation folder --data list.csv --audio sounds --weights published --folds 10
  python -m evaluation folder --data scenes --weights published --seconds 30 --window 5
"""

PROTOCOLS = """\
protocols, each a table of its own:
  published  as the authors did: windows that slide over the frames, a linear SVM with C = 0.01
  better     mean and deviation over time, standardised, C chosen on the training folds; each layer,
             and the hidden ones together

Features are kept (--cache), so that a second run takes a fraction of the time.
"""

TASKS = {
    "esc10": ("ESC-10", "ESC-50-master", "ESC-50 as published: meta/esc50.csv and audio/"),
    "esc50": ("ESC-50", "ESC-50-master", "ESC-50 as published: meta/esc50.csv and audio/"),
    "dcase": (
        "the scenes of DCASE 2013",
        "dcase2013",
        "both parts as unpacked: scenes_stereo/ and scenes_stereo_testset/ (or train/ and test/), "
        "with files called as in busystreet01.wav",
    ),
    "urbansound8k": (
        "UrbanSound8K",
        "UrbanSound8K",
        "as unpacked: metadata/UrbanSound8K.csv and audio/fold1 ... fold10",
    ),
    "folder": (
        "your own labelled sounds",
        "sounds",
        "a folder with a sub-folder a class; or a CSV list with the columns path and label, and if "
        "you like fold, or split (train, test)",
    ),
}
"""By command what it judges with, a folder's name for the examples, and what is in that."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    for task, (title, folder, data) in TASKS.items():
        parser = commands.add_parser(
            task,
            help=f"name sounds: {title}",
            description=f"Judge a network by how well linear SVMs on what its layers say name the "
            f"sounds of {title}.",
            epilog=EXAMPLES.format(task=task, data=folder)
            + (FOLDER_EXAMPLES if task == "folder" else "")
            + "\n"
            + PROTOCOLS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        options.add_data(parser, data)
        options.add_weights(parser)
        options.add_layers(
            parser,
            "which layers (default: conv4 conv5 pool5 conv6 conv7 conv8, the last being all heads; "
            "of the 5-layer network pool3 conv4 conv5)",
        )
        options.add_channels(parser)
        parser.add_argument(
            "--protocol",
            nargs="+",
            choices=("published", "better"),
            default=["published", "better"],
            help="see below (default: both)",
        )
        if task == "folder":
            _add_folder_options(parser)
        options.add_output(parser, task)
        options.add_cache(parser)
        parser.set_defaults(run=run, task=task)


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audio", type=Path, metavar="DIR", help="where a list's paths start from (its folder)"
    )
    parser.add_argument(
        "--folds",
        type=options.at_least(2),
        default=5,
        metavar="N",
        help="parts, alike in every class, that are each the test once, where the list has neither "
        "folds nor split (5). Sounds cut from one recording belong into one fold: then give a list",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=10,
        metavar="S",
        help="every sound is repeated and cut to so long (10, at least 9.5 for conv8)",
    )
    parser.add_argument(
        "--window",
        type=_seconds,
        default=1,
        metavar="S",
        help="of the published protocol; the authors took 1 of 10 s for ESC, 5 of 30 s for scenes "
        "(1)",
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600 seconds")
    return value


def run(args: argparse.Namespace) -> int:
    """Judge, and report; returns 1 if a clip couldn't be read."""
    from evaluation import protocol
    from evaluation.classify import page, tables
    from evaluation.classify.evaluating import Settings, evaluate
    from evaluation.report import publish

    own = {}
    if args.task == "folder":
        if args.window > args.seconds:
            raise ValueError(f"--window {args.window:g} is longer than --seconds {args.seconds:g}")
        lengths = protocol.Lengths(args.seconds, args.window)
        own = {"audio": args.audio, "folds": args.folds, "lengths": lengths}
    settings = Settings(
        task=args.task,
        data=args.data,
        weights=args.weights,
        layers=tuple(args.layers),
        channels=args.channels,
        cache=args.cache,
        protocols=tuple(dict.fromkeys(args.protocol)),
        **own,
    )
    result = evaluate(settings)
    shown = page.data(result) if args.output else {}
    publish(tables.report(result), args.output, "classify.html", **shown)
    return 1 if result.unreadable else 0
