"""`python -m pipeline import`: the authors' lists, labels and sounds in, a data set out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipeline.authors.importing import DROP, import_release
from pipeline.authors.release import Release
from pipeline.options import add_audio_codec, add_output, add_shard_mb, names, positive
from pipeline.running import RunFailed
from pipeline.settings import Settings
from pipeline.summary import print_summary
from schemas import SchemaError
from schemas.ledger import CAUSES

EXAMPLES = """\
examples:
  python -m pipeline import --lists lists/*_frames4_*.txt --labels features \\
      --sounds mp3 --output data
  python -m trainer.task --data data --model-dir model

The same command, given again, does only what is missing: after a kill it goes on where it was, and
lists may be added. `python -m pipeline report data` tells what was lost and why.
"""


def parser() -> argparse.ArgumentParser:
    defaults = Settings(teachers=())
    parse = argparse.ArgumentParser(
        prog="python -m pipeline import",
        description="Make a data set of the sounds and class probabilities that SoundNet's authors "
        "published.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parse.add_argument(
        "--lists",
        nargs="+",
        type=Path,
        required=True,
        metavar="LIST",
        help="train_frames4_NNNN.txt, val_frames4_NNNN.txt",
    )
    parse.add_argument(
        "--labels",
        required=True,
        metavar="DIR",
        help="folder of VGG16_IMNET_TRAIN_BNNNN/prob, VGG16_PLACES2_TRAIN_BNNNN/prob, and the same "
        "with VAL for the validation lists",
    )
    parse.add_argument(
        "--sounds", required=True, metavar="DIR", help="folder of videos/.../ID.mp4.mp3 (mp3)"
    )
    add_output(parse)
    add_audio_codec(parse, defaults.audio_codec)
    parse.add_argument(
        "--drop",
        type=names(DROP, "gate"),
        default=(),
        metavar="GATE[,GATE]",
        help="videos to leave out, each with that cause in the ledger: "
        + "; ".join(f"{gate}: {CAUSES[gate].meaning}" for gate in DROP),
    )
    parse.add_argument(
        "--processes",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="sounds decoded at a time (default: one a core, %(default)s)",
    )
    parse.add_argument(
        "--retry",
        type=names(CAUSES, "cause"),
        default=(),
        metavar="CAUSE[,CAUSE]",
        help="try again the videos that failed so, such as not_found when more sounds have come",
    )
    add_shard_mb(parse, defaults.shard_bytes)
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0, 2 where nothing could be begun or the run broke off, 130
    when it was stopped."""
    args = parser().parse_args(argv)
    settings = Settings(
        teachers=(),
        audio_codec=args.audio_codec,
        channels="first",
        drop=args.drop,
        shard_bytes=args.shard_mb * 1_000_000,
    )
    try:
        summary = import_release(
            Release(os.path.abspath(args.labels), os.path.abspath(args.sounds)),
            args.lists,
            args.output,
            settings,
            processes=args.processes,
            retry=args.retry,
        )
    except (SchemaError, RunFailed, OSError) as error:
        print(f"python -m pipeline import: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    print_summary(summary, Console(soft_wrap=True))
    return 0
