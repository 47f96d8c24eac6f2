"""`python -m evaluation`: judge a network as the paper did."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = """\
examples:
  python -m evaluation esc10 --data ESC-50-master --weights published
  python -m evaluation esc50 --data ESC-50-master --weights model/model.keras --output results
  python -m evaluation esc10 --data ESC-50-master --weights model/model.keras --layers conv7 conv8
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 if a clip couldn't be read or nothing could be judged."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Judge a network by the paper's protocol: linear SVMs on what its layers say.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "task", choices=("esc10", "esc50"), help="esc10 needs only those ten classes"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="ESC-50 as published: meta/esc50.csv and audio/",
    )
    parser.add_argument(
        "--weights", required=True, metavar="W", help="'published', or a .keras file of ours"
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        default=(),
        metavar="L",
        help="which layers (pool5 conv6 conv7; of the 5-layer network pool3 conv4)",
    )
    parser.add_argument(
        "--channels",
        choices=("downmix", "first"),
        default="downmix",
        help="of stereo: the mean (downmix), or the first as the authors did",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="also write TASK.md and TASK.json there"
    )
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up is noisy

    from evaluation import report
    from evaluation.datasets import DatasetError
    from evaluation.esc import Settings, evaluate
    from soundnet import WeightsError

    settings = Settings(args.task, args.data, args.weights, tuple(args.layers), args.channels)
    try:
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)  # before the work that it is for
        result = evaluate(settings)
    except (DatasetError, WeightsError, ValueError, OSError) as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    page = report.to_markdown(result)
    print(page)
    if args.output:
        (args.output / f"{args.task}.md").write_text(page, "utf-8")
        (args.output / f"{args.task}.json").write_text(report.to_json(result), "utf-8")
    return 1 if result.unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
