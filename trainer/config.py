"""Everything that a training run can be told; the defaults are the published recipe.

Each field of `Config` is an option of `python -m trainer.task`, with the help that stands here.

The published recipe, and where it is known from (P: the paper, Aytar, Vondrick, Torralba, NIPS
2016; C: the authors' code, github.com/cvondrick/soundnet at fc1b3dd, which made the published
weights; T: a default of Torch that is in force there):

| what          | value                                                                | from |
|---------------|----------------------------------------------------------------------|------|
| network       | 8 layers (`trainer.network.SOUNDNET8`)                               | P, C |
| first weights | convolutions N(0, 0.01), biases 0, gamma N(1, 0.02), beta 0          | C    |
| normalization | epsilon 1e-5; 0.9 of the running statistics stays                    | T    |
| sound         | 22,050 Hz, one channel, -256..256                                    | P, C |
| clips         | 20 s, 4 label steps of 5 s; shorter ones tiled with their labels     | C    |
| labels        | what the teachers see in a label step's picture; output n has step n | C    |
| teachers      | one of objects and one of scenes, all their classes                  | P, C |
| loss          | KL(teacher, student), the mean over clips and classes, then over     | C    |
|               | label steps and teachers, times 250                                  |      |
| optimizer     | Adam, 1e-3, 0.9, 0.999, 1e-8; the rate stays; no weight decay        | C    |
| batch         | 64 clips                                                             | C    |
| steps         | 100,000                                                              | P    |
| augmentation  | none                                                                 | C    |

Where we differ on purpose: channels are mixed down unless the data set was made with the first one,
as the authors did; a file that can't be read is no clip (the authors' loader made it zeros and kept
its labels); the teachers are those that made the data set.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self


def setting(
    default: Any, help: str, *, resume: bool = False, choices: tuple = (), unit: str = ""
) -> Any:
    """A field with its help; `resume`: a run may go on with another value of it."""
    metadata = {"help": help, "resume": resume, "choices": choices, "unit": unit}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


MAX_SEED = 2**32 - 2
"""NumPy's seeds have 32 bits, and TensorFlow gets one more than ours."""


class Settings:
    """What every run's frozen dataclass of settings can do; each names its folder."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]
    model_dir: str

    def _check_choices(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata["choices"]
            if choices and value not in choices:
                known = ", ".join(map(str, choices))
                raise ValueError(f"{option(field.name)} is {value!r}; choose one of {known}")

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{option(name)} is {getattr(self, name)}; more than 0 is wanted")

    def _check_up_to(self, **most: float) -> None:
        for name, limit in most.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(
                    f"{option(name)} is {getattr(self, name)}; 0 to {limit:,} is wanted"
                )

    def _check_shares(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{option(name)} is {getattr(self, name)}; 0 to below 1 is wanted")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises `ValueError` where it isn't that."""
        try:
            values = json.loads(text).items()
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not the settings of a training run: {error}") from error

    def _may_change(self, field: dataclasses.Field) -> bool:
        """Whether a run may go on with another value."""
        return field.metadata["resume"]

    def differs_from(self, other: Settings) -> list[str]:
        """The options in which two runs differ that would have to be the same to be one run."""
        return [
            option(field.name)
            for field in dataclasses.fields(self)
            if not self._may_change(field)
            and getattr(self, field.name) != getattr(other, field.name)
        ]


