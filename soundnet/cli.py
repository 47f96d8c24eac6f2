"""The `soundnet` command: name what is heard, embed it, export networks, look after weights."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from soundnet.commands import embed, export, options, predict, weights

EXAMPLES = """\
examples:
  soundnet weights fetch                       get the published network (once, 54 MB)
  soundnet predict street.mp4 dog.wav          objects and scenes, every 3 seconds
  soundnet predict --json *.mp3 > heard.jsonl  the same for programs, one JSON object a step
  soundnet predict --follow --microphone       what is heard now
  soundnet embed sounds/ --output embeddings   pool5, 256 numbers every 0.37 s, one .npz a file
  soundnet embed sounds/ --output all.parquet  the same, one table for all
  soundnet export --format onnx litert --output exported
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0, 1 (something failed), 2 (misused) or 130 (Ctrl-C)."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up is noisy
    from soundnet.weights import WeightsError

    try:
        return args.run(args)
    except WeightsError as error:
        options.complain(str(error))
        return 1
    except BrokenPipeError:  # the reader had enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a folder that can't be written to, a full disk
        options.complain(str(error))
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
    for command in (predict, embed, export, weights):
        command.add(commands)
    return parser
