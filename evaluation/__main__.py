"""`python -m evaluation`: judge a network as the paper did, an experiment a command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from evaluation.errors import EvaluationError
from schemas import SchemaError
from soundnet import WeightsError
from trainer.errors import TrainingError

COMMANDS = (
    "evaluation.classify.command",
    "evaluation.baselines.command",
    "evaluation.ablations.command",
    "evaluation.hears.command",
    "evaluation.multimodal.command",
    "evaluation.card.command",
)
"""Modules with a function `add_parser(commands)`, which adds sub-commands and sets as `run` of each
what does it: a function of the parsed options that returns the exit status. They import what is
heavy when they run."""

EXAMPLES = """\
examples:
  python -m evaluation esc10 --data ESC-50-master --weights published
  python -m evaluation esc50 --data ESC-50-master --weights model/model.keras --output results
  python -m evaluation hears --data data --weights published --output results
  python -m evaluation multimodal --data data --labels labels.csv --weights published
  python -m evaluation baselines --data ESC-50-master --task esc10
  python -m evaluation card --weights model/model.keras --results results --output MODEL_CARD.md
  python -m evaluation ablations --data-set data --data ESC-50-master --output ablations

Each command tells its own options and examples: python -m evaluation esc10 --help
"""


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Judge a network as the paper did; its figures stand beside yours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parse.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(name).add_parser(commands)
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 if something failed (a clip that couldn't be read among it); 2 for what can't be asked;
        130 after Ctrl-C.
    """
    args = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up is noisy
    try:
        if getattr(args, "output", None):
            args.output.mkdir(parents=True, exist_ok=True)  # before the work that it is for
        return args.run(args)
    except (
        EvaluationError,
        SchemaError,
        TrainingError,
        WeightsError,
        ValueError,
        OSError,
    ) as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
