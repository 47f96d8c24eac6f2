"""`python -m pipeline`: a list of videos in, a data set out."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from pathlib import Path

# Before the imports, which are noisy, and in the environment, for the workers.
_NOISE = "google.api_core._python_version_support"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYTHONWARNINGS", f"ignore::FutureWarning:{_NOISE}")
warnings.filterwarnings("ignore", category=FutureWarning, module=_NOISE)
logging.getLogger().setLevel(logging.ERROR)

from apache_beam.io.filesystems import FileSystems
from rich.console import Console
from rich.table import Table

from media import Limits
from pipeline.build import RunFailed, Summary, build, names_runner
from pipeline.settings import Settings
from schemas import SchemaError, video_list
from schemas.audio import CODECS
from schemas.ledger import CAUSES
from teacher import SPEC_HELP, TeacherError, parse_spec

EXAMPLES = """\
examples:
  python -m pipeline --input videos.csv --output data
  python -m pipeline --input folder/ --output data --processes 4
  python -m pipeline --input urls.txt --output data --teachers imagenet \\
      places=squeezenet_places365,weights=weights/
  python -m pipeline --input urls.txt --output data --retry network,blocked

The same command, given again, does only what is missing: after a kill it goes on where it was.
With a --runner (FlinkRunner, DataflowRunner ...), options that are not listed here go to Beam; see
its documentation of the runner.

