"""`python -m trainer.task`: train a SoundNet on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import typing
from collections.abc import Sequence

from schemas import SchemaError
from trainer.autoencoder.config import AutoencoderConfig
from trainer.config import Config, Settings, option
from trainer.supervised.config import TASKS as LABEL_TASKS
from trainer.supervised.config import LabelConfig

DISTILL, AUTOENCODER = "distill", "autoencoder"
TASKS: dict[str, type[Settings]] = {
    DISTILL: Config,
    **dict.fromkeys(LABEL_TASKS, LabelConfig),
    AUTOENCODER: AutoencoderConfig,
}
"""By the name of a task its settings."""

EPILOG = """\
The defaults are the published recipe. A run that was stopped goes on with the same command. What
--model-dir holds at the end: model.keras and saved_model/ (the last step), best.keras (the lowest
validation loss), checkpoints/, tensorboard/, metrics.jsonl, summary.json, config.json, heads.json.

example, a small data set on two cores:
  python -m trainer.task --data data --model-dir model --batch-size 16 --steps 600 --shift \\
    --gain-db 6
"""


LABELS_EPILOG = """\
The defaults are how the authors fine-tuned. A run that was stopped goes on with the same command.
What --model-dir holds at the end: model.keras (of each fold in fold-NAME/), answers.csv,
confusion.csv, summary.json, config.json, list.json, sounds/ (the decoded sounds; may be removed).

examples:
  python -m trainer.task --task finetune --data labels.csv --weights model/model.keras \\
    --model-dir mine
  python -m trainer.task --task scratch --depth 5 --data ESC-50-master/meta/esc50.csv \\
    --audio ESC-50-master/audio --model-dir scratch --batch-size 64
"""


AUTOENCODER_EPILOG = """\
A run that was stopped goes on with the same command. What --model-dir holds at the end:
model.keras, checkpoints/, tensorboard/, metrics.jsonl, summary.json, config.json.

example, a small data set on two cores, and how good it is at telling sounds apart:
  python -m trainer.task --task autoencoder --data data --model-dir autoencoder --batch-size 8 \\
    --steps 300
  python -m evaluation baselines --data ESC-50-master --task esc10 \\
    --autoencoder autoencoder/model.keras
"""

WORDS = {
    Config: ("Train a SoundNet: records of sounds and teachers' words in, a network out.", EPILOG),
    LabelConfig: (
        "Train a SoundNet with labels: audio files and their classes in, a network out.",
        LABELS_EPILOG,
    ),
    AutoencoderConfig: (
        "Train a convolutional autoencoder, the paper's baseline: records of sounds in, a network "
        "out that has learnt to repeat them.",
        AUTOENCODER_EPILOG,
    ),
}
"""By settings what the command does, and what stands below its options."""


def build_parser(task: str = DISTILL) -> argparse.ArgumentParser:
    """The command's options: one for each field of the task's settings."""
    config = TASKS[task]
    description, epilog = WORDS[config]
    parser = argparse.ArgumentParser(
        prog="python -m trainer.task",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--task",
        choices=TASKS,
        default=task,
        help="distill: learn from teachers; finetune, scratch: learn from labels, starting from a "
        "network or from nothing; autoencoder: learn to repeat what is heard (--task finetune "
        f"--help shows the options of another; default: {DISTILL})",
    )
    types = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if field.name == "task":
            continue
        required = field.default is dataclasses.MISSING
        help = field.metadata["help"]
        settings: dict[str, typing.Any] = {"help": help, "dest": field.name}
        if required:
            settings["required"] = True
        else:
            settings["default"] = field.default
        if types[field.name] is bool:
            settings["action"] = "store_true"
        elif typing.get_origin(types[field.name]) is tuple:
            settings |= {"nargs": "+", "metavar": field.metadata["unit"]}
        else:
            settings["type"] = types[field.name]
            if field.metadata["choices"]:
                settings["choices"] = field.metadata["choices"]
            else:
                settings["metavar"] = field.metadata["unit"] or "N"
            if not required and field.default != "":
                settings["help"] = f"{help} (default: %(default)s)"
        parser.add_argument(option(field.name), **settings)
    parser.add_argument(
        "--show-config", action="store_true", help="print the settings as JSON and do nothing"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0 done, 1 failed, 2 asked for what can't be."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--task", default=DISTILL)
    task = first.parse_known_args(arguments)[0].task
    parser = build_parser(task if task in TASKS else DISTILL)
    options = vars(parser.parse_args(arguments))
    show = options.pop("show_config")
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    if task not in LABEL_TASKS:
        del options["task"]
    try:
        config = TASKS[task](**options)
    except ValueError as error:
        parser.error(str(error))
    if show:
        print(config.to_json(), end="")
        return 0
    # TensorFlow's own chatter; errors still come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from trainer import claim
    from trainer.errors import TrainingError

    try:
        with claim.alone(config.model_dir):
            _train(config)
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


def _train(config: Settings) -> None:
    """By the training that those are the settings of."""
    if isinstance(config, Config):
        from trainer.train import train as distill

        distill(config)
    elif isinstance(config, AutoencoderConfig):
        from trainer.autoencoder.train import train as autoencode

        autoencode(config)
    elif isinstance(config, LabelConfig):
        from trainer.supervised.train import train as learn_labels

        learn_labels(config)


if __name__ == "__main__":
    sys.exit(main())
