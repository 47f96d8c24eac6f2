"""`soundnet embed`: what a layer computes over time, of many sounds."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from soundnet.commands import options

EXAMPLES = """\
examples:
  soundnet embed dog.wav --output embeddings             embeddings/dog.wav.npz: pool5, every 0.37 s
  soundnet embed sounds/ '2026-*/*.mp3' --output all.h5  one table for all of them
  find . -name '*.flac' | soundnet embed --list - --output all.parquet --processes 4
  soundnet embed sounds/ --hop 0.1 --window 1 --output windows     a mean over 1 s every 0.1 s
  soundnet embed sounds/ --pooling mean --output one.parquet       one vector a sound
  curl https://example.org/x.ogg | soundnet embed - --output embeddings

The same command again does what is missing: sounds that are new, that have changed or that failed.
"""


def add(commands) -> None:
    """Describe the command."""
    text = "Write what a layer computes over time, for files, folders, lists and addresses."
    parser = options.add(commands, "embed", _run, text, EXAMPLES)
    parser.add_argument("sounds", nargs="*", metavar="SOUND", help=options.SOUNDS_HELP)
    parser.add_argument(
        "--list",
        action="append",
        default=[],
        metavar="FILE",
        help="a file with the name of a sound, a folder or an address on each line (- for standard "
        "input); may be given several times",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="a folder, for a file a sound; or one table for all, by its ending: .parquet, .h5, "
        ".hdf5",
    )
    parser.add_argument(
        "--format",
        choices=["npz", "npy"],
        help="of the files in a folder: NAME.npz with numbers, times and all (the default), or "
        "NAME.npy with the numbers alone, beside it NAME.times.npy and NAME.json",
    )
    parser.add_argument(
        "--layer", default="pool5", help="conv1 ... conv7, pool1 ... pool5, or a head (pool5)"
    )
    parser.add_argument(
        "--pooling",
        choices=["none", "mean", "max", "mean+std"],
        help="of the layer's steps: none (the default), or one vector for the whole sound; with "
        "--hop for each window (there the default is mean)",
    )
    parser.add_argument(
        "--hop", type=_seconds, metavar="SECONDS", help="a vector so often, of a window of sound"
    )
    parser.add_argument(
        "--window", type=_seconds, metavar="SECONDS", help="its length, with --hop (1)"
    )
    parser.add_argument(
        "--centre",
        action="store_true",
        help="the first window is centred at 0, with --hop (default: it begins there)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make anew what is there, a table as a whole"
    )
    parser.add_argument(
        "--processes",
        type=options.count,
        default=1,
        metavar="N",
        help="sounds at a time (1); each process has the network for itself, about 0.6 GB",
    )
    parser.add_argument(
        "--allow-local-network",
        action="store_true",
        help="addresses may lead to this machine and the networks it is in",
    )
    options.add_weights(parser)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no length in seconds")
    return value


def _run(args: argparse.Namespace) -> int:
    from soundnet.bulk import run, tables, workers
    from soundnet.bulk.progress import Progress

    try:
        request = _request(args)
        progress = Progress(len(request.sounds))
        counts: Counter[str] = Counter()
        rows, numbers = 0, 0
        with contextlib.closing(run.run(request)) as outcomes, progress:
            for outcome in outcomes:
                counts[type(outcome).__name__] += 1
                seconds = 0.0
                if isinstance(outcome, run.Failure):
                    progress.say(f"soundnet: {outcome.source}: {outcome.cause}: {outcome.message}")
                elif isinstance(outcome, run.Done):
                    rows, numbers, seconds = rows + outcome.rows, outcome.numbers, outcome.seconds
                progress.add(seconds)
    except run.UsageError as error:
        options.complain(str(error))
        return 2
    except (tables.TableError, workers.WorkerDied) as error:
        options.complain(str(error))
        return 1
    said = [f"{counts['Done']} embedded"]
    if counts["Done"]:
        said[0] += f" ({rows} x {numbers}; {progress.sound()})"
    if counts["Skipped"]:
        said.append(f"{counts['Skipped']} there already")
    if counts["Failure"]:
        said.append(f"{counts['Failure']} failed (see {run.failures_path(args.output)})")
    print(f"{args.output}: {', '.join(said)}", flush=True)
    return 1 if counts["Failure"] else 0


def _request(args: argparse.Namespace):
    """What the options ask for; raises `UsageError` where they contradict each other."""
    from soundnet.bulk import run, sources, tables
    from soundnet.pooling import Windows

    windows = None
    if args.hop:
        try:
            windows = Windows(args.window or 1.0, args.hop, args.centre)
        except ValueError as error:
            raise run.UsageError(str(error)) from error
    elif args.window or args.centre:
        raise run.UsageError("--window and --centre go with --hop SECONDS")
    if args.hop and args.pooling == "none":
        raise run.UsageError("--pooling none gives the layer's own steps; leave --hop away")
    if args.format and args.output.suffix.lower() in tables.KINDS:
        raise run.UsageError(f"--format is for folders; {args.output} is one table")
    if args.list.count("-") + args.sounds.count("-") > 1:
        raise run.UsageError("standard input can be read once: as a sound (-) or as one --list -")
    sounds = list(sources.find(args.sounds, map(_lines, args.list)))
    if not sounds:
        raise run.UsageError("no sound is named; see soundnet embed --help")
    return run.Request(
        sounds=sounds,
        output=args.output,
        weights=args.weights,
        layer=args.layer,
        pooling=args.pooling or ("mean" if args.hop else "none"),
        windows=windows,
        format=args.format or "npz",
        processes=args.processes,
        overwrite=args.overwrite,
        allow_local_network=args.allow_local_network,
    )


def _lines(name: str) -> Iterable[str]:
    if name == "-":
        yield from map(os.fsdecode, sys.stdin.buffer)
    else:
        with open(name, encoding="utf-8-sig", errors="surrogateescape") as file:
            yield from file