@dataclass(frozen=True)
class Config(Settings):
    """A training run; see `python -m trainer.task --help`.

    Raises:
        ValueError: a value that makes no sense; the message names the option.
    """

    data: str = setting(
        dataclasses.MISSING,
        "folder of a data set that `python -m pipeline` made (local or gs://)",
        resume=True,
        unit="DIR",
    )
    model_dir: str = setting(
        dataclasses.MISSING,
        "folder for checkpoints, curves and the trained network; a run that was stopped goes on",
        resume=True,
        unit="DIR",
    )
    depth: int = setting(
        8,
        "convolutions of the network: the paper's 8 or 5, or 18 (8 with five residual units)",
        choices=(8, 5, 18),
    )
    teachers: tuple[str, ...] = setting(
        (), "learn from these teachers of the data set only (default: all)", unit="NAME"
    )
    loss: str = setting(
        "kl", "what is made small; l2 is the paper's ablation", choices=("kl", "l2")
    )
    loss_scale: float = setting(250.0, "the loss is multiplied by this (the authors' lambda)")
    embedding_loss: str = setting(
        "cosine",
        "the same for teachers of embeddings (beyond the paper)",
        choices=("cosine", "l2"),
    )
    steps: int = setting(100_000, "training steps, one batch each", resume=True)
    batch_size: int = setting(64, "clips in a batch, over all GPUs together", unit="CLIPS")
    learning_rate: float = setting(1e-3, "of Adam")
    beta_1: float = setting(0.9, "of Adam")
    beta_2: float = setting(0.999, "of Adam")
    epsilon: float = setting(1e-8, "of Adam")
    seed: int = setting(0, "of the first weights, the clips' order and the augmentations")
    shift: bool = setting(
        False,
        "augment: turn each clip and its labels round by a random number of whole label steps",
    )
    gain_db: float = setting(
        0.0, "augment: change each clip's volume at random by up to so much", unit="DB"
    )
    align: bool = setting(
        False,
        "beyond the paper: tell each output what the teachers saw where it listens, not what they "
        "saw in the label step of its number",
    )
    crop: float = setting(
        0.0,
        "augment, beyond the paper: hear a piece of so many seconds from a random place of each "
        "clip (0: all of it)",
        unit="SECONDS",
    )
    mix: float = setting(
        0.0,
        "augment, beyond the paper: mix each clip and its labels with another's, by shares from "
        "Beta(A, A) (0: don't)",
        unit="A",
    )
    schedule: str = setting(
        "constant",
        "of the learning rate; beyond the paper: cosine, down to 0 at the last step",
        choices=("constant", "cosine"),
    )
    warmup_steps: int = setting(
        0, "with --schedule cosine: steps in which the learning rate first rises from 0"
    )
    average: float = setting(
        0.0,
        "beyond the paper: validate and write out a running mean of the weights, of which so much "
        "stays each step, 0.999 say (0: the weights themselves)",
        unit="SHARE",
    )
    parts: int = setting(
        1,
        "deal the shards out to so many parts, each of which gives as many clips to every batch; "
        "of several machines each reads its own: a multiple of their number is wanted",
    )
    damaged: str = setting(
        "stop",
        "what to do about records that can't be read: stop, or skip them, named and counted",
        choices=("stop", "skip"),
        resume=True,
    )
    precision: str = setting(
        "float32",
        "of what is computed between weights and loss, which are float32 (float16: the loss is "
        "scaled so that small gradients aren't lost)",
        choices=("float32", "bfloat16", "float16"),
    )
    accumulate: int = setting(
        1,
        "go through each batch in so many pieces, for want of memory, and add up their gradients; "
        "batch normalization then sees the pieces",
        unit="PIECES",
    )
    jit: bool = setting(
        False, "compile the step with XLA (worth trying on a GPU; slower on CPUs)", resume=True
    )
    profile: int = setting(
        0,
        "trace so many steps, after the first two, for TensorBoard's profiler",
        resume=True,
        unit="STEPS",
    )
    log_every: int = setting(50, "steps from one point of the curves to the next", resume=True)
    validate_every: int = setting(1_000, "steps from one validation to the next", resume=True)
    checkpoint_every: int = setting(500, "steps from one checkpoint to the next", resume=True)
    keep: int = setting(3, "checkpoints to keep", resume=True)

    def __post_init__(self) -> None:
        self._check_choices()
        positive = ["steps", "batch_size", "loss_scale", "learning_rate", "epsilon", "keep"]
        self._check_positive(*positive, "log_every", "validate_every", "checkpoint_every")
        self._check_positive("parts", "accumulate")
        self._check_up_to(profile=10_000)
        for name in ("parts", "accumulate"):
            if self.batch_size % getattr(self, name):
                raise ValueError(
                    f"--batch-size {self.batch_size} doesn't divide over {option(name)} "
                    f"{getattr(self, name)}"
                )
        self._check_up_to(seed=MAX_SEED, gain_db=100, crop=1e6, mix=100, warmup_steps=2**53)
        self._check_shares("beta_1", "beta_2", "average")
        if self.mix and self.batch_size == self.parts:
            raise ValueError(
                "--mix mixes the clips of a batch, of each part its own; "
                f"--batch-size {2 * self.parts} or more is wanted"
            )
        if self.warmup_steps and self.schedule == "constant":
            raise ValueError("--warmup-steps goes with --schedule cosine")
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"--warmup-steps is {self.warmup_steps:,}, and --steps {self.steps:,}: nothing is "
                "left for the rate to come down in"
            )
        if len(set(self.teachers)) != len(self.teachers):
            raise ValueError(f"--teachers names one twice: {', '.join(self.teachers)}")

    def _may_change(self, field: dataclasses.Field) -> bool:
        # The cosine is drawn from the number of steps.
        return super()._may_change(field) and not (
            field.name == "steps" and self.schedule != "constant"
        )


def option(name: str) -> str:
    """The option of a field."""
    return "--" + name.replace("_", "-")