teachers:
"""


def parser() -> argparse.ArgumentParser:
    defaults = Settings(teachers=())
    parse = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Make a SoundNet data set: download videos, take sound and frames, "
        "ask the teachers, write TFRecords.",
        epilog=EXAMPLES + SPEC_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parse.add_argument(
        "--input",
        required=True,
        metavar="LIST",
        help="video list: .csv with a column url (and id, start, end, split), .jsonl, plain lines "
        "of URLs and paths; or a folder of videos",
    )
    parse.add_argument(
        "--output", required=True, metavar="DIR", help="the data set's folder (made or extended)"
    )
    parse.add_argument(
        "--teachers",
        nargs="*",
        default=["imagenet"],
        metavar="TEACHER",
        help="the networks that look at the frames, see below; `none` for no teacher "
        "(default: imagenet)",
    )
    parse.add_argument(
        "--processes",
        type=_positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="worker processes of the local runner (default: one a core, %(default)s)",
    )
    parse.add_argument(
        "--audio-codec",
        choices=CODECS,
        default=defaults.audio_codec,
        help="how records keep the sound (default: %(default)s, lossless)",
    )
    parse.add_argument(
        "--channels",
        choices=("downmix", "first"),
        default=defaults.channels,
        help="several channels to one: their mix, or the first as the authors did "
        "(default: %(default)s)",
    )
    parse.add_argument(
        "--frames", action="store_true", help="keep the label steps' pictures in the records"
    )
    parse.add_argument(
        "--validation-share",
        type=_share,
        default=defaults.validation_share,
        metavar="SHARE",
        help="share of the videos that are for validation (default: %(default)s)",
    )
    parse.add_argument(
        "--retry",
        type=_causes,
        default=(),
        metavar="CAUSE[,CAUSE]",
        help="try again the videos that failed so; one of " + ", ".join(CAUSES),
    )
    parse.add_argument(
        "--shard-mb",
        type=_positive,
        default=defaults.shard_bytes // 1_000_000,
        metavar="MB",
        help="size of a shard (default: %(default)s)",
    )
    parse.add_argument(
        "--max-seconds",
        type=float,
        default=defaults.limits.max_seconds,
        metavar="S",
        help="longer videos fail as too_long (default: %(default)g)",
    )
    parse.add_argument(
        "--max-bytes",
        type=int,
        default=defaults.limits.max_bytes,
        metavar="N",
        help="larger files fail as too_large (default: %(default)s)",
    )
    parse.add_argument(
        "--allow-local-network",
        action="store_true",
        help="let downloads reach addresses that aren't public (localhost, 192.168...)",
    )
    return parse


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a share; 0 to 1 is")
    return value


def _causes(text: str) -> tuple[str, ...]:
    causes = tuple(part for part in text.split(",") if part)
    for cause in causes:
        if cause not in CAUSES:
            raise argparse.ArgumentTypeError(f"no cause {cause!r}; there are {', '.join(CAUSES)}")
    return causes


def read_list(source: str) -> tuple[list[video_list.VideoRow], list[video_list.BadRow]]:
    """The rows of a list on any of Beam's filesystems, or of a folder of videos.

    A relative path in a list is relative to the list.
    """
    if "://" not in source and Path(source).is_dir():
        names = sorted(path.name for path in Path(source).iterdir() if path.is_file())
        text, name = "\n".join(json.dumps({"url": f"./{name}"}) for name in names), "names.jsonl"
        base = Path(source)
    else:
        try:
            with FileSystems.open(source, compression_type="auto") as file:
                text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SchemaError(f"{source} is no text in UTF-8 ({error})") from error
        name, base = source, Path(source).parent
    rows, bad = video_list.parse(text, name)
    return (rows if "://" in source else [row.under(base) for row in rows]), bad


def print_summary(summary: Summary, output: str, console: Console) -> None:
    """What came of it: clips by split, failures by cause, where it lies, what to do next."""
    info = summary.info
    table = Table(title=f"{output}", title_justify="left", show_edge=False)
    table.add_column("what")
    table.add_column("number", justify="right")
    table.add_column("meaning")
    done = sum(row.outcome == "done" for row in summary.rows.values())
    hours = sum(row.media_seconds for row in summary.rows.values()) / 3600
    table.add_row("videos done", str(done), f"{hours:.2f} hours of sound")
    for split, shards in info.splits.items():
        size = sum(shard.bytes for shard in shards) / 1e6
        words = f"{len(shards)} shards, {size:.1f} MB"
        table.add_row(f"{split} clips", str(info.records(split)), words)
    for cause, number in summary.causes.most_common():
        table.add_row(f"failed: {cause}", str(number), CAUSES[cause].meaning)
    console.print(table)
    again = sorted(cause for cause in summary.causes if not CAUSES[cause].permanent)
    if again:
        console.print(f"Some of these may succeed another time: --retry {','.join(again)}")
    if summary.elsewhere:
        console.print(
            f"{len(summary.elsewhere)} videos, {summary.elsewhere[0]} among them, are known from "
            "another address and were taken for the same; give them other ids if they are not."
        )
    console.print(f"{len(summary.new)} videos in this run; each one's fate is in {output}/ledger-*")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 2 when nothing could be begun."""
    parse = parser()
    args, beam_args = parse.parse_known_args(argv)
    is_local = not names_runner(beam_args)
    # Of a cluster's job one wants to hear; here what goes wrong is told in our words.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL if is_local else logging.INFO)
    if beam_args and is_local:
        parse.error(f"unknown options {' '.join(beam_args)} (Beam's own go with a --runner)")
    console = Console(soft_wrap=True)
    try:
        teachers = args.teachers if args.teachers != ["none"] else []
        settings = Settings(
            teachers=tuple(parse_spec(text) for text in teachers),
            audio_codec=args.audio_codec,
            channels=args.channels,
            frames=args.frames,
            validation_share=args.validation_share,
            shard_bytes=args.shard_mb * 1_000_000,
            limits=Limits(max_seconds=args.max_seconds, max_bytes=args.max_bytes),
            allow_local_network=args.allow_local_network,
        )
        rows, bad = read_list(args.input)
        if not rows and not bad:
            raise SchemaError(f"{args.input} lists no videos")
        summary = build(
            rows,
            bad,
            args.output,
            settings,
            processes=args.processes,
            retry=args.retry,
            beam_args=beam_args,
        )
    except (SchemaError, TeacherError, RunFailed, OSError) as error:
        print(f"python -m pipeline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    print_summary(summary, args.output, console)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: after a run that broke off, Beam's threads wait for workers that wait for us.
    os._exit(status)
