"""A `.keras` file that may come from anywhere, looked at before Keras loads a network out of it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TypeVar

import keras

from trainer.network import SoundNet

MAX_CONFIG_BYTES = 16 * 2**20
MAX_NETWORK_BYTES = 2**31
"""No network is larger, unpacked (SoundNet-8 with 1401 classes has 57 MB)."""


Network = TypeVar("Network", bound=keras.Model)


def load(path: str | os.PathLike, kind: type[Network] = SoundNet) -> Network:
    """The network in a `.keras` file that `python -m trainer.task` or `soundnet weights` wrote.

    Args:
        kind: what it is to hold, a class that is registered with Keras under `soundnet`.

    Raises:
        ValueError: there is no such file, it is damaged, or it doesn't hold such a network of ours.
    """
    _check_is_ours(Path(path), kind.__name__)
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"{path} can't be loaded: {error}") from error
    if not isinstance(network, kind):
        raise ValueError(
            f"{path} holds a {type(network).__name__}, not this project's {kind.__name__}"
        )
    return network


def _check_is_ours(path: Path, kind: str) -> None:
    """Raise `ValueError` unless the file says that it holds our network of that class.

    Looked at before Keras loads it, because a `.keras` file names the classes to build. Keras goes
    by the ending: a file that is a ZIP and HDF5 at once must not be looked at as the one and loaded
    as the other.
    """
    try:
        if path.suffix != ".keras":
            raise ValueError(f"its name ends in {path.suffix!r}")
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_NETWORK_BYTES:
                raise ValueError(f"{size:,} bytes when unpacked")
            if damaged := archive.testzip():  # Keras reads weights without their checksum
                raise ValueError(f"{damaged} in it is damaged")
            with archive.open("config.json") as file:
                config = json.loads(file.read(MAX_CONFIG_BYTES))
        found = config.get("registered_name") or config.get("class_name")
    except Exception as error:  # a damaged ZIP can raise anything
        raise ValueError(
            f"{path} is not a .keras file ({error}); weights are written by `python -m "
            "trainer.task` or `soundnet weights import`"
        ) from error
    if found != f"soundnet>{kind}":
        raise ValueError(f"{path} holds a network {found!r}, not this project's {kind}")
