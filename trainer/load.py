"""A `.keras` file that may come from anywhere, as a SoundNet: looked at before Keras loads it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import keras

from trainer.network import SoundNet

MAX_CONFIG_BYTES = 16 * 2**20
MAX_NETWORK_BYTES = 2**31
"""No network is larger, unpacked (SoundNet-8 with 1401 classes has 57 MB)."""


def load(path: str | os.PathLike) -> SoundNet:
    """The network in a `.keras` file that `python -m trainer.task` or `soundnet weights` wrote.

    Raises:
        ValueError: there is no such file, it is damaged, or it doesn't hold a SoundNet of ours.
    """
    _check_is_ours(Path(path))
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"{path} can't be loaded: {error}") from error
    if not isinstance(network, SoundNet):
        raise ValueError(f"{path} holds a {type(network).__name__}, not a SoundNet")
    return network


def _check_is_ours(path: Path) -> None:
    """Raise `ValueError` unless the file says that it holds our `SoundNet`.

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
    if found != "soundnet>SoundNet":
        raise ValueError(f"{path} holds a network {found!r}, not a SoundNet of this project")
