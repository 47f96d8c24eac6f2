"""What a network's layers say of sounds: computed once, then read from a cache.

    features = Features(model, ("pool5", "conv7"), cache=default_cache(), seconds=10)
    for found in features.of(map(SoundFile, paths)):
        found["pool5"]  # float32 (steps, 256); or `found` is a media.MediaError

An entry of the cache belongs to the network's weights (their hash), the layer, the sound's content
(its file's bytes and the channel rule; or its samples) and the length rule. Names and places of
files don't matter. Entries are written whole or not at all, so that several processes may share a
cache, and carry a checksum: a damaged one is computed anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

import media
from evaluation import protocol
from evaluation.machine import cores
from schemas.waveform import SAMPLE_RATE, pcm_to_waveform

if TYPE_CHECKING:
    import soundnet

CACHE_SCHEMA = 1
"""To be raised when the same sound and weights would give other features than before."""

AHEAD = 8
"""Sounds a core that may be decoded ahead of the network (0.9 MB each of 10 s)."""


def default_cache() -> Path:
    """`soundnet/features` in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "soundnet" / "features"


class Sound(Protocol):
    """What features are made of."""

    def content(self) -> str:
        """A name, letters, digits and hyphens, that no sound of other samples has.

        Raises:
            media.MediaError: the sound can't be read.
        """

    def waveform(self) -> np.ndarray:
        """float32 (samples,), -256..256, 22,050 Hz.

        Raises:
            media.MediaError: the sound can't be read.
        """


@dataclass(frozen=True)
class SoundFile:
    """The sound of any file that ffmpeg reads.

    Attributes:
        channels: "downmix", or "first" as the authors' loader had it.
    """

    path: Path
    channels: str = "downmix"

    def content(self) -> str:
        try:
            if not self.path.is_file():  # of a pipe or a device the bytes don't end
                media.load_waveform(self.path)  # which says what is wrong with it
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise media.MediaError("unreadable", f"{self.path}: {error.strerror}") from error
        return f"{digest}-{self.channels}"

    def waveform(self) -> np.ndarray:
        return media.load_waveform(self.path, channels=self.channels)


@dataclass(frozen=True)
class Samples:
    """A sound by its 16-bit samples, as the clip records of a data set hold it.

    Attributes:
        pcm: int16 (samples,), mono, 22,050 Hz.
    """

    pcm: np.ndarray

    def content(self) -> str:
        return hashlib.sha256(self.pcm.astype("<i2").tobytes()).hexdigest()

    def waveform(self) -> np.ndarray:
        return pcm_to_waveform(self.pcm)


@dataclass(frozen=True)
class Features:
    """Layers of a network, what they are given, and where their answers are kept.

    Attributes:
        layers: names as `TrainedSoundNet.embed` takes them; `conv8` for all heads, one after the
            other.
        cache: a folder.
        seconds: the length rule: each sound is repeated and cut to so long. None takes it whole
            (repeated to what the last layer needs, 9.5 s with 8 layers, where it is shorter).

    Raises:
        ValueError: the network has no such layer, or `seconds` are too few for one.
    """

    model: soundnet.TrainedSoundNet
    layers: tuple[str, ...]
    cache: Path
    seconds: float | None = None

    def __post_init__(self) -> None:
        architecture, heads = self.model.network.architecture, self.model.heads
        for layer in self.layers:
            if layer not in self.model.layers:
                known = ", ".join(self.model.layers)
                raise ValueError(f"no layer {layer!r}; choose among {known}")
            shortest = architecture.min_samples(architecture.names[-1] if layer in heads else layer)
            if self.seconds is not None and round(self.seconds * SAMPLE_RATE) < shortest:
                raise ValueError(
                    f"{self.seconds:g} s of sound are too short for {layer}, which needs "
                    f"{shortest / SAMPLE_RATE:.2f} s"
                )

    def of(
        self, sounds: Iterable[Sound], advance: Callable[[], None] = lambda: None
    ) -> Iterator[dict[str, np.ndarray] | media.MediaError]:
        """What the layers say of each sound, in order.

        Files are hashed and decoded, and entries of the cache read, by a thread a core, ahead of
        the network, which takes the cores that are left. Memory doesn't grow with the number of
        sounds.

        Args:
            advance: called after each sound.

        Yields:
            By layer float32 (steps, channels); or why the sound can't be read.

        Raises:
            OSError: the cache can't be written.
        """
        with ThreadPoolExecutor(cores()) as threads:
            for found in _ahead(threads, self._look, sounds):
                if isinstance(found, media.MediaError):
                    yield found
                else:
                    yield self._complete(*found)
                advance()

    def _look(
        self, sound: Sound
    ) -> tuple[str, dict[str, np.ndarray], np.ndarray | None] | media.MediaError:
        """(The sound's content, its layers in the cache, its waveform if some aren't)."""
        try:
            content = sound.content()
            entries = {layer: read(self._entry(layer, content)) for layer in self.layers}
            kept = {layer: values for layer, values in entries.items() if values is not None}
            if len(kept) == len(entries):
                return content, kept, None
            return content, kept, self._fitted(sound.waveform())
        except media.MediaError as error:
            return error

    def _complete(
        self, content: str, kept: dict[str, np.ndarray], waveform: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        if waveform is None:
            return kept
        missing = tuple(layer for layer in self.layers if layer not in kept)
        computed = self.model.activations([waveform], missing)
        for layer, values in computed.items():
            write(self._entry(layer, content), values)
        found = kept | computed
        return {layer: found[layer] for layer in self.layers}

    def _fitted(self, waveform: np.ndarray) -> np.ndarray:
        if self.seconds is not None:
            return protocol.fixed_length(waveform, self.seconds)
        architecture = self.model.network.architecture
        # Not what these layers need: with others beside it a layer would hear another sound.
        shortest = architecture.min_samples(architecture.names[-1])
        return waveform if len(waveform) >= shortest else np.resize(waveform, shortest)

    def _entry(self, layer: str, content: str) -> Path:
        length = "whole" if self.seconds is None else f"{self.seconds:g}s"
        room = self.cache / f"v{CACHE_SCHEMA}" / self.model.sha256 / layer / content[:2]
        return room / f"{content}-{length}.npz"


def read(path: Path) -> np.ndarray | None:
    """An entry of the cache: float32 (steps, channels); None where there is none that is whole."""
    try:
        with np.load(path, allow_pickle=False) as file:  # a zip, whose checksum is looked at
            values = file["values"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return values if values.dtype == np.float32 and values.ndim == 2 else None


def write(path: Path, values: np.ndarray) -> None:
    """Write an entry whole or not at all.

    Raises:
        OSError: no room, or not allowed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        np.savez(part, values=values)
        os.replace(part, path)


def _ahead(threads: ThreadPoolExecutor, function: Callable, items: Iterable) -> Iterator:
    """Like `threads.map`, but no more than so many items ahead of who takes the results."""
    waiting: deque[Future] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) > AHEAD * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # the taker stopped, by an error or Ctrl-C
            future.cancel()
