"""`python -m evaluation esc10`, `esc50`."""

from __future__ import annotations

import argparse

from evaluation import options, report

EXAMPLES = """\
examples:
  python -m evaluation {task} --data ESC-50-master --weights published
  python -m evaluation {task} --data ESC-50-master --weights model/model.keras --output results
  python -m evaluation {task} --data ESC-50-master --weights model/model.keras --layers conv7 conv8
"""

TASKS = {"esc10": "ESC-10 (needs only those ten classes)", "esc50": "ESC-50"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    for task, title in TASKS.items():
        parser = commands.add_parser(
            task,
            help=f"{title}: linear SVMs on what the layers say",
            description=f"Judge a network on {title} by the paper's protocol: linear SVMs on what "
            "its layers say.",
            epilog=EXAMPLES.format(task=task),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        options.add_data(parser, "ESC-50 as published: meta/esc50.csv and audio/")
        options.add_weights(parser)
        options.add_layers(
            parser, "which layers (pool5 conv6 conv7; of the 5-layer network pool3 conv4)"
        )
        options.add_channels(parser)
        options.add_output(parser, task)
        options.add_cache(parser)
        parser.set_defaults(run=run, task=task)


def run(args: argparse.Namespace) -> int:
    """Judge, and report; returns 1 if a clip couldn't be read."""
    from evaluation.classify import tables
    from evaluation.classify.evaluating import Settings, evaluate

    result = evaluate(
        Settings(args.task, args.data, args.weights, tuple(args.layers), args.channels, args.cache)
    )
    report.publish(tables.report(result), args.output)
    return 1 if result.unreadable else 0
