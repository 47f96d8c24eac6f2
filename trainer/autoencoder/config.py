"""Everything that the training of an autoencoder can be told; each field is an option.

The paper's was trained on the same videos as SoundNet, with the mean squared error; the rest here
is as in SoundNet's recipe (`trainer.config`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from trainer.config import MAX_SEED, Config, Settings, setting

BOTTLENECKS = ("conv4", "conv5", "pool5")
"""Layers of SoundNet-8 with which the encoder may end; the paper's ends with the first."""


@dataclass(frozen=True)
class AutoencoderConfig(Settings):
    """A training of an autoencoder; see `python -m trainer.task --task autoencoder --help`.

    Raises:
        ValueError: a value that makes no sense; the message names the option.
    """

    data: str = setting(
        dataclasses.MISSING,
        "folder of a data set that `python -m pipeline` made (local or gs://); only its sounds are "
        "heard",
        resume=True,
        unit="DIR",
    )
    model_dir: str = setting(
        dataclasses.MISSING,
        "folder for checkpoints, curves and the trained network; a run that was stopped goes on",
        resume=True,
        unit="DIR",
    )
    bottleneck: str = setting(
        "conv4",
        "the layer of SoundNet-8 with which the encoder ends (conv4 in the paper)",
        choices=BOTTLENECKS,
    )
    crop: float = setting(
        0.0,
        "hear a piece of so many seconds from a random place of each clip (0: all of it)",
        unit="SECONDS",
    )
    steps: int = setting(100_000, "training steps, one batch each", resume=True)
    batch_size: int = setting(64, "clips in a batch", unit="CLIPS")
    learning_rate: float = setting(1e-3, "of Adam")
    beta_1: float = setting(0.9, "of Adam")
    beta_2: float = setting(0.999, "of Adam")
    epsilon: float = setting(1e-8, "of Adam")
    seed: int = setting(0, "of the first weights and the clips' order")
    log_every: int = setting(50, "steps from one point of the curves to the next", resume=True)
    validate_every: int = setting(1_000, "steps from one validation to the next", resume=True)
    checkpoint_every: int = setting(500, "steps from one checkpoint to the next", resume=True)

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_positive("steps", "batch_size", "learning_rate", "epsilon")
        self._check_positive("log_every", "validate_every", "checkpoint_every")
        self._check_up_to(seed=MAX_SEED, crop=1e6)
        self._check_shares("beta_1", "beta_2")

    @property
    def reading(self) -> Config:
        """The same as `trainer.data` wants it, to read the clips."""
        return Config(
            self.data,
            self.model_dir,
            batch_size=self.batch_size,
            seed=self.seed,
            crop=self.crop,
        )
