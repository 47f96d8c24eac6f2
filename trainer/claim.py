"""A run's folder: whose it is is told by its `config.json`; one process at a time works in it."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Callable, Iterator

import tensorflow as tf

import trainer.folder
from trainer.config import Settings
from trainer.errors import TrainingError
from trainer.progress import write_whole

CONFIG_FILE = "config.json"


@contextlib.contextmanager
def alone(folder: str) -> Iterator[None]:
    """Keep other trainings out of a folder, made if need be, and removed if nothing came into it.

    On object stores nothing does. The machines of one training share its folder; a second such is
    kept out by their ports, which are taken.

    Raises:
        TrainingError: another is at work there, or it can't be a folder.
    """
    busy = TrainingError(
        f"another training is at work in {folder}; wait for its end, or choose another --model-dir"
    )
    with contextlib.ExitStack() as stack:
        if "://" not in folder and not os.environ.get("TF_CONFIG"):
            try:
                stack.enter_context(trainer.folder.alone(folder, busy))
            except OSError as error:
                raise TrainingError(f"--model-dir can't be a folder: {error}") from error
        yield


def check(config: Settings, also: Callable[[], list[str]] = list) -> None:
    """Refuse a folder (`config.model_dir`) in which another run lives.

    Args:
        also: names what else is another there than in this run; asked where a run lives.

    Raises:
        TrainingError: the run there has other settings, or they can't be read.
    """
    path = posixpath.join(config.model_dir, CONFIG_FILE)
    if not tf.io.gfile.exists(path):
        return
    with tf.io.gfile.GFile(path) as file:
        try:
            differing = config.differs_from(type(config).from_json(file.read()))
        except ValueError as error:
            raise TrainingError(
                f"{path} can't be read ({error}); choose another --model-dir"
            ) from error
    differing += also()
    if differing:
        raise TrainingError(
            f"{config.model_dir} holds a run with other settings ({', '.join(differing)}; see "
            f"{path}); give the same to go on with it, or choose another --model-dir"
        )


def claim(config: Settings, files: dict[str, str] | None = None) -> None:
    """Make the folder, and put `config.json` into it, behind other files by their names.

    Raises:
        TrainingError: it can't be a folder.
    """
    try:
        tf.io.gfile.makedirs(config.model_dir)
        for name, text in {**(files or {}), CONFIG_FILE: config.to_json()}.items():
            write_whole(posixpath.join(config.model_dir, name), text)
    except (tf.errors.FailedPreconditionError, tf.errors.NotFoundError) as error:
        raise TrainingError(f"--model-dir can't be a folder: {error.message}") from error
