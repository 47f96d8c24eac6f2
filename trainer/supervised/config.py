"""Everything that a training with labels can be told; each field is an option.

The defaults are how the authors fine-tuned (their code): the heads are dropped for a convolution of
kernel 4 from conv7 to the classes, nothing is frozen; cross-entropy; Adam at 1e-3 with its other
settings as in the distillation; batches of 256 pieces of 5 s cut at random; 50 epochs; no weight
decay. How they trained from scratch on labels isn't printed: it is done alike here, from random
weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from trainer.config import MAX_SEED, Settings, setting

TASKS = ("finetune", "scratch")


@dataclass(frozen=True)
class LabelConfig(Settings):
    """A training with labels; see `python -m trainer.task --task finetune --help`.

    Raises:
        ValueError: a value that makes no sense; the message names the option.
    """

    task: str = setting(
        dataclasses.MISSING, "finetune goes on from --weights, scratch begins", choices=TASKS
    )
    data: str = setting(
        dataclasses.MISSING,
        "CSV file with a column path (or filename, file) and a column label (or category, class); "
        "optionally fold, split (train, and test or validation)",
        resume=True,
        unit="CSV",
    )
    model_dir: str = setting(
        dataclasses.MISSING,
        "folder on this machine for the sounds, checkpoints, networks and results; a run that was "
        "stopped goes on",
        resume=True,
        unit="DIR",
    )
    weights: str = setting("", "the .keras file that finetune goes on from", unit="FILE")
    depth: int = setting(8, "convolutions of the network; those of --weights", choices=(8, 5, 18))
    audio: str = setting(
        "",
        "folder that the list's paths start from (default: where the list is)",
        resume=True,
        unit="DIR",
    )
    channels: str = setting(
        "downmix",
        "of stereo: the mean, or the first as the authors did",
        choices=("downmix", "first"),
    )
    unreadable: str = setting(
        "skip",
        "files that can't be decoded: leave them out and count them (wrong where they are judged), "
        "or stop; they are named either way",
        choices=("skip", "stop"),
        resume=True,
    )
    held_out: str = setting(
        "auto",
        "what is judged: each fold in turn by a network trained on the others, the split test, or "
        "none (auto: what the list has)",
        choices=("auto", "folds", "split", "none"),
    )
    folds: tuple[str, ...] = setting((), "judge these folds only (default: all)", unit="FOLD")
    epochs: int = setting(50, "how often each sound is heard")
    batch_size: int = setting(256, "pieces of sound in a batch", unit="SOUNDS")
    crop: float = setting(
        5.0,
        "seconds of the piece that is cut from a random place of each sound; shorter ones are "
        "repeated",
        unit="SECONDS",
    )
    class_weights: str = setting(
        "none",
        "balanced: a class counts the more the fewer sounds it has",
        choices=("none", "balanced"),
    )
    learning_rate: float = setting(1e-3, "of Adam")
    beta_1: float = setting(0.9, "of Adam")
    beta_2: float = setting(0.999, "of Adam")
    epsilon: float = setting(1e-8, "of Adam")
    seed: int = setting(0, "of the first weights, the sounds' order and the pieces cut")
    log_every: int = setting(10, "steps from one point of the curves to the next", resume=True)
    checkpoint_every: int = setting(50, "steps from one checkpoint to the next", resume=True)

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_positive("epochs", "batch_size", "crop", "learning_rate", "epsilon")
        self._check_positive("log_every", "checkpoint_every")
        self._check_up_to(seed=MAX_SEED, crop=3600)
        self._check_shares("beta_1", "beta_2")
        if self.task == "finetune" and not self.weights:
            raise ValueError(
                "--task finetune goes on from a network: give --weights FILE.keras (`soundnet "
                "weights fetch` gets the published one)"
            )
        if self.task == "scratch" and self.weights:
            raise ValueError("--task scratch begins without --weights; leave them out")
        if "://" in self.model_dir:
            raise ValueError(f"--model-dir {self.model_dir}: a folder on this machine is wanted")
        if self.folds and self.held_out not in ("auto", "folds"):
            raise ValueError(f"--folds goes with --held-out folds, not {self.held_out}")
        if len(set(self.folds)) != len(self.folds):
            raise ValueError(f"--folds names one twice: {', '.join(self.folds)}")
