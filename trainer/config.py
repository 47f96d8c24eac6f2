"""Everything that a training run can be told; the defaults are the published recipe.

Each field of `Config` is an option of `python -m trainer.task`, with the help that stands here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass


def _setting(default, help: str, *, resume: bool = False, choices: tuple = (), unit: str = ""):
    """A field with its help; `resume`: a run may go on with another value of it."""
    metadata = {"help": help, "resume": resume, "choices": choices, "unit": unit}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """A training run; see `python -m trainer.task --help`.

    Raises:
        ValueError: a value that makes no sense; the message names the option.
    """

    data: str = _setting(
        dataclasses.MISSING,
        "folder of a data set that `python -m pipeline` made (local or gs://)",
        resume=True,
        unit="DIR",
    )
    model_dir: str = _setting(
        dataclasses.MISSING,
        "folder for checkpoints, curves and the trained network; a run that was stopped goes on",
        resume=True,
        unit="DIR",
    )
    depth: int = _setting(
        8,
        "convolutions of the network: the paper's 8 or 5, or 18 (8 with five residual units)",
        choices=(8, 5, 18),
    )
    teachers: tuple[str, ...] = _setting(
        (), "learn from these teachers of the data set only (default: all)", unit="NAME"
    )
    loss: str = _setting(
        "kl", "what is made small; l2 is the paper's ablation", choices=("kl", "l2")
    )
    loss_scale: float = _setting(250.0, "the loss is multiplied by this (the authors' lambda)")
    steps: int = _setting(100_000, "training steps, one batch each", resume=True)
    batch_size: int = _setting(64, "clips in a batch, over all GPUs together", unit="CLIPS")
    learning_rate: float = _setting(1e-3, "of Adam")
    beta_1: float = _setting(0.9, "of Adam")
    beta_2: float = _setting(0.999, "of Adam")
    epsilon: float = _setting(1e-8, "of Adam")
    seed: int = _setting(0, "of the first weights, the clips' order and the augmentations")
    shift: bool = _setting(
        False,
        "augment: turn each clip and its labels round by a random number of whole label steps",
    )
    gain_db: float = _setting(
        0.0, "augment: change each clip's volume at random by up to so much", unit="DB"
    )
    log_every: int = _setting(50, "steps from one point of the curves to the next", resume=True)
    validate_every: int = _setting(1_000, "steps from one validation to the next", resume=True)
    checkpoint_every: int = _setting(500, "steps from one checkpoint to the next", resume=True)
    keep: int = _setting(3, "checkpoints to keep", resume=True)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata["choices"]
            if choices and value not in choices:
                known = ", ".join(map(str, choices))
                raise ValueError(f"{option(field.name)} is {value!r}; choose one of {known}")
        positive = ["steps", "batch_size", "loss_scale", "learning_rate", "epsilon", "keep"]
        for name in [*positive, "log_every", "validate_every", "checkpoint_every"]:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{option(name)} is {getattr(self, name)}; more than 0 is wanted")
        # NumPy's seeds have 32 bits, and TensorFlow gets one more than ours.
        for name, most in (("seed", 2**32 - 2), ("gain_db", 100)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(
                    f"{option(name)} is {getattr(self, name)}; 0 to {most:,} is wanted"
                )
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{option(name)} is {getattr(self, name)}; 0 to below 1 is wanted")
        if len(set(self.teachers)) != len(self.teachers):
            raise ValueError(f"--teachers names one twice: {', '.join(self.teachers)}")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote; raises `ValueError` where it isn't that."""
        try:
            values = json.loads(text)
            return cls(**{**values, "teachers": tuple(values["teachers"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not the settings of a training run: {error}") from error

    def differs_from(self, other: Config) -> list[str]:
        """The options in which two runs differ that would have to be the same to be one run."""
        return [
            option(field.name)
            for field in dataclasses.fields(self)
            if not field.metadata["resume"]
            and getattr(self, field.name) != getattr(other, field.name)
        ]


def option(name: str) -> str:
    """The option of a field."""
    return "--" + name.replace("_", "-")
