"""`python -m trainer.task`: train a SoundNet on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import typing
from collections.abc import Sequence

from schemas import SchemaError
from trainer.config import Config, option

EPILOG = """\
The defaults are the published recipe. A run that was stopped goes on with the same command. What
--model-dir holds at the end: model.keras and saved_model/ (the last step), best.keras (the lowest
validation loss), checkpoints/, tensorboard/, metrics.jsonl, summary.json, config.json, heads.json.

example, a small data set on two cores:
  python -m trainer.task --data data --model-dir model --batch-size 16 --steps 600 --shift \\
    --gain-db 6
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options: one for each field of `Config`."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.task",
        description="Train a SoundNet: records of sounds and teachers' words in, a network out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    types = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        required = field.default is dataclasses.MISSING
        help = field.metadata["help"]
        settings: dict[str, object] = {"help": help, "dest": field.name}
        if required:
            settings["required"] = True
        else:
            settings["default"] = field.default
        if types[field.name] is bool:
            settings["action"] = "store_true"
        elif field.name == "teachers":
            settings |= {"nargs": "+", "metavar": field.metadata["unit"]}
        else:
            settings["type"] = types[field.name]
            if field.metadata["choices"]:
                settings["choices"] = field.metadata["choices"]
            else:
                settings["metavar"] = field.metadata["unit"] or "N"
            if not required:
                settings["help"] = f"{help} (default: %(default)s)"
        parser.add_argument(option(field.name), **settings)
    parser.add_argument(
        "--show-config", action="store_true", help="print the settings as JSON and do nothing"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0 done, 1 failed, 2 asked for what can't be."""
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    show = options.pop("show_config")
    try:
        config = Config(**{**options, "teachers": tuple(options["teachers"])})
    except ValueError as error:
        parser.error(str(error))
    if show:
        print(config.to_json(), end="")
        return 0
    # TensorFlow's own chatter; errors still come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from trainer.train import TrainingError, train

    try:
        train(config)
    except (SchemaError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except tf.errors.ResourceExhaustedError as error:
        reason = error.message.splitlines()[0]
        if any(words in reason for words in ("No space left", "quota exceeded")):
            advice = "make room; the same command then goes on from the last checkpoint"
        else:
            advice = "out of memory; try a smaller --batch-size"
        print(f"error: {reason}: {advice}", file=sys.stderr)
        return 1
    except (tf.errors.PermissionDeniedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
