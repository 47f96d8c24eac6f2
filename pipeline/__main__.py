"""`python -m pipeline`: a list of videos in, a data set out; `report` reads one, `search` finds
videos, `import` takes the authors' release."""

from __future__ import annotations

import argparse
import atexit
import importlib
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

from media import Limits
from pipeline.build import build
from pipeline.downloads.download import OptionsError, read_options
from pipeline.dry_run import dry_run
from pipeline.gates import GATES
from pipeline.object_store import set_options
from pipeline.options import add_audio_codec, add_output, add_shard_mb, names, positive
from pipeline.running import RunFailed, names_runner, strange_options
from pipeline.settings import Settings
from pipeline.summary import print_summary
from schemas import SchemaError, video_list
from schemas.ledger import CAUSES
from teacher import SPEC_HELP, TeacherError, parse_spec

COMMANDS = {"report": "report", "search": "search", "import": "authors"}
"""The other commands, and the packages that they are in."""

EXAMPLES = """\
examples:
  python -m pipeline --input videos.csv --output data
  python -m pipeline --input folder/ --output data --processes 4
  python -m pipeline --input urls.txt --output data --teachers imagenet \\
      places=squeezenet_places365,weights=weights/
  python -m pipeline --input urls.txt --output data --dry-run
  python -m pipeline --input urls.txt --output data --first-seconds 60 --drop silent,static
  python -m pipeline --input urls.txt --output data --retry network,rate_limited
  python -m pipeline --input s3://bucket/urls.txt --output s3://bucket/data \
      --runner FlinkRunner --flink_master host:8081 --lanes 8

other commands:
  python -m pipeline search --help     a list of search words in, a video list out
  python -m pipeline report data       what is in a data set, what was lost and why
  python -m pipeline import --help     the authors' lists, labels and sounds in, a data set out

The same command, given again, does only what is missing: after a kill it goes on where it was.
With a --runner (FlinkRunner, DataflowRunner ...), options that are not listed here go to Beam; see
docs/clusters.md and Beam's documentation of the runner.

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
    add_output(parse)
    parse.add_argument(
        "--teachers",
        nargs="*",
        default=["imagenet"],
        metavar="TEACHER",
        help="the networks that look at the frames, see below; `none` for no teacher "
        "(default: imagenet)",
    )
    add_audio_codec(parse, defaults.audio_codec)
    parse.add_argument(
        "--channels",
        choices=("downmix", "first"),
        default=defaults.channels,
        help="several channels to one: their mix, or the first as the authors did "
        "(default: %(default)s)",
    )
    parse.add_argument(
        "--exact-frames",
        action="store_true",
        help="the picture at the middle of each label step, for which every picture must be "
        "decoded; else a key frame of the step or of shortly before, twice as fast",
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
    work = parse.add_argument_group("how it runs")
    work.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done and take one video all the way, but write nothing",
    )
    work.add_argument(
        "--processes",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="videos read at a time, an ffmpeg process each: here, or in each lane of a cluster "
        "(default: one a core, %(default)s)",
    )
    work.add_argument(
        "--lanes",
        type=positive,
        default=8,
        metavar="N",
        help="with a --runner: worker threads among which the videos are shared out "
        "(default: %(default)s)",
    )
    work.add_argument(
        "--retry",
        type=names(CAUSES, "cause"),
        default=(),
        metavar="CAUSE[,CAUSE]",
        help="try again the videos that failed so; any of " + ", ".join(CAUSES),
    )
    work.add_argument(
        "--portion",
        type=positive,
        default=defaults.portion,
        metavar="N",
        help="videos that are read before their shards are written (default: %(default)s)",
    )
    add_shard_mb(work, defaults.shard_bytes)
    gates = parse.add_argument_group("what is left out")
    gates.add_argument(
        "--drop",
        type=names(GATES, "gate"),
        default=(),
        metavar="GATE[,GATE]",
        help="clips to leave out, each counted in the ledger: "
        + "; ".join(f"{gate}: {CAUSES[gate].meaning}" for gate in GATES),
    )
    gates.add_argument(
        "--min-seconds",
        type=_amount,
        default=defaults.min_seconds,
        metavar="S",
        help="videos with less sound fail as too_short (default: %(default)g)",
    )
    gates.add_argument(
        "--first-seconds",
        type=_amount,
        metavar="S",
        help="take only so much of the beginning of each video, or of the section that its row "
        "names; the rest isn't downloaded either (default: all)",
    )
    gates.add_argument(
        "--max-seconds",
        type=_amount,
        default=defaults.limits.max_seconds,
        metavar="S",
        help="longer videos fail as too_long (default: %(default)g)",
    )
    gates.add_argument(
        "--max-bytes",
        type=positive,
        default=defaults.limits.max_bytes,
        metavar="N",
        help="larger files fail as too_large (default: %(default)s)",
    )
    web = parse.add_argument_group("downloads")
    web.add_argument(
        "--downloads",
        type=positive,
        default=defaults.downloads,
        metavar="N",
        help="downloads at a time, here or in each lane of a cluster (default: %(default)s)",
    )
    web.add_argument(
        "--per-host",
        type=positive,
        default=defaults.per_host,
        metavar="N",
        help="downloads at a time from one host, all workers together (default: %(default)s)",
    )
    web.add_argument(
        "--host-rate",
        type=_amount,
        default=defaults.host_rate,
        metavar="R",
        help="downloads a second that may start at one host, all workers together "
        "(default: %(default)g)",
    )
    web.add_argument(
        "--tries",
        type=positive,
        default=defaults.tries,
        metavar="N",
        help="how often a download is tried if its failure may pass soon, with longer and longer "
        "waits (default: %(default)s)",
    )
    web.add_argument(
        "--download-seconds",
        type=_amount,
        default=defaults.download_seconds,
        metavar="S",
        help="time that one try may take (default: %(default)g)",
    )
    web.add_argument(
        "--media",
        metavar="DIR",
        help="keep downloads in this folder, and take from it what is there already; several "
        "workers and runs may share it (default: downloads are dropped after use)",
    )
    web.add_argument(
        "--ytdlp-options",
        type=Path,
        metavar="FILE",
        help="JSON file of options for yt-dlp (cookies, sleep between requests ...), see "
        "docs/downloads.md",
    )
    web.add_argument(
        "--allow-local-network",
        action="store_true",
        help="let downloads reach addresses that aren't public (localhost, 192.168...)",
    )
    return parse


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a share; 0 to 1 is")
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value} is not more than nothing")
    return value


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


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 2 when nothing could be begun."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return importlib.import_module(f"pipeline.{COMMANDS[argv[0]]}.command").main(argv[1:])
    parse = parser()
    args, beam_args = parse.parse_known_args(argv)
    is_local = not names_runner(beam_args)
    # Of a cluster's job one wants to hear; here what goes wrong is told in our words.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL if is_local else logging.INFO)
    for noisy in ("apache_beam.typehints", "apache_beam.io"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if beam_args and not beam_args[0].startswith("-"):
        parse.error(
            f"no command {beam_args[0]!r}; there are {', '.join(COMMANDS)}, and none for a build"
        )
    if is_local and (unknown := strange_options(beam_args)):
        parse.error(f"unknown options {' '.join(unknown)}")
    console = Console(soft_wrap=True)
    try:
        teachers = args.teachers if args.teachers != ["none"] else []
        settings = Settings(
            teachers=tuple(parse_spec(text) for text in teachers),
            audio_codec=args.audio_codec,
            channels=args.channels,
            frames=args.frames,
            pictures="exact" if args.exact_frames else "keyframes",
            validation_share=args.validation_share,
            first_seconds=args.first_seconds,
            min_seconds=args.min_seconds,
            drop=args.drop,
            shard_bytes=args.shard_mb * 1_000_000,
            portion=args.portion,
            limits=Limits(max_seconds=args.max_seconds, max_bytes=args.max_bytes),
            downloads=args.downloads,
            per_host=args.per_host,
            host_rate=args.host_rate,
            tries=args.tries,
            download_seconds=args.download_seconds,
            ytdlp_options=read_options(args.ytdlp_options) if args.ytdlp_options else {},
            media=os.path.abspath(args.media) if args.media else None,
            allow_local_network=args.allow_local_network,
        )
        set_options(beam_args)
        rows, bad = read_list(args.input)
        if not rows and not bad:
            raise SchemaError(f"{args.input} lists no videos")
        if args.dry_run:
            return dry_run(rows, bad, args.output, settings, args.retry, console)
        summary = build(
            rows,
            bad,
            args.output,
            settings,
            processes=args.processes,
            lanes=None if is_local else args.lanes,
            retry=args.retry,
            beam_args=beam_args,
        )
    except (SchemaError, TeacherError, OptionsError, RunFailed, OSError) as error:
        print(f"python -m pipeline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        if not is_local:
            print("The cluster's job may go on until its portion is read.", file=sys.stderr)
        return 130
    print_summary(summary, console)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: after a run that broke off, Beam's threads wait for workers that wait for us.
    # But what is to be ended with us, a cluster's job server, is told so.
    atexit._run_exitfuncs()
    os._exit(status)
