"""`soundnet export`: a network for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

from soundnet.commands import options

FORMATS = ("keras", "saved_model", "litert", "onnx")
"""Those of `trainer.export`, whose import takes seconds."""

EXAMPLES = """\
examples:
  soundnet export --output exported                                  ONNX, all heads
  soundnet export --format onnx litert --outputs pool5 --check dog.wav --output exported
"""


def add(commands) -> None:
    """Describe the command."""
    text = "Write a network for other runtimes, each file checked with its own before it is kept."
    parser = options.add(commands, "export", _run, text, EXAMPLES)
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, default=["onnx"], help="(default: onnx)"
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        default=[],
        metavar="NAME",
        help="heads, for their probabilities, and layers, for what they compute, as in pool5; what "
        "these don't need is left out (default: all heads)",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="FILE",
        help="compare what the files give for these sounds too (default: noise only)",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder to write to"
    )
    options.add_weights(parser)


def _run(args: argparse.Namespace) -> int:
    import media
    from soundnet.model import load_model

    try:
        waveforms = [media.load_waveform(file) for file in args.check]
    except media.MediaError as error:
        options.complain(str(error))
        return 1
    model = load_model(args.weights)
    from trainer import export

    for name in args.outputs:
        if name not in model.layers:
            options.complain(f"no output {name!r}; choose among {', '.join(model.layers)}")
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
        options.complain(str(error))
        return 1
    return 0
