"""Checkpoints: the newest few, each whole or not there."""

from __future__ import annotations

import posixpath

import tensorflow as tf

from trainer.errors import TrainingError


class Checkpoints:
    """The checkpoints of a run, in `checkpoints/` of its folder.

    TensorFlow writes one beside the others and then gives it its name, and only then is an older
    one removed: what stops a run in between loses nothing.

    Args:
        state: what is saved, as `tf.train.Checkpoint` takes it.
        keep: how many of the newest stay.
        writes: whether this machine is the one that writes.
    """

    def __init__(self, model_dir: str, state: dict, keep: int, writes: bool = True) -> None:
        self._checkpoint = tf.train.Checkpoint(**state)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, posixpath.join(model_dir, "checkpoints"), max_to_keep=keep
        )
        self._writes = writes

    @property
    def latest(self) -> str | None:
        """The newest one's path."""
        return self._manager.latest_checkpoint

    def restore(self) -> list[str]:
        """Go back to the newest that can be read; returns what is wrong with newer ones.

        Raises:
            TrainingError: there are some, and none can be read.
        """
        problems = []
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_consumed()
            except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
                why = str(error).splitlines()[0]
                problems.append(f"the checkpoint {path} can't be read: {why}")
            else:
                break
        else:
            if problems:
                raise TrainingError(
                    f"{'; '.join(problems)}. Remove {self._manager.directory} to start anew, or "
                    "choose another --model-dir"
                )
        if self._writes:
            self._sweep()
        return problems

    def save(self, step: int) -> None:
        """Write one.

        Raises:
            TrainingError: it can't be written, for want of room say.
        """
        if not self._writes:
            return
        before = self.latest
        try:
            self._manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            try:
                self._sweep()
            finally:
                why = (getattr(error, "message", None) or str(error)).splitlines()[0]
                raise TrainingError(
                    f"the checkpoint of step {step:,} can't be written ({why}). Make room; the "
                    f"same command then goes on from {before or 'the start'}"
                ) from error

    def _sweep(self) -> None:
        """Remove what a run that was stopped while it wrote has left."""
        whole = {posixpath.basename(path) for path in self._manager.checkpoints}
        if not tf.io.gfile.isdir(self._manager.directory):
            return
        for name in tf.io.gfile.listdir(self._manager.directory):
            name = name.rstrip("/")
            if name.startswith("ckpt-") and name.split(".")[0] not in whole:
                path = posixpath.join(self._manager.directory, name)
                (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)
